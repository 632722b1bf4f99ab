//! Pseudo-terminals, by their descriptors.
//!
//! The other end of a pair is asked of the master (`TIOCGPTPEER`) and never looked up by its name in /dev/pts: that name
//! belongs to the container, which may have put something else there.

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::libc;

use crate::spec::Size;

use super::owned;

/// Unlocks the terminal whose master is `master`, and opens it. It becomes nobody's controlling terminal by that.
pub(crate) fn peer(master: BorrowedFd<'_>) -> nix::Result<OwnedFd> {
    let unlocked: libc::c_int = 0;
    // SAFETY: the request reads an int, which outlives the call.
    Errno::result(unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCSPTLCK, &raw const unlocked) })?;
    let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
    // SAFETY: the request takes open flags by value.
    let answer = unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCGPTPEER, flags) };
    owned(libc::c_long::from(answer))
}

/// Makes `terminal` the controlling terminal of this session, which has none and is led by this process.
pub(crate) fn control(terminal: BorrowedFd<'_>) -> nix::Result<()> {
    // SAFETY: the request takes a number: do not steal it from another session.
    Errno::result(unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSCTTY, 0) }).map(drop)
}

/// The size of `terminal`; `ENOTTY` if it is none.
pub(crate) fn size(terminal: BorrowedFd<'_>) -> nix::Result<Size> {
    let mut raw = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the request fills a winsize, which outlives the call.
    Errno::result(unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCGWINSZ, &raw mut raw) })?;
    Ok(Size { rows: raw.ws_row, cols: raw.ws_col })
}

/// Resizes `terminal`, given either end; the foreground group gets SIGWINCH if that is a change.
pub(crate) fn resize(terminal: BorrowedFd<'_>, size: Size) -> nix::Result<()> {
    let raw = libc::winsize { ws_row: size.rows, ws_col: size.cols, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the request reads a winsize, which outlives the call.
    Errno::result(unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSWINSZ, &raw const raw) }).map(drop)
}
