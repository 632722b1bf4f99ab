//! Signals of the parent: which are passed on, and what "passing on" means for a pid 1.
//!
//! All are blocked before the child exists, so that none is lost, and read from a descriptor. The kernel drops a
//! signal to the first process of a pid namespace if that process has no handler, where any other process would have
//! died of it. A person who presses Ctrl-C, or `timeout`, means the ordinary thing; so for signals that end a
//! process by default, the status file is asked first, and the default is carried out with SIGKILL.

use std::cell::Cell;
use std::fs;
use std::os::fd::{AsFd, BorrowedFd};

use nix::libc;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, pthread_sigmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::Pid;

use crate::error::{Context, Result};
use crate::sys;

/// Signals that stay as they are: errors of `xnet` itself, and job control, which stops `xnet` like any program.
const OURS: [Signal; 9] = [
    Signal::SIGSEGV,
    Signal::SIGBUS,
    Signal::SIGFPE,
    Signal::SIGILL,
    Signal::SIGABRT,
    Signal::SIGSYS,
    Signal::SIGTSTP,
    Signal::SIGTTIN,
    Signal::SIGTTOU,
];

/// Blocked with the others, but about `xnet` and not for the command.
const KEPT: [i32; 4] = [libc::SIGCHLD, libc::SIGURG, libc::SIGPIPE, libc::SIGTRAP];

/// By which a person ends what is in the foreground.
const ENDING: [i32; 4] = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT];

/// The blocked signals, as a queue.
#[derive(Debug)]
pub(crate) struct Signals {
    queue: SignalFd,
    /// Whether one of [`ENDING`] has come.
    ending: Cell<bool>,
}

impl Signals {
    /// Blocks all signals and begins to queue them. To be called before anything that must be undone is done.
    pub(crate) fn block() -> Result<Self> {
        let mut set = SigSet::all();
        for signal in OURS {
            set.remove(signal);
        }
        set.thread_block().context(|| "block signals")?;
        SignalFd::with_flags(&set, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)
            .map(|queue| Self { queue, ending: Cell::new(false) })
            .context(|| "open a signal queue")
    }

    /// The numbers of all queued signals that are meant for the command.
    pub(crate) fn drain(&self) -> Result<Vec<i32>> {
        let mut numbers = Vec::new();
        while let Some(info) = self.queue.read_signal().context(|| "read the signal queue")? {
            numbers.extend(i32::try_from(info.ssi_signo).ok().filter(|n| !KEPT.contains(n)));
        }
        if numbers.iter().any(|number| ENDING.contains(number)) {
            self.ending.set(true);
        }
        Ok(numbers)
    }

    /// Whether one of the drained signals has said that the end is wanted.
    pub(crate) fn want_end(&self) -> bool {
        self.ending.get()
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.queue.as_fd()
    }
}

/// The clean slate that a new program expects: defaults for all, nothing blocked.
pub(crate) fn reset() -> Result<()> {
    sys::signal::reset_actions();
    pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None).context(|| "unblock signals")
}

/// Sends signal `number` to the container's first process, or does for the kernel what the signal means by default.
pub(crate) fn forward(pidfd: BorrowedFd<'_>, pid: Pid, number: i32) -> Delivered {
    if ends_by_default(number) && !minds(pid, number) {
        let _ = sys::signal::send(pidfd, libc::SIGKILL);
        return Delivered::AsDefault;
    }
    // A process that is gone needs no signal.
    let _ = sys::signal::send(pidfd, number);
    Delivered::AsIs
}

/// How a signal was passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Delivered {
    /// The process got the signal.
    AsIs,
    /// The process would have ignored it for being pid 1, and was killed in its name.
    AsDefault,
}

fn ends_by_default(number: i32) -> bool {
    let harmless = [libc::SIGCONT, libc::SIGWINCH, libc::SIGCHLD, libc::SIGURG, libc::SIGSTOP];
    !harmless.contains(&number)
}

/// Whether `pid` catches, ignores or blocks the signal. When its status cannot be read it is gone, or about to be.
pub(crate) fn minds(pid: Pid, number: i32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/status")).map_or(true, |status| masks(&status) & bit(number) != 0)
}

fn bit(number: i32) -> u64 {
    u32::try_from(number - 1).ok().and_then(|shift| 1_u64.checked_shl(shift)).unwrap_or(0)
}

/// The union of the caught, ignored and blocked signals in the text of /proc/PID/status.
fn masks(status: &str) -> u64 {
    let mask = |line: &str| {
        ["SigCgt:", "SigIgn:", "SigBlk:"]
            .iter()
            .find_map(|key| line.strip_prefix(key))
            .and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok())
    };
    status.lines().filter_map(mask).fold(0, |all, mask| all | mask)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handler_a_block_and_an_ignore_all_count() {
        let status = "Name:\tx\nSigBlk:\t0000000000000001\nSigIgn:\t0000000000001000\nSigCgt:\t0000000000004000\n";
        assert_ne!(masks(status) & bit(libc::SIGHUP), 0);
        assert_ne!(masks(status) & bit(libc::SIGPIPE), 0);
        assert_ne!(masks(status) & bit(libc::SIGTERM), 0);
        assert_eq!(masks(status) & bit(libc::SIGINT), 0);
        assert_eq!(bit(64), 1 << 63);
    }
}
