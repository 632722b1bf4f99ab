//! A process that holds a place, and ends when it is told to or when whoever has started it ends.

use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};

use nix::fcntl::OFlag;
use nix::unistd::{Pid, pipe2, read};

use crate::error::{Context, Result};
use crate::sys;
use crate::sys::clone::{Cloned, fork};

/// The only descriptor besides stdio that it keeps.
const LINE: RawFd = 3;

/// The process, from the side of whoever has started it.
#[derive(Debug)]
pub(super) struct Keeper {
    pid: Pid,
    pidfd: OwnedFd,
    /// The end of it is the word to go.
    line: Option<OwnedFd>,
}

impl Keeper {
    pub(super) fn start() -> Result<Self> {
        let (theirs, ours) = pipe2(OFlag::O_CLOEXEC).context(|| "make a pipe")?;
        match fork().context(|| "fork")? {
            Cloned::Child => {
                // Its own copy of the other end must go, too, and with it the container's lock and whatever else is open.
                let _ = wait(theirs);
                sys::exit_now(0)
            }
            Cloned::Parent { pid, pidfd } => Ok(Self { pid, pidfd, line: Some(ours) }),
        }
    }

    /// Its number, as this process sees it.
    pub(super) fn pid(&self) -> Pid {
        self.pid
    }
}

fn wait(mut line: OwnedFd) -> nix::Result<()> {
    if line.as_raw_fd() != LINE {
        line = sys::move_fd(line, LINE)?;
    }
    sys::close_from(LINE.cast_unsigned() + 1)?;
    while read(&line, &mut [0]) == Err(nix::Error::EINTR) {}
    Ok(())
}

impl Drop for Keeper {
    fn drop(&mut self) {
        drop(self.line.take());
        let _ = sys::signal::reap(Some(self.pidfd.as_fd()));
    }
}
