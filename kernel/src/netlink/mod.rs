//! A synchronous netlink socket for processes that live for milliseconds.
//!
//! One [`Socket::exchange`] is one `sendmsg` with any number of requests. The kernel works through them in order and
//! does not stop at a refusal, so every request gets an outcome of its own; what to do about the ones after a refusal
//! is the caller's business. A [`Socket::dump`] asks again when the kernel says that the list changed while it was
//! being read (`NLM_F_DUMP_INTR`, `Documentation/userspace-api/netlink/intro.rst`).
//!
//! The socket asks for extended ACKs, so a refusal carries the kernel's own sentence where it has one; for capped ACKs,
//! so that an answer does not repeat the request; and, on rtnetlink, for strict checking, so that a filter which the
//! kernel does not know is an error instead of a silent dump of everything.

pub(crate) mod attribute;
pub(crate) mod frame;
mod monitor;
pub(crate) mod rtnl;

use std::io;
use std::os::fd::{AsRawFd, RawFd};

use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket as RawSocket, SocketAddr};
use nix::errno::Errno;

pub use frame::{Frame, Refusal};
pub use monitor::{IPV6_ADDRESSES, IPV6_ROUTES, LINKS, Monitor};

use frame::{Frames, Kind};

/// `NLM_F_REQUEST | NLM_F_ACK`: what every request carries.
const REQUEST: u16 = 0x1 | 0x4;
/// `NLM_F_DUMP`, that is `NLM_F_ROOT | NLM_F_MATCH`.
const DUMP: u16 = 0x300;
/// The kernel fills dump messages up to 32 KiB when the reader's buffer allows it (`netlink_recvmsg`).
const RECEIVE_BUFFER: usize = 64 * 1024;
/// How many requests go out in one message. The answers to all of them wait in the socket before the first can be read,
/// and some 280 fill it (`net.core.rmem_default`).
const AT_ONCE: usize = 64;
/// How often an interrupted dump is asked for again before its last answer is taken as it is.
const DUMP_ATTEMPTS: usize = 10;

/// One request, before it has a header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// `RTM_*`, or the subsystem and type of nfnetlink.
    pub kind: u16,
    /// `NLM_F_*` beyond `NLM_F_REQUEST` and `NLM_F_ACK`, which are always set.
    pub flags: u16,
    /// The family header and the attributes.
    pub payload: Vec<u8>,
}

/// Why a conversation with the kernel failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The socket itself failed.
    #[error("netlink: {0}")]
    Io(#[from] io::Error),
    /// The kernel refused the request.
    #[error("{0}")]
    Refused(#[from] Refusal),
    /// The kernel's answer could not be understood.
    #[error("netlink: malformed answer: {0}")]
    Malformed(String),
}

impl Error {
    /// The error number of a refusal.
    #[must_use]
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Self::Refused(refusal) => Some(refusal.errno),
            Self::Io(_) | Self::Malformed(_) => None,
        }
    }

    /// Whether the kernel says that the object is not there (`ENODEV`, `ENOENT`, `ESRCH`, `EADDRNOTAVAIL`).
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self.errno(), Some(Errno::ENODEV | Errno::ENOENT | Errno::ESRCH | Errno::EADDRNOTAVAIL))
    }

    /// Whether the kernel says that the object is there already.
    #[must_use]
    pub fn is_exists(&self) -> bool {
        self.errno() == Some(Errno::EEXIST)
    }
}

/// What came of one request: the messages that answer it, or the refusal.
pub type Outcome = Result<Vec<Frame>, Refusal>;

/// A netlink socket. It talks to the network namespace in which it was opened, wherever its user goes later.
#[derive(Debug)]
pub struct Socket {
    inner: RawSocket,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Socket {
    /// Opens a socket of `protocol` (`NETLINK_ROUTE`, `NETLINK_NETFILTER`) in the calling thread's network namespace.
    ///
    /// # Errors
    ///
    /// Whatever `socket(2)`, `bind(2)` or `setsockopt(2)` answer.
    pub fn open(protocol: isize) -> io::Result<Self> {
        let mut inner = RawSocket::new(protocol)?;
        inner.bind_auto()?;
        inner.connect(&SocketAddr::new(0, 0))?;
        inner.set_ext_ack(true)?;
        inner.set_cap_ack(true)?;
        if protocol == NETLINK_ROUTE {
            inner.set_netlink_get_strict_chk(true)?;
        }
        // Not zeroed: of a page that the kernel does not write to, there need not be one.
        Ok(Self { inner, sequence: 0, buffer: Vec::with_capacity(RECEIVE_BUFFER) })
    }

    /// Sends all `requests` in one message, or several if they are very many, and returns their outcomes in the same
    /// order.
    ///
    /// # Errors
    ///
    /// Only when the socket fails or an answer can't be read; refusals are outcomes.
    pub fn exchange(&mut self, requests: &[Request]) -> Result<Vec<Outcome>, Error> {
        let mut outcomes = Vec::with_capacity(requests.len());
        for some in requests.chunks(AT_ONCE) {
            outcomes.extend(self.exchange_some(some)?);
        }
        Ok(outcomes)
    }

    fn exchange_some(&mut self, requests: &[Request]) -> Result<Vec<Outcome>, Error> {
        let first = self.send(requests, REQUEST)?;
        let mut answers: Vec<Vec<Frame>> = requests.iter().map(|_| Vec::new()).collect();
        let mut outcomes: Vec<Option<Outcome>> = requests.iter().map(|_| None).collect();
        let mut open = requests.len();
        while open > 0 {
            for frame in self.receive()? {
                let frame = frame?;
                let at = frame.sequence().wrapping_sub(first) as usize;
                let (Some(answer), Some(outcome)) = (answers.get_mut(at), outcomes.get_mut(at)) else {
                    continue; // an answer to an earlier, abandoned request
                };
                match frame.kind()? {
                    Kind::Acknowledged if outcome.is_none() => {
                        *outcome = Some(Ok(std::mem::take(answer)));
                        open -= 1;
                    }
                    Kind::Refused(refusal) if outcome.is_none() => {
                        *outcome = Some(Err(refusal));
                        open -= 1;
                    }
                    Kind::Data => answer.push(frame),
                    Kind::Acknowledged | Kind::Refused(_) | Kind::Done | Kind::Noop => {}
                }
            }
        }
        Ok(outcomes.into_iter().flatten().collect())
    }

    /// Sends one request and returns the messages that answer it.
    ///
    /// # Errors
    ///
    /// As [`Socket::exchange`], and the refusal of the request.
    pub fn request(&mut self, request: Request) -> Result<Vec<Frame>, Error> {
        let outcome = self.exchange(&[request])?.pop().unwrap_or(Ok(Vec::new()));
        Ok(outcome?)
    }

    /// Asks for a list, again when it changed while it was being read.
    ///
    /// After ten attempts the last answer counts: on a machine where links come and go without pause an inconsistent
    /// list is better than none.
    ///
    /// # Errors
    ///
    /// As [`Socket::request`].
    pub fn dump(&mut self, request: &Request) -> Result<Vec<Frame>, Error> {
        let mut frames = Vec::new();
        for _ in 0..DUMP_ATTEMPTS {
            let (found, interrupted) = self.dump_once(request)?;
            frames = found;
            if !interrupted {
                break;
            }
        }
        Ok(frames)
    }

    fn dump_once(&mut self, request: &Request) -> Result<(Vec<Frame>, bool), Error> {
        let sequence = self.send(std::slice::from_ref(request), REQUEST | DUMP)?;
        let mut frames = Vec::new();
        let mut interrupted = false;
        loop {
            for frame in self.receive()? {
                let frame = frame?;
                if frame.sequence() != sequence {
                    continue;
                }
                interrupted |= frame.is_interrupted();
                match frame.kind()? {
                    Kind::Data => frames.push(frame),
                    Kind::Refused(refusal) if refusal.errno == Errno::EINTR => interrupted = true,
                    Kind::Refused(refusal) => return Err(refusal.into()),
                    Kind::Done | Kind::Acknowledged => return Ok((frames, interrupted)),
                    Kind::Noop => {}
                }
            }
        }
    }

    /// Sends `requests` with consecutive sequence numbers and returns the first of them.
    fn send(&mut self, requests: &[Request], flags: u16) -> Result<u32, Error> {
        let first = self.sequence.wrapping_add(1);
        let mut message = Vec::new();
        for request in requests {
            self.sequence = self.sequence.wrapping_add(1);
            frame::push(&mut message, request, flags, self.sequence);
        }
        self.inner.send(&message, 0)?;
        Ok(first)
    }

    fn receive(&mut self) -> Result<Frames, Error> {
        loop {
            self.buffer.clear();
            match self.inner.recv(&mut self.buffer, 0) {
                Ok(_) => return Ok(Frames::new(self.buffer.clone())),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> RawFd {
        self.inner.as_raw_fd()
    }
}
