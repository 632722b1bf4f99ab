//! Commands about the files of containers.

pub(in crate::cli) mod commit;
pub(in crate::cli) mod cp;
pub(in crate::cli) mod diff;
pub(in crate::cli) mod export;
