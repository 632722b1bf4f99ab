//! `clone3` and `clone`, for the flags that the C library's `fork` does not pass on.

use std::fs;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::libc;
use nix::sched::{CloneFlags, unshare};
use nix::unistd::Pid;

use super::status;

/// Which side of the clone this is.
#[derive(Debug)]
pub(crate) enum Cloned {
    /// The caller; the descriptor stands for the child whatever becomes of its number.
    Parent {
        /// The child's number in the caller's pid namespace.
        pid: Pid,
        /// Refers to the child, not to its number.
        pidfd: OwnedFd,
    },
    /// The new process.
    Child,
}

/// Clones this process into new namespaces (`CLONE_NEW*` flags), and on cgroup v2 right into `cgroup`.
///
/// Refused with `EBUSY` when the process has more than one thread: the child would own locks which no
/// thread is left to release.
pub(crate) fn clone3(namespaces: libc::c_int, cgroup: Option<BorrowedFd<'_>>) -> nix::Result<Cloned> {
    is_alone()?;
    status::ignored_at_first();
    let mut pidfd: RawFd = -1;
    // SAFETY: all-zero is what `clone_args` asks of unused fields.
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.flags = u64::from(libc::CLONE_PIDFD.cast_unsigned()) | u64::from(namespaces.cast_unsigned());
    args.pidfd = std::ptr::from_mut(&mut pidfd) as u64;
    args.exit_signal = u64::from(libc::SIGCHLD.cast_unsigned());
    if let Some(cgroup) = cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = u64::from(cgroup.as_raw_fd().cast_unsigned());
    }
    // SAFETY: `args` is valid for its size and names no stack, so this behaves as fork: the child goes on
    // with a copy of this single-threaded process, whose locks are therefore all in a consistent state.
    let answer = unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, size_of::<libc::clone_args>()) };
    match Errno::result(answer)? {
        0 => Ok(Cloned::Child),
        pid => Ok(Cloned::Parent {
            pid: Pid::from_raw(libc::pid_t::try_from(pid).map_err(|_| Errno::ERANGE)?),
            // SAFETY: the kernel has stored a descriptor of ours there, because of CLONE_PIDFD.
            pidfd: unsafe { OwnedFd::from_raw_fd(pidfd) },
        }),
    }
}

/// From linux/sched.h; beyond the 32 bits of the C library's constant.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// Fails with `EBUSY` when this process has more than one thread: "unsharing" the thread group changes nothing in a process
/// of one thread, and is refused in any other (`check_unshare_flags` in the kernel's `kernel/fork.c`).
fn is_alone() -> nix::Result<()> {
    match unshare(CloneFlags::CLONE_THREAD) {
        Ok(()) => Ok(()),
        Err(Errno::EINVAL) => Err(Errno::EBUSY),
        // A filter of system calls that does not look at what is asked for.
        Err(_) if fs::read_dir("/proc/self/task").map_or(0, Iterator::count) == 1 => Ok(()),
        Err(_) => Err(Errno::EBUSY),
    }
}

/// A fork whose child is the caller's sibling: a child of its parent, which alone can wait for it. The caller must be a process
/// that this program has forked with one thread.
pub(crate) fn fork_sibling() -> nix::Result<Cloned> {
    clone(libc::CLONE_PARENT)
}

/// An ordinary fork. Refused when there is more than one thread, as [`clone3`] is.
pub(crate) fn fork() -> nix::Result<Cloned> {
    is_alone()?;
    status::ignored_at_first();
    clone(0)
}

/// By the old call, which a filter of system calls that refuses new namespaces lets pass, and `clone3` not. The caller has
/// one thread.
fn clone(flags: libc::c_int) -> nix::Result<Cloned> {
    let mut pidfd: RawFd = -1;
    let flags = flags | libc::CLONE_PIDFD | libc::SIGCHLD;
    // SAFETY: without a stack of its own this behaves as fork, and there is one thread. The third argument is where the
    // descriptor is stored.
    let answer = unsafe { libc::syscall(libc::SYS_clone, libc::c_long::from(flags), 0, &raw mut pidfd, 0, 0) };
    match Errno::result(answer)? {
        0 => Ok(Cloned::Child),
        pid => Ok(Cloned::Parent {
            pid: Pid::from_raw(libc::pid_t::try_from(pid).map_err(|_| Errno::ERANGE)?),
            // SAFETY: the kernel has stored a descriptor of ours there, because of CLONE_PIDFD.
            pidfd: unsafe { OwnedFd::from_raw_fd(pidfd) },
        }),
    }
}
