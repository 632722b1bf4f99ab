//! The line between the container's first process and its parent, as typed messages.
//!
//! Child to parent: `terminal` hands over the master of a terminal that was made inside; `failed` ends the story;
//! `executing` is the last word before the command takes over, and the socket's end after it says that it did. An end
//! without either means that the child was killed on the way.
//! Parent to child: `network_ready`, once.

use std::cell::RefCell;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, recv, send, socketpair};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::error::{Context, Error, Result};
use crate::setup::files::Files;
use crate::sys::scm;

/// What the child has to say.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Report {
    /// The set-up or the execution has failed; nothing of the user's has run.
    Failed(Error),
    /// All is mounted; what the parent has to do in between comes next.
    Waiting,
    /// All is set up; `execve` comes next.
    Executing,
    /// The container's terminal was made; its master comes along.
    Terminal,
    /// The process that will execute the command was born, as a child of the reader; its descriptor comes along.
    Born {
        /// Its number on the host.
        pid: i32,
    },
}

/// A child that somebody else has made for us.
#[derive(Debug)]
pub(crate) struct Born {
    /// Its number.
    pub(crate) pid: Pid,
    /// The process itself.
    pub(crate) pidfd: OwnedFd,
}

/// The parent's end.
#[derive(Debug)]
pub(crate) struct ParentEnd {
    socket: OwnedFd,
    /// Heard while something else was awaited.
    early: RefCell<Option<Report>>,
}

/// The child's end.
#[derive(Debug)]
pub(crate) struct ChildEnd(OwnedFd);

/// Both ends. They are closed by `execve`.
pub(crate) fn pair() -> Result<(ParentEnd, ChildEnd)> {
    let (a, b) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)
        .context(|| "make a socket pair")?;
    Ok((ParentEnd { socket: a, early: RefCell::new(None) }, ChildEnd(b)))
}

impl ParentEnd {
    /// The end of a line that was made in another way.
    pub(crate) fn from_fd(fd: OwnedFd) -> Self {
        Self { socket: fd, early: RefCell::new(None) }
    }

    /// Lets the child go on. `trees` are the files themselves, if the child cannot open them.
    pub(crate) fn network_ready(&self, files: &Files, trees: &[OwnedFd]) -> Result<()> {
        let trees: Vec<_> = trees.iter().map(AsFd::as_fd).collect();
        self.give(files, &trees)
    }

    /// Sends something with descriptors.
    pub(crate) fn give(&self, message: &impl Serialize, fds: &[BorrowedFd<'_>]) -> Result<()> {
        if fds.len() > scm::MOST {
            return Err(Error::new(format!("more than {} mounts in a user namespace", scm::MOST)));
        }
        let text = serde_json::to_vec(message).context(|| "encode a message")?;
        scm::send(self.socket.as_fd(), &text, fds).context(|| "talk to the other process")
    }

    /// The next report; `None` when the other end is closed.
    pub(crate) fn report(&self) -> Result<Option<Report>> {
        match self.early.take() {
            Some(report) => Ok(Some(report)),
            None => read(self.socket.as_fd()),
        }
    }

    /// Waits until the command is executed.
    ///
    /// # Errors
    ///
    /// What the other process, called `who` for people, has failed of instead.
    pub(crate) fn await_execution(&self, who: &str) -> Result<()> {
        let mut executing = false;
        loop {
            match self.report()? {
                Some(Report::Failed(error)) => return Err(error),
                Some(_) => executing = true,
                None if executing => return Ok(()),
                None => return Err(Error::new(format!("{who} was killed before it executed the command"))),
            }
        }
    }

    /// Waits until the command's process is born. It may have something to report before the one that has made it.
    ///
    /// # Errors
    ///
    /// What that one has failed of instead.
    pub(crate) fn await_birth(&self) -> Result<Born> {
        loop {
            match read_with_fd(self.socket.as_fd())? {
                Some((Report::Born { pid }, Some(pidfd))) => return Ok(Born { pid: Pid::from_raw(pid), pidfd }),
                Some((report, _)) => drop(self.early.replace(Some(report))),
                None => {
                    return Err(match self.early.take() {
                        Some(Report::Failed(error)) => error,
                        _ => Error::new("the process was killed on its way into the container; nothing was run"),
                    });
                }
            }
        }
    }

    /// Waits for the terminal, which must be the next that the child has to report.
    ///
    /// # Errors
    ///
    /// What the child has failed of instead.
    pub(crate) fn terminal(&self) -> Result<OwnedFd> {
        let died = || Error::new("the process was killed while it made its terminal; nothing was run");
        match read_with_fd(self.socket.as_fd())?.ok_or_else(died)? {
            (Report::Failed(error), _) => Err(error),
            (Report::Terminal, Some(master)) => Ok(master),
            _ => Err(Error::new("the process has not handed over its terminal")),
        }
    }
}

impl AsFd for ParentEnd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsFd for ChildEnd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl ChildEnd {
    /// Waits for the parent. If it is gone, so is the reason to go on.
    pub(crate) fn await_network(&self) -> Result<(Files, Vec<OwnedFd>)> {
        self.take()
    }

    /// Waits for what the parent has to give.
    pub(crate) fn take<T: DeserializeOwned>(&self) -> Result<(T, Vec<OwnedFd>)> {
        let mut buffer = vec![0; LARGEST];
        let (length, fds) = scm::receive(self.0.as_fd(), &mut buffer).context(|| "listen to the other process")?;
        if length == 0 {
            return Err(Error::new("the parent has given up"));
        }
        let text = buffer.get(..length).unwrap_or_default();
        serde_json::from_slice(text).map(|message| (message, fds)).context(|| "decode a message")
    }

    /// Reports a failure. Nobody is left to be told when that fails.
    pub(crate) fn failed(&self, error: Error) {
        let _ = write(self.0.as_fd(), &Report::Failed(error));
    }

    /// Says that it is the parent's turn.
    pub(crate) fn waiting(&self) -> Result<()> {
        write(self.0.as_fd(), &Report::Waiting)
    }

    /// Announces `execve`.
    pub(crate) fn executing(&self) -> Result<()> {
        write(self.0.as_fd(), &Report::Executing)
    }

    /// Hands over the master of a terminal.
    pub(crate) fn hand_over(&self, master: BorrowedFd<'_>) -> Result<()> {
        self.report_with(&Report::Terminal, master)
    }

    /// Hands over a child that belongs to the reader.
    pub(crate) fn born(&self, pid: Pid, pidfd: BorrowedFd<'_>) -> Result<()> {
        self.report_with(&Report::Born { pid: pid.as_raw() }, pidfd)
    }

    fn report_with(&self, report: &Report, fd: BorrowedFd<'_>) -> Result<()> {
        let text = serde_json::to_vec(report).context(|| "encode a message")?;
        scm::send(self.0.as_fd(), &text, &[fd]).context(|| "hand a descriptor over")
    }

    /// The descriptor, to be kept when all others are closed.
    pub(crate) fn into_fd(self) -> OwnedFd {
        self.0
    }

    /// The end again, at another descriptor.
    pub(crate) fn from_fd(fd: OwnedFd) -> Self {
        Self(fd)
    }
}

/// More than any message has; a packet is never cut.
const LARGEST: usize = 128 * 1024;

fn write(socket: BorrowedFd<'_>, message: &impl Serialize) -> Result<()> {
    let text = serde_json::to_vec(message).context(|| "encode a message")?;
    send(socket.as_raw_fd(), &text, MsgFlags::MSG_NOSIGNAL).map(drop).context(|| "talk to the other process")
}

fn read<T: DeserializeOwned>(socket: BorrowedFd<'_>) -> Result<Option<T>> {
    let mut buffer = vec![0; LARGEST];
    let length = loop {
        match recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
            // A reset is told once: the other end was closed before it had read all. What it had said is still here.
            Err(Errno::EINTR | Errno::ECONNRESET) => {}
            answer => break answer.context(|| "listen to the other process")?,
        }
    };
    if length == 0 {
        return Ok(None);
    }
    serde_json::from_slice(buffer.get(..length).unwrap_or_default()).map(Some).context(|| "decode a message")
}

fn read_with_fd(socket: BorrowedFd<'_>) -> Result<Option<(Report, Option<OwnedFd>)>> {
    let mut buffer = vec![0; LARGEST];
    let (length, mut fds) = scm::receive(socket, &mut buffer).context(|| "listen to the other process")?;
    if length == 0 {
        return Ok(None);
    }
    let text = buffer.get(..length).unwrap_or_default();
    serde_json::from_slice(text).map(|report| Some((report, fds.pop()))).context(|| "decode a message")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_arrive_and_a_closed_end_is_told_from_a_message() {
        let (parent, child) = pair().unwrap();
        let files = Files { dir: "/d".repeat(5_000).into() };
        parent.network_ready(&files, &[]).unwrap();
        assert_eq!(child.await_network().unwrap().0, files);
        parent.network_ready(&files, &[]).unwrap();
        child.failed(Error::not_found("x"));
        drop(child);
        assert_eq!(parent.report().unwrap(), Some(Report::Failed(Error::not_found("x"))));
        assert_eq!(parent.report().unwrap(), None);
    }
}
