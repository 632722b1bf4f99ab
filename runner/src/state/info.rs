//! What a run tells the others about itself: `info.json`, in the container's directory of passing things.

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use crate::id::Name;
use crate::kernel_file;
use crate::moment::Moment;
use crate::sys;

/// A run, for others to read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Info {
    pub(crate) id: Name,
    /// The first process, as the host numbers it. 0 between two runs.
    pub(crate) pid: i32,
    /// When that process was started, in clock ticks since boot: tells it from a later one of the same number.
    pub(crate) start: u64,
    /// When the run began.
    pub(crate) started_at: Moment,
    /// The process that attends to it.
    pub(crate) monitor: Task,
    /// The process that holds its terminal beside that one.
    #[serde(default)]
    pub(crate) holder: Task,
    /// Where the manager of services listens to which its words go.
    #[serde(default)]
    pub(crate) manager: Option<String>,
    /// Whether the container lives on without that process.
    pub(crate) detached: bool,
    /// How often the restart policy has started the container again.
    pub(crate) restarts: u32,
}

impl Info {
    /// The first process.
    pub(crate) fn task(&self) -> Task {
        Task { pid: self.pid, start: self.start }
    }
}

/// A process, across invocations: its number, and its start time, because numbers are used again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Task {
    /// The number on the host.
    pub(crate) pid: i32,
    /// Clock ticks since boot.
    pub(crate) start: u64,
}

impl Task {
    /// The process `pid`, which must not have been reaped yet.
    pub(crate) fn of(pid: Pid) -> Self {
        Self { pid: pid.as_raw(), start: start_time(pid).unwrap_or_default() }
    }

    /// A descriptor for this very process, if it has not ended.
    pub(crate) fn open(self) -> Option<OwnedFd> {
        if self.pid <= 0 {
            return None;
        }
        let pid = Pid::from_raw(self.pid);
        let pidfd = sys::signal::pidfd_open(pid).ok()?;
        // Asked for after the descriptor was opened, so the answer is about the process behind it.
        (start_time(pid) == Some(self.start) && !has_ended(&pidfd)).then_some(pidfd)
    }

    /// Whether it has not ended.
    pub(crate) fn is_alive(self) -> bool {
        self.open().is_some()
    }

    /// The exit status, if it has ended and nobody has reaped it yet.
    pub(crate) fn zombie_status(self) -> Option<u8> {
        let stat = stat(Pid::from_raw(self.pid)).filter(|stat| field(stat, 22) == Some(self.start))?;
        let is_zombie = stat.rsplit_once(')')?.1.trim_start().starts_with('Z');
        let status = field(&stat, 52).filter(|_| is_zombie)?;
        Some(sys::pidfd::code(i32::try_from(status).ok()?))
    }

    /// Sends it a signal; false if it has ended.
    pub(crate) fn signal(self, number: i32) -> bool {
        self.open().is_some_and(|pidfd| sys::signal::send(pidfd.as_fd(), number).is_ok())
    }

    /// Kills it and waits for its end, for so many milliseconds at most. Answers whether it has ended.
    pub(crate) fn kill(self, patience: u16) -> bool {
        let Some(pidfd) = self.open() else { return true };
        let _ = sys::signal::send(pidfd.as_fd(), libc::SIGKILL);
        has_ended_within(&pidfd, Duration::from_millis(patience.into()))
    }
}

fn has_ended(pidfd: &OwnedFd) -> bool {
    has_ended_within(pidfd, Duration::ZERO)
}

/// Waits for the end of the process behind `pidfd`, for ever with [`Duration::MAX`]. Answers whether it came.
pub(crate) fn has_ended_within(pidfd: &OwnedFd, patience: Duration) -> bool {
    let until = Instant::now().checked_add(patience);
    loop {
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        let timeout = match left {
            None => PollTimeout::NONE,
            Some(Duration::ZERO) => PollTimeout::ZERO,
            // Rounded up, so that the rest of a millisecond is not spent spinning.
            Some(left) => PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX),
        };
        match poll(&mut [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)], timeout) {
            Ok(0) if left != Some(Duration::ZERO) => {}
            Err(Errno::EINTR) => {}
            answer => return answer == Ok(1),
        }
    }
}

/// When process `pid` was started, in clock ticks since boot.
pub(crate) fn start_time(pid: Pid) -> Option<u64> {
    field(&stat(pid)?, 22)
}

/// When this process was started, to the tick of the clock: it may have been a hundredth of a second later.
pub(crate) fn birth() -> Option<Moment> {
    let start = Duration::from_millis(start_time(Pid::this())?.checked_mul(1000 / TICKS_PER_SECOND)?);
    let now = Duration::from(clock_gettime(ClockId::CLOCK_BOOTTIME).ok()?);
    Some(Moment::ago(now.saturating_sub(start)))
}

/// `USER_HZ` of the kernel, the same on all processors that are still made.
const TICKS_PER_SECOND: u64 = 100;

fn stat(pid: Pid) -> Option<String> {
    kernel_file::value(format!("/proc/{pid}/stat")).ok()
}

/// Field `number` of proc_pid_stat(5), from the third on.
fn field(stat: &str, number: usize) -> Option<u64> {
    // The command's name is in parentheses and may hold anything; the state after it is field 3.
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(number.checked_sub(3)?)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn this_process_was_started_before_now_and_after_its_program_was_built() {
        let born = birth().unwrap();
        assert!(born <= Moment::now());
        let built = std::fs::metadata("/proc/self/exe").unwrap().modified().unwrap().elapsed().unwrap();
        assert!(born.elapsed() < built + Duration::from_secs(1));
    }

    #[test]
    fn another_process_of_the_same_number_is_not_meant() {
        let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
        let task = Task::of(Pid::from_raw(child.id().cast_signed()));
        assert!(task.is_alive());
        let later = Task { start: task.start + 1, ..task };
        assert!(!later.is_alive() && !later.signal(libc::SIGKILL) && later.kill(1));
        assert!(task.is_alive(), "a process was taken for another");
        assert!(task.kill(5000));
        // Not reaped yet, but ended.
        assert!(!task.is_alive());
        assert_eq!(task.zombie_status(), Some(137));
        child.wait().unwrap();
        assert!(!Task::default().is_alive());
    }
}
