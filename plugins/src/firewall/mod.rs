//! The `firewall` plugin: what is forwarded to and from the container passes the host's filter.

mod bus;
mod config;

pub use config::{Backend, Config, Policy};
