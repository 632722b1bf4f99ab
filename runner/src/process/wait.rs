//! The parent's loop: forward signals, hear the child, see its end.

use std::os::fd::{AsFd, OwnedFd};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::Pid;

use crate::error::{Context, Error, Result};
use crate::io::pump::Pump;
use crate::service::notify::Notify;
use crate::sys;

use super::channel::{ParentEnd, Report};
use super::signals::{self, Delivered, Signals};

/// A container's first process, seen from its parent.
#[derive(Debug)]
pub(crate) struct Running<'a> {
    pub(crate) pid: Pid,
    pub(crate) pidfd: OwnedFd,
    pub(crate) channel: ParentEnd,
    pub(crate) signals: &'a Signals,
    /// What it tells the manager of services.
    pub(crate) notify: Option<&'a Notify>,
}

/// The status of a process that was ended by SIGKILL.
const KILLED: u8 = 137;

/// How far the child has come.
#[derive(Debug, PartialEq, Eq)]
enum Stage {
    SettingUp,
    Executing,
    Executed,
}

impl Running<'_> {
    /// Stays until the container's first process has ended, and answers the exit status.
    ///
    /// `executed` is called once, when the command is executed. Signals that come before are kept and delivered then; if
    /// they are not to be forwarded at all, they are dropped.
    /// `pump` moves what it says and what is typed, if that is to be moved.
    pub(crate) fn attend(
        &self,
        forward: bool,
        mut pump: Option<&mut Pump>,
        executed: &mut dyn FnMut() -> Result<()>,
    ) -> Result<u8> {
        let mut stage = Stage::SettingUp;
        let mut queued = Vec::new();
        let mut died_of = None;
        loop {
            let [signalled, ended, pumping, notified, spoke] = self.poll(pump.as_deref(), stage != Stage::Executed)?;
            self.notify.filter(|_| notified).map(Notify::relay);
            if let Some(pump) = pump.as_deref_mut().filter(|_| pumping) {
                queued.extend(pump.turn()?);
            }
            if spoke {
                stage = self.listen(stage)?;
                if stage == Stage::Executed {
                    executed()?;
                }
            }
            if signalled {
                queued.extend(self.signals.drain()?.into_iter().filter(|_| forward));
            }
            if stage == Stage::Executed {
                for number in queued.drain(..) {
                    if signals::forward(self.pidfd.as_fd(), self.pid, number) == Delivered::AsDefault {
                        died_of = Some(number);
                    }
                }
            }
            if ended && !spoke {
                return self.reap(&stage, died_of);
            }
        }
    }

    /// Kills the first process, and with it all others, waits for its end, and answers who is to blame: if the process
    /// had failed before, that is why `error` came about.
    pub(crate) fn kill(&self, error: Error) -> Error {
        sys::signal::end(self.pidfd.as_fd());
        match self.channel.report() {
            Ok(Some(Report::Failed(reason))) => reason,
            _ => error,
        }
    }

    /// Whether there are signals, the end, something to pump, something to pass on, a word.
    fn poll(&self, pump: Option<&Pump>, listening: bool) -> Result<[bool; 5]> {
        let mut fds = vec![
            PollFd::new(self.signals.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.pidfd.as_fd(), PollFlags::POLLIN),
        ];
        let nothing = self.signals.as_fd();
        for source in [pump.map(AsFd::as_fd), self.notify.map(AsFd::as_fd)] {
            let flags = if source.is_some() { PollFlags::POLLIN } else { PollFlags::empty() };
            fds.push(PollFd::new(source.unwrap_or(nothing), flags));
        }
        if listening {
            fds.push(PollFd::new(self.channel.as_fd(), PollFlags::POLLIN));
        }
        match poll(&mut fds, PollTimeout::NONE) {
            Err(nix::Error::EINTR) => {}
            answer => drop(answer.context(|| "wait for the container")?),
        }
        let ready = |n: usize| fds.get(n).and_then(PollFd::any).unwrap_or(false);
        Ok([0, 1, 2, 3, 4].map(ready))
    }

    fn listen(&self, stage: Stage) -> Result<Stage> {
        match (self.channel.report()?, stage) {
            (Some(Report::Executing), _) => Ok(Stage::Executing),
            (Some(Report::Waiting), stage) => Ok(stage),
            (Some(Report::Failed(error)), _) => Err(error),
            (Some(Report::Terminal | Report::Born { .. }), _) => {
                Err(Error::new("the process has made something that nobody has asked for"))
            }
            (None, Stage::Executing) => Ok(Stage::Executed),
            (None, _) => Err(Error::new(
                "the container's first process was killed while it was being set up (out of memory?); nothing was run",
            )),
        }
    }

    fn reap(&self, stage: &Stage, died_of: Option<i32>) -> Result<u8> {
        let ended = sys::signal::reap(Some(self.pidfd.as_fd())).context(|| "wait for the container")?;
        let Some((_, code)) = ended else { return Err(Error::new("the container's first process is not there")) };
        if let (KILLED, Some(number)) = (code, died_of) {
            return Ok(u8::try_from(128 + number).unwrap_or(u8::MAX));
        }
        if *stage != Stage::Executed {
            return Err(Error::new("the container's first process ended before the command was executed"));
        }
        Ok(code)
    }
}
