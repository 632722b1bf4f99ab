//! Being attached: the caller's side.
//!
//! What is typed goes to the process that attends the container, what the container says comes back, until it ends or the
//! detach keys are typed. A terminal is in raw mode meanwhile, so that every key reaches the container's own; it is put back
//! on every way out.

use std::collections::VecDeque;
use std::io::{stderr, stdin, stdout};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use nix::unistd::{read, write};

use crate::error::{Context, Error, Result};
use crate::process::signals::Signals;
use crate::sys::tty;

use super::keys::{DetachKeys, Watcher};
use super::log::Stream;
use super::pump;
use super::terminal::Raw;
use super::wire::{self, Answer, Request};

/// What the caller wants.
#[derive(Debug, Clone, Default)]
pub(crate) struct Options {
    /// Send what is typed.
    pub(crate) stdin: bool,
    /// Show standard output, or the terminal.
    pub(crate) stdout: bool,
    /// Show standard error.
    pub(crate) stderr: bool,
    /// The container has a terminal.
    pub(crate) tty: bool,
    /// Pass signals on.
    pub(crate) sig_proxy: bool,
    /// What detaches.
    pub(crate) keys: DetachKeys,
}

/// How it was left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The container has ended with this status.
    Ended(u8),
    /// The detach keys were typed; the container goes on.
    Detached,
    /// A signal that was not to be passed on ended it; the container goes on.
    Signalled(i32),
}

/// Both ends of a line to a pump that is still to be made, so that nothing is missed: the pump's, and the caller's.
pub(crate) fn pair() -> Result<(OwnedFd, OwnedFd)> {
    socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC).context(|| "make a socket pair")
}

/// Connects to the process that attends the container whose state is in `dir`.
///
/// # Errors
///
/// When there is none.
pub(crate) fn connect(dir: &Path) -> Result<OwnedFd> {
    wire::call(dir).map_err(|errno| match errno {
        Errno::ENOENT | Errno::ECONNREFUSED => Error::new(
            "nobody can be attached to this container: it was started in the foreground, or nobody attends it any more",
        ),
        errno => Error::new(format!("connect to the container: {}", errno.desc())),
    })
}

/// Stays attached over `socket` until the end of the container or of the caller's interest.
///
/// # Errors
///
/// When the other side vanishes without a word.
pub(crate) fn run(socket: OwnedFd, options: &Options, signals: &Signals) -> Result<Outcome> {
    let raw = if options.tty && options.stdin { Raw::new(stdin())? } else { None };
    let mut session = Session {
        socket,
        options,
        signals,
        watcher: raw.is_some().then(|| Watcher::new(options.keys.clone())),
        typing: options.stdin,
        unsent: VecDeque::new(),
    };
    let Options { stdin, stdout, stderr, .. } = *options;
    session.say(&Request::Hello { stdin, stdout, stderr });
    session.tell_size();
    session.run()
}

struct Session<'a> {
    socket: OwnedFd,
    options: &'a Options,
    signals: &'a Signals,
    /// Only what is typed at a terminal can mean something to us.
    watcher: Option<Watcher>,
    typing: bool,
    /// What the other side has not taken yet. Nothing more is read from the keyboard until it has.
    unsent: VecDeque<Vec<u8>>,
}

impl Session<'_> {
    fn run(&mut self) -> Result<Outcome> {
        loop {
            let [answered, signalled, typed] = self.poll()?;
            // The container's words first: its end comes after them on the same line.
            if answered && let Some(outcome) = self.hear()? {
                return Ok(outcome);
            }
            self.send();
            if signalled && let Some(outcome) = self.on_signals()? {
                return Ok(outcome);
            }
            if typed && self.pass_input() {
                return Ok(Outcome::Detached);
            }
        }
    }

    fn poll(&self) -> Result<[bool; 3]> {
        let input = stdin();
        let mut flags = PollFlags::POLLIN;
        flags.set(PollFlags::POLLOUT, !self.unsent.is_empty());
        let mut fds =
            vec![PollFd::new(self.socket.as_fd(), flags), PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)];
        if self.typing && self.unsent.is_empty() {
            fds.push(PollFd::new(input.as_fd(), PollFlags::POLLIN));
        }
        match poll(&mut fds, PollTimeout::NONE) {
            Err(Errno::EINTR) => {}
            answer => drop(answer.context(|| "wait for the container")?),
        }
        Ok([0, 1, 2].map(|n| fds.get(n).and_then(PollFd::any).unwrap_or(false)))
    }

    /// Shows what the container says; answers its end.
    fn hear(&self) -> Result<Option<Outcome>> {
        let packet = match wire::take(self.socket.as_fd()) {
            Err(Errno::EAGAIN) => return Ok(None),
            packet => packet.context(|| "listen to the container")?,
        };
        match Answer::decode(&packet) {
            // What was said before we could say that we do not want it.
            Some(Answer::Output(Stream::Stdout, _)) if !self.options.stdout => {}
            Some(Answer::Output(Stream::Stderr, _)) if !self.options.stderr => {}
            Some(Answer::Output(Stream::Stdout, bytes)) => show(stdout().as_fd(), &bytes),
            Some(Answer::Output(Stream::Stderr, bytes)) => show(stderr().as_fd(), &bytes),
            Some(Answer::Missed(count)) => show(stderr().as_fd(), pump::missed(count).as_bytes()),
            Some(Answer::Ended(code)) => return Ok(Some(Outcome::Ended(code))),
            None => {
                return Err(Error::new(
                    "the process that attends the container is gone; the container may still be running",
                ));
            }
        }
        Ok(None)
    }

    fn on_signals(&mut self) -> Result<Option<Outcome>> {
        for number in self.signals.drain()? {
            match number {
                libc::SIGWINCH => self.tell_size(),
                libc::SIGCONT => {}
                number if self.options.sig_proxy => self.say(&Request::Signal(number)),
                libc::SIGINT | libc::SIGTERM | libc::SIGHUP | libc::SIGQUIT => {
                    self.say_goodbye();
                    return Ok(Some(Outcome::Signalled(number)));
                }
                _ => {}
            }
        }
        Ok(None)
    }

    /// Passes on what was typed. Answers whether it was the detach keys.
    fn pass_input(&mut self) -> bool {
        let mut buffer = [0; 16 * 1024];
        let length = match read(stdin(), &mut buffer) {
            Err(Errno::EINTR | Errno::EAGAIN) => return false,
            answer => answer.unwrap_or(0),
        };
        let typed = buffer.get(..length).unwrap_or_default();
        if typed.is_empty() {
            self.typing = false;
            self.say(&Request::Eof);
            return false;
        }
        let (through, detach) = match &mut self.watcher {
            Some(watcher) => watcher.pass(typed),
            None => (typed.to_vec(), false),
        };
        if !through.is_empty() {
            self.say(&Request::Input(through));
        }
        if detach {
            self.say_goodbye();
        }
        detach
    }

    /// Makes the container's terminal as large as ours.
    fn tell_size(&mut self) {
        let size = tty::size(stdin().as_fd()).or_else(|_| tty::size(stdout().as_fd()));
        if let (true, Ok(size)) = (self.options.tty, size) {
            self.say(&Request::Resize(size));
        }
    }

    /// Sends `request` as soon as it is taken. Never waits: the container may not take what is typed before somebody
    /// takes what it says.
    fn say(&mut self, request: &Request) {
        self.unsent.push_back(request.encode());
        self.send();
    }

    fn send(&mut self) {
        while let Some(packet) = self.unsent.front() {
            match wire::post(self.socket.as_fd(), packet) {
                Err(Errno::EAGAIN) => return,
                // If nobody is there to hear it, the next look at the line tells.
                _ => drop(self.unsent.pop_front()),
            }
        }
    }

    /// What was typed last is given a moment to be taken.
    fn say_goodbye(&mut self) {
        self.say(&Request::Detach);
        let mut tries = 0..10;
        while !self.unsent.is_empty() && tries.next().is_some() {
            let _ = poll(&mut [PollFd::new(self.socket.as_fd(), PollFlags::POLLOUT)], PollTimeout::from(100_u8));
            self.send();
        }
    }
}

/// Writes all of it. If nobody reads, nobody misses it.
fn show(to: BorrowedFd<'_>, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        match write(to, bytes) {
            Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => drop(poll(&mut [PollFd::new(to, PollFlags::POLLOUT)], PollTimeout::NONE)),
            Err(_) => return,
        }
    }
}
