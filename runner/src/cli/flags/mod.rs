//! The options that describe a container, side by side as in [`crate::spec`]: what was typed, and the part of the spec
//! that it means.

mod limits;
mod net;
mod process;
mod root;

pub(super) use limits::LimitFlags;
pub(super) use net::NetFlags;
pub(super) use process::ProcessFlags;
pub(super) use root::RootFlags;
