//! The journal of the host: each line is one datagram to `systemd-journald`.
//!
//! Nobody waits for the journal. What it does not take at once is kept in memory, in order, up to a limit; lines that come when that is
//! full are counted, and when the journal takes entries again it is told how many are missing. One that is gone is looked for
//! once a second, by whoever owns this. What it has not got when the container ends is told by the owner: see [`Journal::owed`].
//!
//! An entry that is too large for a datagram is handed over as a sealed file in memory, as sd_journal_sendv(3) does it.

mod fields;

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::memfd::{MFdFlags, memfd_create};

use crate::error::{Context, Error, Result};
use crate::spec::{Driver, Spec};
use crate::sys::scm;

use super::Stream;

/// Where the journal listens.
const SOCKET: &str = "/run/systemd/journal/socket";
/// How long a container that has ended waits for a journal that is slow to take the last lines.
const PATIENCE: Duration = Duration::from_secs(1);

/// Priorities of syslog(3).
const ERROR: &str = "3";
const WARNING: &str = "4";
const INFORMATION: &str = "6";

/// The way of one container's lines to the journal.
#[derive(Debug)]
pub(super) struct Journal {
    socket: UnixDatagram,
    path: PathBuf,
    connected: bool,
    /// The fields that every line has, encoded.
    identity: Vec<u8>,
    /// Entries, encoded, that the journal has not taken yet, and their size.
    queue: VecDeque<Vec<u8>>,
    waiting: usize,
    /// What the queue holds at most.
    most: usize,
    /// How many lines did not find room in it. While that is something, no more are taken: the journal shall hear of it first.
    missing: u64,
    /// Whether lines end as those of a terminal.
    terminal: bool,
    /// Whether the missing lines are in a file as well.
    alone: bool,
}

/// Refuses a container whose output shall go to a journal that is not there, or with a tag that is none.
///
/// # Errors
///
/// What the user can do about it.
pub(super) fn check(spec: &Spec) -> Result<()> {
    if spec.io.log.driver == Driver::Journald && !Journal::open(spec, Path::new(SOCKET))?.connected {
        return Err(Error::new(format!(
            "--log-driver journald: no systemd-journald listens at {SOCKET}; start it, or choose json-file or none"
        )));
    }
    Ok(())
}

impl Journal {
    /// For the lines of the container `spec`. A journal that is not there, now, is one that is gone.
    ///
    /// # Errors
    ///
    /// When the kernel has no sockets left, or the container's tag is none.
    pub(super) fn of(spec: &Spec) -> Result<Self> {
        Self::open(spec, Path::new(SOCKET))
    }

    fn open(spec: &Spec, path: &Path) -> Result<Self> {
        let what = || "make a socket for the journal";
        let socket = UnixDatagram::unbound().context(what)?;
        socket.set_nonblocking(true).context(what)?;
        let options = &spec.io.log.journal;
        let mut journal = Self {
            socket,
            path: path.to_owned(),
            connected: false,
            identity: fields::of(spec)?,
            queue: VecDeque::new(),
            waiting: 0,
            most: options.buffer,
            missing: 0,
            terminal: spec.io.tty,
            alone: options.alone,
        };
        journal.connect();
        Ok(journal)
    }

    /// The same socket again, so that whoever watches it need not know.
    fn connect(&mut self) {
        self.connected = self.socket.connect(&self.path).is_ok();
    }

    /// Takes one line, or a part of one that `goes_on`.
    pub(super) fn append(&mut self, stream: Stream, line: &[u8], goes_on: bool, time: Timestamp) {
        let text = line.strip_suffix(b"\n").unwrap_or(line);
        let text = text.strip_suffix(b"\r").filter(|_| self.terminal && !goes_on).unwrap_or(text);
        let priority = if stream == Stream::Stderr { ERROR } else { INFORMATION };
        let mut entry = self.entry(priority, text, time);
        if goes_on {
            fields::put(&mut entry, "CONTAINER_PARTIAL_MESSAGE", b"true");
        }
        let is_full = self.waiting > 0 && self.waiting.saturating_add(entry.len()) > self.most;
        if self.missing > 0 || is_full {
            self.missing += 1;
            return;
        }
        self.waiting += entry.len();
        self.queue.push_back(entry);
    }

    fn entry(&self, priority: &str, text: &[u8], time: Timestamp) -> Vec<u8> {
        let mut entry = self.identity.clone();
        fields::put(&mut entry, "PRIORITY", priority.as_bytes());
        fields::put(&mut entry, "SYSLOG_TIMESTAMP", time.to_string().as_bytes());
        fields::put(&mut entry, "MESSAGE", text);
        entry
    }

    /// What the journal hears when it has missed lines.
    fn notice(&self) -> Vec<u8> {
        let elsewhere = if self.alone { "" } else { "; `xnet logs` has them" };
        let text =
            format!("xnet: up to {} lines are missing here: the journal did not take them{elsewhere}", self.missing);
        self.entry(WARNING, text.as_bytes(), Timestamp::now())
    }

    /// Hands over what the journal takes now. One that has been started again since is found again.
    pub(super) fn flush(&mut self) {
        let mut again = false;
        while self.connected {
            let posted = match self.queue.front() {
                Some(entry) => post(&self.socket, entry),
                None if self.missing > 0 => post(&self.socket, &self.notice()),
                None => return,
            };
            match posted {
                Ok(()) => match self.queue.pop_front() {
                    Some(entry) => self.waiting -= entry.len(),
                    None => self.missing = 0,
                },
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return,
                Err(_) if again => self.connected = false,
                Err(_) => {
                    again = true;
                    self.connect();
                }
            }
        }
    }

    /// Looks for a journal that is gone, and goes on with one that has come.
    pub(super) fn retry(&mut self) {
        if !self.connected {
            self.connect();
            self.flush();
        }
    }

    /// The descriptor to be watched, and whether something waits until it can be written to.
    pub(super) fn watched(&self) -> (BorrowedFd<'_>, bool) {
        (self.socket.as_fd(), self.connected && self.owed() > 0)
    }

    /// Whether something waits for a journal that is gone.
    pub(super) fn is_deserted(&self) -> bool {
        !self.connected && self.owed() > 0
    }

    /// How many lines the journal has not got.
    pub(super) fn owed(&self) -> u64 {
        self.missing + self.queue.len() as u64
    }

    /// So many lines were lost with the process that had this container before.
    pub(super) fn lost(&mut self, lines: u64) {
        self.missing += lines;
    }

    /// Hands over what is left, to a journal that takes it within a moment.
    pub(super) fn finish(&mut self) {
        self.retry();
        let end = Instant::now() + PATIENCE;
        loop {
            self.flush();
            let left = end.saturating_duration_since(Instant::now());
            if !self.connected || self.owed() == 0 || left.is_zero() {
                return;
            }
            let mut fds = [PollFd::new(self.socket.as_fd(), PollFlags::POLLOUT)];
            let _ = poll(&mut fds, PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO));
        }
    }
}

/// Sends one entry, without waiting.
fn post(socket: &UnixDatagram, entry: &[u8]) -> nix::Result<()> {
    let errno = |error: io::Error| error.raw_os_error().map_or(Errno::EIO, Errno::from_raw);
    match socket.send(entry).map_err(errno) {
        Err(Errno::EMSGSIZE | Errno::ENOBUFS) => scm::send(socket.as_fd(), b"", &[sealed(entry)?.as_fd()]),
        sent => sent.map(drop),
    }
}

/// A file in memory that nobody can change any more: the journal takes no other.
fn sealed(entry: &[u8]) -> nix::Result<OwnedFd> {
    let fd = memfd_create(c"journal-entry", MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)?;
    let mut file = File::from(fd);
    file.write_all(entry).map_err(|error| error.raw_os_error().map_or(Errno::EIO, Errno::from_raw))?;
    let seals = SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_WRITE | SealFlag::F_SEAL_SEAL;
    fcntl(&file, FcntlArg::F_ADD_SEALS(seals))?;
    Ok(file.into())
}

#[cfg(test)]
mod tests;
