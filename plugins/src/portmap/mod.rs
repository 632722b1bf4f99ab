//! The `portmap` plugin: ports of the host that lead to the container.

pub mod config;
