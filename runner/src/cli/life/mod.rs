//! The commands for containers that are there, or are about to be.

pub(super) mod create;
mod each;
pub(super) mod events;
mod filter;
pub(super) mod kill;
pub(super) mod monitor;
pub(super) mod pause;
pub(super) mod ps;
pub(super) mod rename;
pub(super) mod restart;
pub(super) mod rm;
mod row;
pub(super) mod start;
pub(super) mod stop;
pub(super) mod update;
pub(super) mod wait;
