//! The options that describe a container, side by side as in [`crate::spec`]: what was typed, and the part of the spec
//! that it means.

mod base;
mod container;
mod env;
mod health;
mod io;
mod life;
mod limits;
mod namespaces;
mod net;
mod process;
mod root;
mod security;
mod tracing;

pub(super) use container::ContainerFlags;
#[cfg(test)]
pub(crate) use container::spec_of;
pub(super) use env::{EnvFlags, text};
pub(super) use health::HealthFlags;
pub(super) use io::IoFlags;
pub(super) use life::LifeFlags;
pub(super) use limits::{CommonLimitFlags, LimitFlags};
pub(super) use namespaces::NamespaceFlags;
pub(super) use net::NetFlags;
pub(super) use process::ProcessFlags;
pub(super) use root::RootFlags;
pub(super) use security::SecurityFlags;
pub(super) use tracing::Tracing;
