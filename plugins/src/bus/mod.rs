//! A client of the system bus that is as small as its purpose: a few calls in a row, each of which waits for its answer,
//! and now and then for a signal that tells how it went.
//!
//! Of `zbus` only the wire format is used. The rest of it, connections and a runtime to drive them, would add 440 KB to
//! a static binary, and a plugin has nothing else to do while it waits (`docs/plugins/firewall.md` has the figures). So
//! the socket is ours and blocks, and nothing here waits longer than it was told to: neither for a place in the queue of
//! a bus that does not accept, nor for an answer that comes byte by byte.
//!
//! Logging in takes no round trip of its own. `EXTERNAL` without an identity has the bus take it from the socket, so all
//! that is said first (`AUTH`, `DATA`, `BEGIN`, `Hello`) goes out at once.

mod address;
mod message;

use std::ffi::OsStr;
use std::fmt;
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, setsockopt, socket, sockopt};
use nix::sys::time::{TimeVal, TimeValLike};
use serde::Serialize;
use serde::de::DeserializeOwned;
use zbus::Type;

use address::Address;
pub use message::{Answer, Method};
use message::{Body, Incoming};
pub use zbus::{OwnedObjectPath, Variant};

/// The bus itself, which answers at once.
const BUS: Method = Method {
    destination: "org.freedesktop.DBus",
    path: "/org/freedesktop/DBus",
    interface: "org.freedesktop.DBus",
    member: "",
    may_start: false,
};
/// How long the bus itself may take to answer.
const BUS_PATIENCE: Duration = Duration::from_secs(2);
/// What introduces a client: no identity but that of the socket.
const LOGIN: &[u8] = b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n";

/// A connection to the system bus.
#[derive(Debug)]
pub struct Bus {
    stream: UnixStream,
    /// The number of the last message that was sent.
    serial: u32,
    /// What was received and not looked at yet.
    received: Vec<u8>,
    /// Messages that came before the answer that was waited for.
    heard: Vec<Incoming>,
}

/// Why the bus could not be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// Nobody listens.
    Absent(String),
    /// Somebody does, but says nothing in time.
    Silent,
    /// The conversation broke off, or is none.
    Broken(String),
    /// The answer is an error.
    Refused {
        /// Its name.
        name: String,
        /// What it says.
        text: String,
    },
}

impl Bus {
    /// Connects to the system bus; `address` is where the environment says that it is.
    ///
    /// # Errors
    ///
    /// [`Error::Absent`] when there is none, or why it can't be used.
    pub fn system(address: Option<&OsStr>) -> Result<Self, Error> {
        let deadline = Instant::now() + BUS_PATIENCE;
        let mut refusals = Vec::new();
        for address in Address::list(address) {
            match open(&address) {
                Ok(stream) => return Self::log_in(stream, deadline),
                Err(Errno::EAGAIN) => return Err(Error::Silent),
                Err(error) => refusals.push(format!("{address}: {}", kernel::sentence(error))),
            }
        }
        if refusals.is_empty() {
            refusals.push("its address is not that of a unix socket".to_owned());
        }
        Err(Error::Absent(refusals.join(", ")))
    }

    fn log_in(stream: UnixStream, deadline: Instant) -> Result<Self, Error> {
        let mut bus = Self { stream, serial: 0, received: Vec::new(), heard: Vec::new() };
        let hello = Method { member: "Hello", ..BUS };
        let mut beginning = LOGIN.to_vec();
        beginning.extend(bus.encode(&hello, &Body::default())?);
        bus.send(&beginning, deadline)?;
        loop {
            match bus.line(deadline)?.as_str() {
                "DATA" => {}
                line if line.starts_with("OK ") => break,
                line => return Err(Error::Broken(format!("the bus does not let us in: {line}"))),
            }
        }
        bus.answer(deadline)?;
        Ok(bus)
    }

    /// Whether somebody goes by this name.
    ///
    /// # Errors
    ///
    /// When the bus does not say.
    pub fn has_owner(&mut self, name: &str) -> Result<bool, Error> {
        let answer = self.call(&Method { member: "NameHasOwner", ..BUS }, &[name], BUS_PATIENCE)?;
        Ok(answer == Answer::Bool(true))
    }

    /// Calls a method with text arguments and waits for its answer.
    ///
    /// # Errors
    ///
    /// The refusal, or why there is no answer.
    pub fn call(&mut self, method: &Method, arguments: &[&str], patience: Duration) -> Result<Answer, Error> {
        self.exchange(method, &Body::texts(arguments)?, patience)
    }

    /// Calls a method with the members of a tuple as its arguments and waits for its answer.
    ///
    /// # Errors
    ///
    /// The refusal, or why there is no answer.
    pub fn ask<A: Serialize + Type>(
        &mut self,
        method: &Method,
        arguments: &A,
        patience: Duration,
    ) -> Result<Answer, Error> {
        self.exchange(method, &Body::members(arguments)?, patience)
    }

    /// Has the bus pass on the signals that fit `rule`, as the specification writes such rules.
    ///
    /// # Errors
    ///
    /// When the bus refuses.
    pub fn listen(&mut self, rule: &str) -> Result<(), Error> {
        self.call(&Method { member: "AddMatch", ..BUS }, &[rule], BUS_PATIENCE).map(drop)
    }

    /// Waits for a signal called `member` of which `read` can make something. Those that came since the last answer count.
    ///
    /// # Errors
    ///
    /// When none comes in time.
    pub fn hear<T, S: DeserializeOwned + Type>(
        &mut self,
        member: &str,
        patience: Duration,
        read: impl Fn(S) -> Option<T>,
    ) -> Result<T, Error> {
        let deadline = Instant::now() + patience;
        let mut heard = std::mem::take(&mut self.heard).into_iter();
        loop {
            let message = match heard.next() {
                Some(message) => message,
                None => self.message(deadline)?,
            };
            if message.is_signal(member)
                && let Some(found) = message.read().and_then(&read)
            {
                return Ok(found);
            }
        }
    }

    fn exchange(&mut self, method: &Method, body: &Body, patience: Duration) -> Result<Answer, Error> {
        let deadline = Instant::now() + patience;
        let bytes = self.encode(method, body)?;
        self.send(&bytes, deadline)?;
        self.answer(deadline)
    }

    fn encode(&mut self, method: &Method, body: &Body) -> Result<Vec<u8>, Error> {
        self.serial += 1;
        Ok(message::call(method, self.serial, body)?)
    }

    fn send(&mut self, bytes: &[u8], deadline: Instant) -> Result<(), Error> {
        self.stream.set_write_timeout(Some(remaining(deadline)?))?;
        Ok(self.stream.write_all(bytes)?)
    }

    /// The answer to the last message. Others come in between: whoever is new is told its name.
    fn answer(&mut self, deadline: Instant) -> Result<Answer, Error> {
        self.heard.clear();
        loop {
            let message = self.message(deadline)?;
            if message.reply_to == Some(self.serial) {
                return message.answer().map_err(|(name, text)| Error::Refused { name, text });
            }
            self.heard.push(message);
        }
    }

    fn message(&mut self, deadline: Instant) -> Result<Incoming, Error> {
        loop {
            match message::length(&self.received).map_err(Error::Broken)? {
                Some(length) if self.received.len() >= length => {
                    let rest = self.received.split_off(length);
                    let bytes = std::mem::replace(&mut self.received, rest);
                    return Incoming::parse(bytes).map_err(Error::Broken);
                }
                _ => self.receive(deadline)?,
            }
        }
    }

    /// A line of the login.
    fn line(&mut self, deadline: Instant) -> Result<String, Error> {
        /// The specification's limit.
        const LONGEST: usize = 16 << 10;
        loop {
            if let Some(end) = self.received.windows(2).position(|end| end == b"\r\n") {
                let line = self.received.drain(..end + 2).take(end).collect::<Vec<u8>>();
                return Ok(String::from_utf8_lossy(&line).into_owned());
            }
            if self.received.len() > LONGEST {
                return Err(Error::Broken("this is no bus".to_owned()));
            }
            self.receive(deadline)?;
        }
    }

    fn receive(&mut self, deadline: Instant) -> Result<(), Error> {
        let mut buffer = [0; 4096];
        self.stream.set_read_timeout(Some(remaining(deadline)?))?;
        match self.stream.read(&mut buffer) {
            Ok(0) => Err(Error::Broken("the bus has hung up".to_owned())),
            Ok(length) => {
                self.received.extend_from_slice(&buffer[..length]);
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// How long there is still to wait. A zero would mean for ever.
fn remaining(deadline: Instant) -> Result<Duration, Error> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(Error::Silent) } else { Ok(left) }
}

/// Connects a socket. One whose queue is full keeps us waiting as long as a send may take.
fn open(address: &Address) -> nix::Result<UnixStream> {
    let address = match address {
        Address::Path(path) => UnixAddr::new(path)?,
        Address::Abstract(name) => UnixAddr::new_abstract(name)?,
    };
    let socket = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    let patience = TimeVal::milliseconds(i64::try_from(BUS_PATIENCE.as_millis()).unwrap_or(i64::MAX));
    setsockopt(&socket, sockopt::SendTimeout, &patience)?;
    connect(socket.as_raw_fd(), &address)?;
    Ok(socket.into())
}

impl From<zbus::Error> for Error {
    fn from(error: zbus::Error) -> Self {
        Self::Broken(error.to_string())
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Self::Silent,
            _ => Self::Broken(error.to_string()),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent(why) => write!(f, "there is no system bus ({why})"),
            Self::Silent => f.write_str("no answer on the system bus in time"),
            Self::Broken(why) => write!(f, "the system bus can't be used: {why}"),
            Self::Refused { name, text } if text.is_empty() => f.write_str(name),
            Self::Refused { text, .. } => f.write_str(text),
        }
    }
}
