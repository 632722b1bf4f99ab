//! What the process that attends a container and those who are attached to it say to each other.
//!
//! One packet of a sequenced socket is one message: a byte that says which, and what belongs to it. The socket is
//! `attach` in the container's state directory, which is root's alone; there is no abstract name that somebody in the
//! host's network namespace could connect to.

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::socket::{
    AddressFamily, Backlog, MsgFlags, SockFlag, SockType, UnixAddr, bind, connect, getsockopt, listen, recv, send,
    socket, sockopt,
};
use nix::sys::stat::Mode;
use nix::unistd::geteuid;

use crate::error::{Context, Result};
use crate::spec::Size;

use super::log::Stream;

/// The largest message; a packet is never cut.
pub(super) const LARGEST: usize = 32 * 1024;

/// What somebody who is attached says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Request {
    /// The first message: which streams are wanted.
    Hello {
        /// Whether input will come.
        stdin: bool,
        /// Whether standard output, or the terminal, is wanted.
        stdout: bool,
        /// Whether standard error is wanted.
        stderr: bool,
    },
    /// Something was typed.
    Input(Vec<u8>),
    /// No more input will come.
    Eof,
    /// The terminal has this size now.
    Resize(Size),
    /// The container shall get this signal.
    Signal(i32),
    /// Goodbye, with the input left open for the next one.
    Detach,
}

/// What the attending process says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The container has written something.
    Output(Stream, Vec<u8>),
    /// So many bytes were not sent, because they were not taken.
    Missed(u64),
    /// The container has ended with this status.
    Ended(u8),
}

impl Request {
    /// The packet.
    pub(crate) fn encode(&self) -> Vec<u8> {
        match self {
            Self::Hello { stdin, stdout, stderr } => {
                vec![b'h', u8::from(*stdin) | u8::from(*stdout) << 1 | u8::from(*stderr) << 2]
            }
            Self::Input(bytes) => packet(b'i', bytes),
            Self::Eof => vec![b'e'],
            Self::Resize(size) => {
                let [[a, b], [c, d]] = [size.rows.to_le_bytes(), size.cols.to_le_bytes()];
                vec![b's', a, b, c, d]
            }
            Self::Signal(number) => packet(b'k', &number.to_le_bytes()),
            Self::Detach => vec![b'd'],
        }
    }

    /// The message in `packet`, if it is one.
    pub(crate) fn decode(packet: &[u8]) -> Option<Self> {
        match packet {
            [b'h', bits] => Some(Self::Hello { stdin: bits & 1 != 0, stdout: bits & 2 != 0, stderr: bits & 4 != 0 }),
            [b'i', bytes @ ..] => Some(Self::Input(bytes.to_vec())),
            [b'e'] => Some(Self::Eof),
            [b's', a, b, c, d] => {
                Some(Self::Resize(Size { rows: u16::from_le_bytes([*a, *b]), cols: u16::from_le_bytes([*c, *d]) }))
            }
            [b'k', number @ ..] => Some(Self::Signal(i32::from_le_bytes(number.try_into().ok()?))),
            [b'd'] => Some(Self::Detach),
            _ => None,
        }
    }
}

impl Answer {
    /// The packet.
    pub(crate) fn encode(&self) -> Vec<u8> {
        match self {
            Self::Output(Stream::Stdout, bytes) => packet(b'o', bytes),
            Self::Output(Stream::Stderr, bytes) => packet(b'r', bytes),
            Self::Missed(count) => packet(b'm', &count.to_le_bytes()),
            Self::Ended(code) => vec![b'x', *code],
        }
    }

    /// The message in `packet`, if it is one.
    pub(crate) fn decode(packet: &[u8]) -> Option<Self> {
        match packet {
            [b'o', bytes @ ..] => Some(Self::Output(Stream::Stdout, bytes.to_vec())),
            [b'r', bytes @ ..] => Some(Self::Output(Stream::Stderr, bytes.to_vec())),
            [b'm', count @ ..] => Some(Self::Missed(u64::from_le_bytes(count.try_into().ok()?))),
            [b'x', code] => Some(Self::Ended(*code)),
            _ => None,
        }
    }

    /// How much room it takes in a queue.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Output(_, bytes) => bytes.len(),
            _ => 1,
        }
    }
}

fn packet(tag: u8, bytes: &[u8]) -> Vec<u8> {
    [&[tag], bytes].concat()
}

/// Listens in the directory `dir`. What an earlier run has left there is replaced.
pub(super) fn serve(dir: &Path) -> Result<OwnedFd> {
    let path = dir.join(NAME);
    let _ = std::fs::remove_file(&path);
    let made = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = new(made).context(|| "make a socket")?;
    with_address(dir, |address| bind(socket.as_raw_fd(), address)).context(|| format!("bind {}", path.display()))?;
    let backlog = Backlog::new(16).context(|| "listen")?;
    listen(&socket, backlog).context(|| format!("listen on {}", path.display()))?;
    Ok(socket)
}

/// Connects to whoever attends the container whose directory is `dir`.
pub(super) fn call(dir: &Path) -> nix::Result<OwnedFd> {
    let socket = new(SockFlag::SOCK_CLOEXEC)?;
    with_address(dir, |address| connect(socket.as_raw_fd(), address))?;
    Ok(socket)
}

const NAME: &str = "attach";

fn new(flags: SockFlag) -> nix::Result<OwnedFd> {
    socket(AddressFamily::Unix, SockType::SeqPacket, flags, None)
}

/// The address goes by a descriptor of the directory: its path may be longer than an address can be.
fn with_address<T>(dir: &Path, job: impl FnOnce(&UnixAddr) -> nix::Result<T>) -> nix::Result<T> {
    let dir = open(dir, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
    job(&UnixAddr::new(format!("/proc/self/fd/{}/{NAME}", dir.as_raw_fd()).as_str())?)
}

/// Whether the one at the other end is root, or who we are.
pub(super) fn trusted(socket: BorrowedFd<'_>) -> bool {
    let peer = getsockopt(&socket, sockopt::PeerCredentials);
    peer.is_ok_and(|peer| peer.uid() == 0 || peer.uid() == geteuid().as_raw())
}

/// Sends one packet without waiting.
pub(super) fn post(socket: BorrowedFd<'_>, packet: &[u8]) -> nix::Result<()> {
    send(socket.as_raw_fd(), packet, MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT).map(drop)
}

/// The next packet that is there; empty when the other end is closed.
pub(super) fn take(socket: BorrowedFd<'_>) -> nix::Result<Vec<u8>> {
    let mut buffer = vec![0; LARGEST + 1];
    let length = loop {
        match recv(socket.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT) {
            // A reset is told once: the other end was closed before it had read all. What it had said is still here.
            Err(Errno::EINTR | Errno::ECONNRESET) => {}
            answer => break answer?,
        }
    };
    buffer.truncate(length);
    Ok(buffer)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn messages_read_back_as_sent_and_nonsense_is_none() {
        let requests = [
            Request::Hello { stdin: true, stdout: false, stderr: true },
            Request::Input(b"ls\n".to_vec()),
            Request::Eof,
            Request::Resize(Size { rows: 24, cols: 300 }),
            Request::Signal(40),
            Request::Detach,
        ];
        for request in requests {
            assert_eq!(Request::decode(&request.encode()), Some(request));
        }
        let answers = [
            Answer::Output(Stream::Stdout, b"x".to_vec()),
            Answer::Output(Stream::Stderr, vec![]),
            Answer::Missed(1 << 40),
            Answer::Ended(137),
        ];
        for answer in answers {
            assert_eq!(Answer::decode(&answer.encode()), Some(answer));
        }
        for nonsense in [&b""[..], b"h", b"s12", b"z", b"m12", b"k1"] {
            assert_eq!((Request::decode(nonsense), Answer::decode(nonsense)), (None, None));
        }
    }

    #[test]
    fn last_words_are_heard_although_the_other_end_did_not_listen() {
        let flags = SockFlag::SOCK_CLOEXEC;
        let (ours, theirs) =
            nix::sys::socket::socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags).unwrap();
        post(ours.as_fd(), &Request::Eof.encode()).unwrap();
        post(theirs.as_fd(), &Answer::Ended(7).encode()).unwrap();
        drop(theirs);
        assert_eq!(Answer::decode(&take(ours.as_fd()).unwrap()), Some(Answer::Ended(7)));
        assert!(take(ours.as_fd()).unwrap().is_empty());
    }

    /// Requirement: P-20.
    #[test]
    fn damaged_packets_are_nonsense_or_messages() {
        let good: [&[u8]; 5] = [b"h\x05", b"ils\n", b"s\x18\0\x2c\x01", b"k\x28\0\0\0", b"m\0\0\0\0\0\x01\0\0"];
        crate::mutation::each(&good, &[b"e", b"d", b"x\0"], 20_000, |packet| {
            if let Some(request) = Request::decode(packet) {
                assert_eq!(Request::decode(&request.encode()), Some(request));
            }
            if let Some(answer) = Answer::decode(packet) {
                assert_eq!(Answer::decode(&answer.encode()), Some(answer));
            }
        });
    }
}
