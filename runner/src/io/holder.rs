//! A second holder of a container's terminal.
//!
//! When the last descriptor of a terminal's master is closed, the kernel hangs the terminal up, and the commands at it get
//! SIGHUP. Unlike a pipe it has no name by which it could be opened again. So the process that attends the container has a
//! child that does nothing but have the master open, as its standard input, until the container's first process has ended.
//! If the one who attends is killed, that child stays, and whoever comes after takes the master from it (`pidfd_getfd`).
//!
//! It outlives its parent by being nobody's concern: all signals are blocked, no descriptor of the parent's is left in it, above
//! all not the container's lock. Only if both are killed the terminal is lost.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use crate::error::{Context, Error, Result};
use crate::state::{Task, info};
use crate::sys;
use crate::sys::clone::{Cloned, fork};

/// Where the master is in the holder.
const MASTER: i32 = 0;

/// The holder, seen from its parent. Dropping this ends it.
#[derive(Debug)]
pub(crate) struct Holder {
    /// For those who come after.
    pub(crate) task: Task,
    pidfd: OwnedFd,
}

impl Holder {
    /// Starts a process that holds `master` until the process behind `life` has ended. To be called with all signals blocked.
    ///
    /// # Errors
    ///
    /// When there can be no more processes.
    pub(crate) fn spawn(master: BorrowedFd<'_>, life: &OwnedFd) -> Result<Self> {
        match fork().context(|| "start a process that holds the terminal")? {
            Cloned::Parent { pid, pidfd } => Ok(Self { task: Task::of(pid), pidfd }),
            Cloned::Child => {
                let alone = sys::put_fd(master, MASTER).and_then(|()| sys::close_all_but(vec![life.as_raw_fd()]));
                if alone.is_ok() {
                    sys::memory::give_back();
                    let _ = info::has_ended_within(life, Duration::MAX);
                }
                sys::exit_now(0)
            }
        }
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        sys::signal::end(self.pidfd.as_fd());
    }
}

/// The master that `holder` holds, for one who is not its parent.
///
/// # Errors
///
/// When the holder has been killed, or the kernel keeps us from it.
pub(crate) fn master_of(holder: Task) -> Result<OwnedFd> {
    let pidfd = holder.open().ok_or_else(|| Error::new("the process that held the container's terminal is gone"))?;
    sys::pidfd::get_fd(pidfd.as_fd(), MASTER).context(|| "take over the container's terminal")
}
