//! Looking into network namespaces, whoever's they are, and wiring them by hand.
//!
//! A namespace has no name of its own: it is an inode of nsfs, kept alive by processes, mounts and open files. [`scan`]
//! gathers those that can be found, with all their names and owners, and says which names are stale. [`target`] turns what
//! a person types into one of them. [`wire`] makes a veth pair into one, and answers what a person would have typed ([`commands`]).

pub(crate) mod commands;
pub(crate) mod scan;
pub(crate) mod target;
pub(crate) mod wire;

use std::os::fd::OwnedFd;
use std::thread;

use kernel::Handle;
use nix::sched::{CloneFlags, setns};

use crate::error::{Context, Error, Result};

/// A handle for the namespace `netns`.
///
/// # Errors
/// The namespace may not be entered, or the socket can't be had.
pub(crate) fn handle(netns: &OwnedFd) -> Result<Handle> {
    visit(netns, Handle::here)?.context(|| "open a route socket")
}

/// Does `work` in the namespace `netns`. Root of a user namespace may go into namespaces that were made there, and not come back
/// to the host's; so a thread goes there in the place of this one, and ends. Sockets stay where they were opened.
///
/// # Errors
/// The namespace may not be entered.
pub(crate) fn visit<T: Send>(netns: &OwnedFd, work: impl FnOnce() -> T + Send) -> Result<T> {
    let go = || {
        setns(netns, CloneFlags::CLONE_NEWNET).context(|| "enter the network namespace")?;
        Ok(work())
    };
    let ended = thread::scope(|scope| scope.spawn(go).join());
    ended.unwrap_or_else(|_| Err(Error::new("the thread that went into the network namespace has failed")))
}
