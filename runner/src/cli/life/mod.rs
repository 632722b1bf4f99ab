//! The commands for containers that are there, or are about to be.

pub(super) mod create;
pub(super) mod each;
pub(super) mod kill;
pub(super) mod monitor;
pub(super) mod pause;
pub(super) mod ps;
pub(super) mod rename;
pub(super) mod restart;
pub(super) mod rm;
pub(super) mod start;
pub(super) mod stop;
pub(super) mod update;
pub(super) mod wait;
