//! Getting hold of namespaces, and making sure that a file is one.

use std::fmt;
use std::fs::File;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::sync::OnceLock;

use nix::errno::Errno;
use nix::libc;
use nix::sys::statfs::{NSFS_MAGIC, fstatfs};
use nix::unistd::Pid;

use super::owned;

/// A kind of namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Net,
    Mount,
    Pid,
    Ipc,
    Uts,
    User,
}

impl Kind {
    /// `CLONE_NEW...`.
    pub(crate) fn flag(self) -> libc::c_int {
        match self {
            Self::Net => libc::CLONE_NEWNET,
            Self::Mount => libc::CLONE_NEWNS,
            Self::Pid => libc::CLONE_NEWPID,
            Self::Ipc => libc::CLONE_NEWIPC,
            Self::Uts => libc::CLONE_NEWUTS,
            Self::User => libc::CLONE_NEWUSER,
        }
    }

    /// `PIDFD_GET_..._NAMESPACE`, `_IO(0xFF, n)` of linux/pidfd.h, since Linux 6.11.
    fn request(self) -> libc::Ioctl {
        match self {
            Self::Ipc => 0xFF02,
            Self::Mount => 0xFF03,
            Self::Net => 0xFF04,
            Self::Pid => 0xFF05,
            Self::User => 0xFF09,
            Self::Uts => 0xFF0A,
        }
    }
}

impl fmt::Display for Kind {
    /// As the files under /proc/PID/ns are called.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Net => "net",
            Self::Mount => "mnt",
            Self::Pid => "pid",
            Self::Ipc => "ipc",
            Self::Uts => "uts",
            Self::User => "user",
        })
    }
}

/// `_IO(0xb7, 0x3)` of linux/nsfs.h.
const NS_GET_NSTYPE: libc::Ioctl = 0xB703;

/// A namespace of the process behind `pidfd`. `pid` is its number, which the caller must know to be still valid (a
/// child not yet reaped, say): it serves kernels older than 6.11.
pub(crate) fn of_process(pidfd: BorrowedFd<'_>, pid: Pid, kind: Kind) -> nix::Result<OwnedFd> {
    // SAFETY: this request takes no argument.
    let answer = unsafe { libc::ioctl(pidfd.as_raw_fd(), kind.request(), 0) };
    match owned(libc::c_long::from(answer)) {
        Err(Errno::ENOTTY | Errno::EINVAL | Errno::EOPNOTSUPP) => {
            let file = File::open(format!("/proc/{pid}/ns/{kind}")).map_err(|e| errno(&e))?;
            Ok(file.into())
        }
        answer => answer,
    }
}

/// `_IO(0xb7, 0x2)` of linux/nsfs.h.
const NS_GET_PARENT: libc::Ioctl = 0xB702;

/// The user namespace in which the user namespace `file` was made. `EPERM` if that is out of this process' sight.
pub(crate) fn parent(file: BorrowedFd<'_>) -> nix::Result<OwnedFd> {
    // SAFETY: this request takes no argument.
    owned(libc::c_long::from(unsafe { libc::ioctl(file.as_raw_fd(), NS_GET_PARENT, 0) }))
}

/// The number of the first user namespace, the same on every host: `PROC_USER_INIT_INO` of linux/proc_ns.h.
const INITIAL_USER: u64 = 0xEFFF_FFFD;

/// Whether the rights of this program are those of the host, and not of a user namespace below it, in which device nodes, file
/// systems on disks and the translation of owners are out of reach. Looked at once: a child that is born into a container's own
/// user namespace is asked about those of its parent.
pub(crate) fn in_initial_user() -> bool {
    static ANSWER: OnceLock<bool> = OnceLock::new();
    *ANSWER.get_or_init(|| std::fs::metadata("/proc/self/ns/user").is_ok_and(|meta| meta.ino() == INITIAL_USER))
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
