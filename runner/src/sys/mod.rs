//! System calls that no safe crate wraps, each behind a safe function of its own.
//!
//! All `unsafe` code of the runner is in this folder. The functions take and give owned descriptors and
//! report the kernel's errno unchanged; what a call is for is the business of the callers.

#![expect(unsafe_code, reason = "system calls that no safe crate wraps")]

pub(crate) mod bpf;
pub(crate) mod caps;
pub(crate) mod clone;
mod exe;
pub(crate) mod keyring;
pub(crate) mod link;
pub(crate) mod memory;
pub(crate) mod mount;
pub(crate) mod ns;
pub(crate) mod packet;
pub(crate) mod pidfd;
pub(crate) mod scm;
pub(crate) mod sealed;
pub(crate) mod seccomp;
pub(crate) mod signal;
mod status;
pub(crate) mod tty;
pub(crate) mod xattr;

use std::ffi::OsString;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::libc;

/// The descriptor which a system call has answered.
fn owned(answer: libc::c_long) -> nix::Result<OwnedFd> {
    let fd = RawFd::try_from(Errno::result(answer)?).map_err(|_| Errno::EBADF)?;
    // SAFETY: the kernel has just opened this descriptor for us, so nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Takes over a descriptor which a call has just opened for us and answered as a number.
pub(crate) fn adopt(number: RawFd) -> nix::Result<OwnedFd> {
    owned(libc::c_long::from(number))
}

/// Closes every descriptor from `first` on.
pub(crate) fn close_from(first: u32) -> nix::Result<()> {
    // SAFETY: takes numbers only. Callers hold no descriptor from `first` on as an owned value any more,
    // or replace the process image next.
    Errno::result(unsafe { libc::close_range(first, u32::MAX, 0) }).map(drop)
}

/// Closes every descriptor from 3 on but those in `kept`.
pub(crate) fn close_all_but(mut kept: Vec<RawFd>) -> nix::Result<()> {
    kept.sort_unstable();
    let mut first = 3;
    for fd in kept.into_iter().filter(|fd| *fd >= 3).map(RawFd::cast_unsigned) {
        if fd > first {
            // SAFETY: takes numbers only. The caller has listed every descriptor that it still owns.
            Errno::result(unsafe { libc::close_range(first, fd - 1, 0) })?;
        }
        first = fd + 1;
    }
    close_from(first)
}

/// Puts `fd` in the place of standard input, output and error.
pub(crate) fn replace_stdio(fd: BorrowedFd<'_>) -> nix::Result<()> {
    for number in 0..3 {
        // SAFETY: numbers only; the three descriptors are not owned by any value.
        Errno::result(unsafe { libc::dup2(fd.as_raw_fd(), number) })?;
    }
    Ok(())
}

/// Makes `variables` the whole environment of this process. For a process that was forked from one with a single thread; of
/// several variables of one name the first counts.
pub(crate) fn replace_environment(variables: &[(OsString, OsString)]) {
    let old: Vec<OsString> = std::env::vars_os().map(|(name, _)| name).collect();
    for name in old {
        // SAFETY: there is no other thread that could be reading the environment.
        unsafe { std::env::remove_var(name) };
    }
    for (name, value) in variables.iter().rev() {
        // SAFETY: as above.
        unsafe { std::env::set_var(name, value) };
    }
}

/// Sets the domain name of this UTS namespace.
pub(crate) fn set_domainname(name: &str) -> nix::Result<()> {
    // SAFETY: the pointer is valid for the length given.
    Errno::result(unsafe { libc::setdomainname(name.as_ptr().cast(), name.len()) }).map(drop)
}

/// Moves an open descriptor to `number`, in place of what is there; closed on exec.
pub(crate) fn move_fd(fd: OwnedFd, number: RawFd) -> nix::Result<OwnedFd> {
    // SAFETY: numbers only. What was at `number` is not used afterwards: the caller is the container's first
    // process, which lets go of everything that it has inherited.
    owned(libc::c_long::from(unsafe { libc::dup3(fd.as_raw_fd(), number, libc::O_CLOEXEC) }))
}

/// A copy of a descriptor, with a number not below `least`; closed on exec.
pub(crate) fn copy_fd(fd: BorrowedFd<'_>, least: RawFd) -> nix::Result<OwnedFd> {
    // SAFETY: numbers only.
    owned(libc::c_long::from(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC, least) }))
}

/// Makes `number` another name for an open descriptor, in place of what is there; kept on exec.
pub(crate) fn put_fd(fd: BorrowedFd<'_>, number: RawFd) -> nix::Result<()> {
    if fd.as_raw_fd() == number {
        // SAFETY: numbers only; the descriptor stays as it is but for the flag.
        return Errno::result(unsafe { libc::fcntl(number, libc::F_SETFD, 0) }).map(drop);
    }
    // SAFETY: numbers only. Callers replace standard streams, which nobody owns as a value.
    Errno::result(unsafe { libc::dup2(fd.as_raw_fd(), number) }).map(drop)
}

/// Says whether a program that this process executes has descriptor `number`; `EBADF` if it is not open.
pub(crate) fn set_kept_on_exec(number: RawFd, kept: bool) -> nix::Result<()> {
    // SAFETY: numbers only; the descriptor stays as it is but for the flag.
    Errno::result(unsafe { libc::fcntl(number, libc::F_SETFD, if kept { 0 } else { libc::FD_CLOEXEC }) }).map(drop)
}

/// Standard stream 0, 1 or 2.
pub(crate) fn standard(number: RawFd) -> BorrowedFd<'static> {
    // SAFETY: standard streams are never closed; at worst one was not open to begin with, which calls answer with EBADF.
    unsafe { BorrowedFd::borrow_raw(number) }
}

/// Moves at most `most` bytes from a pipe to a file at `offset`, without waiting for more. A signal, even one that kills this
/// process, comes before or after that: each byte is in the pipe or in the file.
pub(crate) fn splice(pipe: BorrowedFd<'_>, file: BorrowedFd<'_>, offset: u64, most: usize) -> nix::Result<usize> {
    let mut offset = i64::try_from(offset).map_err(|_| Errno::EFBIG)?;
    let (from, to) = (pipe.as_raw_fd(), file.as_raw_fd());
    let flags = libc::SPLICE_F_NONBLOCK | libc::SPLICE_F_MOVE;
    // SAFETY: two open descriptors; the offset is read and written during the call only.
    let moved = unsafe { libc::splice(from, std::ptr::null_mut(), to, &raw mut offset, most, flags) };
    Errno::result(moved).map(isize::unsigned_abs)
}

/// Ends this process at once: no destructor, no buffered output of the process that this one is a copy of.
pub(crate) fn exit_now(code: u8) -> ! {
    // SAFETY: ends the process.
    unsafe { libc::_exit(i32::from(code)) }
}
