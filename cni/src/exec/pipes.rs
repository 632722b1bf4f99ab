//! Serving the three pipes of a child in one thread.

use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::exec::{STDERR_MAX, STDOUT_MAX};

/// How often to look whether the child is gone while its pipes are open and silent: a descendant may hold them.
const LOOK: Duration = Duration::from_millis(100);
/// Between the end of its pipes and its own end a child needs some hundred microseconds. Sleeping takes at least fifty
/// more than one asks for, so the first looks are taken without.
const LOOKS_AWAKE: u32 = 200;
const FIRST_NAP: Duration = Duration::from_micros(50);
/// Results are smaller than that.
const CHUNK: usize = 8 << 10;

/// What was heard, and how it ended.
pub(super) struct Served {
    pub(super) end: End,
    pub(super) stdout: Vec<u8>,
    pub(super) stderr: Vec<u8>,
}

#[derive(Clone, Copy)]
pub(super) enum End {
    /// The child is gone, and there is nothing more to read.
    Exited,
    /// The time is over.
    Deadline,
    /// There was more on stdout than is kept.
    TooMuch,
}

/// The three pipes of a child.
pub(super) struct Pipes<'a> {
    stdin: Feed<'a>,
    stdout: Drain<ChildStdout>,
    stderr: Drain<ChildStderr>,
}

impl<'a> Pipes<'a> {
    /// Takes the pipes over and writes of `document` what fits, which nearly always is all: the child can begin.
    pub(super) fn of(child: &mut Child, document: &'a [u8]) -> io::Result<Pipes<'a>> {
        let mut stdin = Feed::new(child.stdin.take(), document)?;
        stdin.write()?;
        let stdout = Drain::new(child.stdout.take(), STDOUT_MAX)?;
        let stderr = Drain::new(child.stderr.take(), STDERR_MAX)?;
        Ok(Pipes { stdin, stdout, stderr })
    }

    /// Feeds the rest of the document to the child and collects what it prints.
    pub(super) fn serve(mut self, child: &mut Child, deadline: Instant) -> io::Result<Served> {
        let mut gone = false;
        let end = loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if self.stdout.overflowed {
                break End::TooMuch;
            }
            if self.stdout.pipe.is_none() && self.stderr.pipe.is_none() {
                break await_exit(child, deadline)?;
            }
            if left.is_zero() {
                break End::Deadline;
            }
            let patience = if gone { Duration::ZERO } else { left.min(LOOK) };
            let heard = self.turn(patience)?;
            if gone && !heard {
                break End::Exited;
            }
            gone = gone || !heard && child.try_wait()?.is_some();
        };
        Ok(Served { end, stdout: self.stdout.kept, stderr: self.stderr.kept })
    }

    /// Waits until a pipe is ready, and serves those that are. False when nothing happened.
    fn turn(&mut self, patience: Duration) -> io::Result<bool> {
        let Pipes { stdin, stdout, stderr } = self;
        let mut polled: Vec<PollFd<'_>> = Vec::with_capacity(3);
        let ends =
            [(stdin.fd(), PollFlags::POLLOUT), (stdout.fd(), PollFlags::POLLIN), (stderr.fd(), PollFlags::POLLIN)];
        polled.extend(ends.iter().filter_map(|(fd, events)| Some(PollFd::new((*fd)?, *events))));
        match poll(&mut polled, timeout(patience)) {
            Ok(0) => return Ok(false),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        // All ends are non-blocking: those that are not ready cost one refused call.
        stdin.write()?;
        stdout.read()?;
        stderr.read()?;
        Ok(true)
    }
}

/// Waits for a child that has closed its outputs. Nearly always it is exiting.
fn await_exit(child: &mut Child, deadline: Instant) -> io::Result<End> {
    for _ in 0..LOOKS_AWAKE {
        if child.try_wait()?.is_some() {
            return Ok(End::Exited);
        }
        thread::yield_now();
    }
    let mut nap = FIRST_NAP;
    while child.try_wait()?.is_none() {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(End::Deadline);
        }
        thread::sleep(nap.min(left));
        nap = (nap * 2).min(LOOK);
    }
    Ok(End::Exited)
}

/// Rounded up, lest the last millisecond be spent spinning.
fn timeout(patience: Duration) -> PollTimeout {
    let millis = patience.as_micros().div_ceil(1000);
    PollTimeout::try_from(millis).unwrap_or(PollTimeout::MAX)
}

/// The document on its way to the child's stdin.
struct Feed<'a> {
    pipe: Option<ChildStdin>,
    rest: &'a [u8],
}

impl<'a> Feed<'a> {
    fn new(pipe: Option<ChildStdin>, rest: &'a [u8]) -> io::Result<Feed<'a>> {
        pipe.as_ref().map(unblock).transpose()?;
        Ok(Feed { pipe: pipe.filter(|_| !rest.is_empty()), rest })
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.pipe.as_ref().map(AsFd::as_fd)
    }

    /// Writes what fits. The pipe is closed after the last byte, or when the child does not want more.
    fn write(&mut self) -> io::Result<()> {
        while let Some(pipe) = &mut self.pipe {
            match pipe.write(self.rest) {
                Ok(count) => self.rest = &self.rest[count..],
                Err(error) if error.kind() == ErrorKind::BrokenPipe => self.rest = &[],
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            }
            if self.rest.is_empty() {
                self.pipe = None;
            }
        }
        Ok(())
    }
}

/// One of the child's outputs.
struct Drain<R> {
    pipe: Option<R>,
    kept: Vec<u8>,
    max: usize,
    overflowed: bool,
}

impl<R: Read + AsFd> Drain<R> {
    fn new(pipe: Option<R>, max: usize) -> io::Result<Drain<R>> {
        pipe.as_ref().map(unblock).transpose()?;
        Ok(Drain { pipe, kept: Vec::new(), max, overflowed: false })
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.pipe.as_ref().map(AsFd::as_fd)
    }

    /// Reads one chunk, so that a chatty output can not starve the others or the deadline.
    fn read(&mut self) -> io::Result<()> {
        let Some(pipe) = &mut self.pipe else { return Ok(()) };
        let mut chunk = [0; CHUNK];
        match pipe.read(&mut chunk) {
            Ok(0) => self.pipe = None,
            Ok(count) => self.keep(&chunk[..count]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn keep(&mut self, chunk: &[u8]) {
        let room = self.max - self.kept.len();
        self.overflowed |= chunk.len() > room;
        self.kept.extend_from_slice(&chunk[..chunk.len().min(room)]);
    }
}

fn unblock(pipe: &impl AsFd) -> io::Result<()> {
    let flags = OFlag::from_bits_retain(fcntl(pipe, FcntlArg::F_GETFL)?);
    fcntl(pipe, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    Ok(())
}
