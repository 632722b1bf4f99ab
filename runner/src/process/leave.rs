//! Leaving the process by which this one was made.

use std::fs::File;
use std::os::fd::{AsFd, RawFd};

use nix::unistd::{chdir, setsid};

use crate::error::{Context, Result};
use crate::sys;

/// Leaves the caller's session, directory, terminal, and all of its descriptors but `kept`.
///
/// # Errors
///
/// This process leads a group, or there is no /dev/null.
pub(crate) fn leave(kept: Vec<RawFd>) -> Result<()> {
    setsid().context(|| "leave the caller's session")?;
    chdir("/").context(|| "leave the caller's directory")?;
    let null = File::options().read(true).write(true).open("/dev/null").context(|| "open /dev/null")?;
    sys::replace_stdio(null.as_fd()).context(|| "leave the caller's terminal")?;
    drop(null);
    sys::close_all_but(kept).context(|| "close inherited descriptors")
}
