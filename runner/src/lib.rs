//! xnet, a small container runner on its own CNI plugins.
//!
//! `xnet run` makes one container out of what the kernel has, waits for it, and takes everything away again. There is no
//! daemon and nothing to install: the plugins are linked into the same binary, which acts as one of them when it is called
//! by its name.
//!
//! A command line becomes a [`spec::Spec`], checked before anything is touched. [`container`] leads the way: it registers
//! the container ([`state`]), makes its groups ([`cgroup`]) and its first process ([`process`]), which sets itself up
//! ([`setup`]) while the parent sees to the network ([`net`]). Three rules hold everywhere:
//!
//!  * fail closed: a step that fails ends the run with status 125, and nothing of the user's is executed;
//!  * write before doing: whatever must be undone is in the container's log before it is done, so that anybody can undo
//!    it when this process is no more;
//!  * descriptors instead of paths, and process descriptors instead of pids: what was checked is what is used.

mod binfmt;
pub mod cgroup;
pub mod cli;
pub mod container;
mod copy;
mod doctor;
pub mod error;
mod exec;
mod fault;
mod format;
pub mod health;
mod id;
pub mod image;
mod inspect;
mod io;
mod kernel_file;
pub mod moment;
mod monitor;
#[cfg(test)]
mod mutation;
mod namespaces;
pub mod net;
mod netns;
mod oci;
mod process;
mod rootless;
pub mod seccomp;
mod service;
pub mod setup;
pub mod spec;
mod state;
mod storage;
pub mod suite;
mod sys;
mod top;
mod trace;
mod userns;
mod volume;
mod within;
mod written;

use std::path::Path;
use std::process::ExitCode;

/// The program: a plugin when it is called by a plugin's name, an OCI runtime as `xnet-oci`, `xnet` else.
#[must_use]
pub fn main() -> ExitCode {
    let argv0 = std::env::args_os().next().unwrap_or_default();
    if Path::new(&argv0).file_name().is_some_and(|name| name == cli::oci::NAME) {
        return cli::oci::main(std::env::args_os().collect());
    }
    suite::run(&argv0).unwrap_or_else(cli::main)
}
