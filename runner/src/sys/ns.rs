//! Getting hold of a network namespace, and making sure that a file is one.

use std::fs::File;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::libc;
use nix::sys::statfs::{NSFS_MAGIC, fstatfs};
use nix::unistd::Pid;

use super::owned;

/// `_IO(0xFF, 4)` of linux/pidfd.h, since Linux 6.11.
const PIDFD_GET_NET_NAMESPACE: libc::Ioctl = 0xFF04;
/// `_IO(0xb7, 0x3)` of linux/nsfs.h.
const NS_GET_NSTYPE: libc::Ioctl = 0xB703;

/// The network namespace of the process behind `pidfd`. `pid` is its number, which the caller must know
/// to be still valid (a child not yet reaped): it serves kernels older than 6.11.
pub(crate) fn of_process(pidfd: BorrowedFd<'_>, pid: Pid) -> nix::Result<OwnedFd> {
    // SAFETY: this request takes no argument.
    let answer = unsafe { libc::ioctl(pidfd.as_raw_fd(), PIDFD_GET_NET_NAMESPACE, 0) };
    match owned(libc::c_long::from(answer)) {
        Err(Errno::ENOTTY | Errno::EINVAL | Errno::EOPNOTSUPP) => {
            let file = File::open(format!("/proc/{pid}/ns/net")).map_err(|e| errno(&e))?;
            Ok(file.into())
        }
        answer => answer,
    }
}

/// Whether `file` is a network namespace, and not merely a file at the place of one.
pub(crate) fn is_net(file: BorrowedFd<'_>) -> nix::Result<bool> {
    is(file, libc::CLONE_NEWNET)
}

/// Whether `file` is a namespace of the kind that `CLONE_NEW...` stands for.
pub(crate) fn is(file: BorrowedFd<'_>, kind: libc::c_int) -> nix::Result<bool> {
    if fstatfs(file)?.filesystem_type() != NSFS_MAGIC {
        return Ok(false);
    }
    // SAFETY: this request takes no argument.
    Ok(Errno::result(unsafe { libc::ioctl(file.as_raw_fd(), NS_GET_NSTYPE, 0) })? == kind)
}

fn errno(error: &std::io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}
