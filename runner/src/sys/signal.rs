//! Signals by process descriptor, and the state in which a new program expects them.

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::libc;
use nix::unistd::Pid;

use super::{owned, status};

/// Sends signal `number` to the process behind `pidfd`.
pub(crate) fn send(pidfd: BorrowedFd<'_>, number: i32) -> nix::Result<()> {
    let none = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: a null siginfo asks the kernel to fill in what kill(2) would.
    let answer = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), number, none, 0) };
    Errno::result(answer).map(drop)
}

/// A descriptor for process `pid`. Whether it is the process meant must be checked afterwards.
pub(crate) fn pidfd_open(pid: Pid) -> nix::Result<OwnedFd> {
    // SAFETY: numbers only.
    owned(unsafe { libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), 0) })
}

/// Gives every signal its default action. A Rust program ignores SIGPIPE, and the caller of `xnet` may have
/// ignored others; a container's first program begins with a clean table. Handlers are taken away by `execve`.
pub(crate) fn reset_actions() {
    let ignored = status::ignored_at_first();
    for number in (1..=libc::SIGRTMAX()).filter(|number| ignored & (1 << (number - 1)) != 0) {
        // SAFETY: SIG_DFL installs no handler. The call fails for SIGKILL, SIGSTOP and the two signals which
        // the C library keeps for itself; those are at their default anyway.
        unsafe { libc::signal(number, libc::SIG_DFL) };
    }
}

/// Sends signal `number` to `pid`, which must be a child not yet reaped.
pub(crate) fn kill_child(pid: Pid, number: i32) -> nix::Result<()> {
    // SAFETY: numbers only.
    Errno::result(unsafe { libc::kill(pid.as_raw(), number) }).map(drop)
}

/// Kills the child behind `pidfd` and waits for its end. One that has ended already is reaped.
pub(crate) fn end(pidfd: BorrowedFd<'_>) {
    let _ = send(pidfd, libc::SIGKILL);
    let _ = reap(Some(pidfd));
}

/// Reaps one child that has ended: the one behind `pidfd`, waiting for its end, or any that has ended already. Answers its
/// number and the status that stands for its end: its own, or 128 and the number of the signal that it died of.
///
/// Not by a wrapper, because those know no real-time signals and take a death by one for a failure of the call.
pub(crate) fn reap(pidfd: Option<BorrowedFd<'_>>) -> nix::Result<Option<(Pid, u8)>> {
    let (kind, id, flags) = match pidfd {
        Some(fd) => (libc::P_PIDFD, fd.as_raw_fd().cast_unsigned(), libc::WEXITED),
        None => (libc::P_ALL, 0, libc::WEXITED | libc::WNOHANG),
    };
    // SAFETY: all-zero is a valid siginfo.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    loop {
        // SAFETY: `info` is valid and outlives the call.
        match Errno::result(unsafe { libc::waitid(kind, id, &raw mut info, flags) }) {
            Err(Errno::EINTR) => {}
            answer => break answer.map(drop)?,
        }
    }
    // SAFETY: waitid has filled the members of a SIGCHLD, or left the zeroes.
    let (pid, status) = unsafe { (info.si_pid(), info.si_status()) };
    if pid == 0 {
        return Ok(None);
    }
    let code = if info.si_code == libc::CLD_EXITED { status & 0xff } else { 128 + status };
    Ok(Some((Pid::from_raw(pid), u8::try_from(code).unwrap_or(u8::MAX))))
}
