//! The IPAM plugins: host-local, static.
//!
//! An IPAM plugin answers a main plugin's question "which address?". It touches no interface and no namespace. Each is
//! a module of this library and a binary of a few lines; [`run`] is how the binary that holds all plugins finds them.

mod host_local;
mod static_ipam;

use std::process::ExitCode;

use cni::plugin::World;
use host_local::HostLocal;
// Nothing of it is called. It brings the answer to a question of the standard library that would else be libc's, at 128 KB
// (docs/decisions/0003-release-link.md).
use kernel as _;
use static_ipam::Static;

/// The names of the plugins in this crate.
pub const NAMES: &[&str] = &["host-local", "static"];

/// Serves one call as the plugin of this name, from this process; `None` if there is no such plugin.
pub fn run(name: &str) -> Option<ExitCode> {
    let known = NAMES.contains(&name);
    known.then(cni::plugin::process).and_then(|world| serve(name, world)).map(ExitCode::from)
}

/// Serves one call as the plugin of this name and returns the exit status; `None` if there is no such plugin.
pub fn serve(name: &str, world: World<'_>) -> Option<u8> {
    match name {
        "host-local" => Some(cni::plugin::run(&HostLocal, world)),
        "static" => Some(cni::plugin::run(&Static, world)),
        _ => None,
    }
}
