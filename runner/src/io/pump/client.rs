//! Somebody who is attached, and what waits for them.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::write;

use super::super::log::Stream;
use super::super::wire::{self, Answer};

/// How much may wait for a client before the container is made to wait, too.
const HIGH: usize = 256 * 1024;

/// So much can be written to a pipe or terminal that says it has room.
const PIECE: usize = 4096;

/// Where a client is.
#[derive(Debug)]
enum Transport {
    /// Another process, at the end of a socket.
    Socket(OwnedFd),
    /// This process: its own standard output and error.
    Own([OwnedFd; 2]),
}

/// One who is attached.
#[derive(Debug)]
pub(super) struct Client {
    transport: Transport,
    /// Which outputs it wants.
    wants: [bool; 2],
    /// Whether it has said that input will come from it.
    pub(super) types: bool,
    queue: VecDeque<Answer>,
    waiting: usize,
    /// Since when it has had too much to take and has taken nothing.
    stalled: Option<Instant>,
    /// How much it was not sent. While that is something, it gets nothing.
    missed: u64,
    pub(super) gone: bool,
}

impl Client {
    /// A process that has just connected. It will say what it wants.
    pub(super) fn remote(socket: OwnedFd) -> Self {
        Self::new(Transport::Socket(socket), [false, false])
    }

    /// A process that has been there before the container. Until it says what it wants it gets all: the container may have
    /// ended by then.
    pub(super) fn first(socket: OwnedFd) -> Self {
        Self::new(Transport::Socket(socket), [true, true])
    }

    /// This process.
    pub(super) fn own(stdout: OwnedFd, stderr: OwnedFd, wants: [bool; 2]) -> Self {
        Self::new(Transport::Own([stdout, stderr]), wants)
    }

    fn new(transport: Transport, wants: [bool; 2]) -> Self {
        let queue = VecDeque::new();
        Self { transport, wants, types: false, queue, waiting: 0, stalled: None, missed: 0, gone: false }
    }

    /// The descriptor to be watched.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        match &self.transport {
            Transport::Socket(socket) => socket.as_fd(),
            Transport::Own(fds) => fds[usize::from(self.next_stream() == Some(Stream::Stderr))].as_fd(),
        }
    }

    /// Whether requests come from it.
    pub(super) fn is_remote(&self) -> bool {
        matches!(self.transport, Transport::Socket(_))
    }

    /// Says which outputs it wants, and whether it types.
    pub(super) fn introduce(&mut self, types: bool, stdout: bool, stderr: bool) {
        (self.types, self.wants) = (types, [stdout, stderr]);
    }

    /// Gives it what `stream` has said.
    pub(super) fn output(&mut self, stream: Stream, bytes: &[u8]) {
        if !self.wants[usize::from(stream == Stream::Stderr)] {
            return;
        }
        if self.missed > 0 {
            self.missed += bytes.len() as u64;
            return;
        }
        for piece in bytes.chunks(if self.is_remote() { wire::LARGEST } else { PIECE }) {
            self.push(Answer::Output(stream, piece.to_vec()));
        }
        self.flush();
    }

    /// Puts `answer` at the end of the queue.
    pub(super) fn push(&mut self, answer: Answer) {
        self.waiting += answer.len();
        self.queue.push_back(answer);
        if self.is_full() && self.stalled.is_none() {
            self.stalled = Some(Instant::now());
        }
    }

    /// Whether the container must wait for it.
    pub(super) fn is_full(&self) -> bool {
        !self.gone && self.missed == 0 && self.waiting >= HIGH
    }

    /// Whether something waits for it.
    pub(super) fn has_more(&self) -> bool {
        !self.gone && !self.queue.is_empty()
    }

    /// Stops waiting for it if it has taken nothing for too long.
    pub(super) fn lose_patience(&mut self, patience: Duration) {
        if self.is_full() && self.stalled.is_some_and(|since| since.elapsed() >= patience) {
            // Nothing is missing yet; the one is taken off when the sum is told.
            self.missed = 1;
        }
    }

    /// Hands over what waits, as far as it is taken.
    pub(super) fn flush(&mut self) {
        while !self.gone {
            let Some(answer) = self.queue.front() else {
                if self.missed == 0 {
                    return;
                }
                let missed = std::mem::take(&mut self.missed) - 1;
                self.push(Answer::Missed(missed));
                continue;
            };
            let length = answer.len();
            match self.hand_over(answer) {
                Ok(()) => {
                    self.waiting -= length;
                    self.queue.pop_front();
                    self.stalled = self.is_full().then(Instant::now);
                }
                Err(Errno::EAGAIN) => return,
                Err(Errno::EINTR) => {}
                Err(_) => self.gone = true,
            }
        }
    }

    fn hand_over(&self, answer: &Answer) -> nix::Result<()> {
        match (&self.transport, answer) {
            (Transport::Socket(socket), answer) => wire::post(socket.as_fd(), &answer.encode()),
            (Transport::Own(fds), Answer::Output(stream, bytes)) => {
                let fd = &fds[usize::from(*stream == Stream::Stderr)];
                ready(fd)?;
                all(fd, bytes)
            }
            (Transport::Own(fds), Answer::Missed(count)) => {
                ready(&fds[1])?;
                all(&fds[1], missed(*count).as_bytes())
            }
            (Transport::Own(_), Answer::Ended(_)) => Ok(()),
        }
    }

    fn next_stream(&self) -> Option<Stream> {
        match self.queue.front()? {
            Answer::Output(stream, _) => Some(*stream),
            Answer::Missed(_) => Some(Stream::Stderr),
            Answer::Ended(_) => None,
        }
    }
}

/// The line that says that `count` bytes were not sent.
pub(in crate::io) fn missed(count: u64) -> String {
    format!("\r\nxnet: {count} bytes of output are missing here: nobody took them for ten seconds\r\n")
}

fn ready(fd: &OwnedFd) -> nix::Result<()> {
    let mut fds = [PollFd::new(fd.as_fd(), PollFlags::POLLOUT)];
    if poll(&mut fds, PollTimeout::ZERO)? == 0 { Err(Errno::EAGAIN) } else { Ok(()) }
}

/// The caller's descriptor may be in either mode, and others use it, too: so it is left as it is.
fn all(fd: &OwnedFd, mut bytes: &[u8]) -> nix::Result<()> {
    while !bytes.is_empty() {
        match write(fd, bytes) {
            Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => drop(poll(&mut [PollFd::new(fd.as_fd(), PollFlags::POLLOUT)], PollTimeout::NONE)),
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}
