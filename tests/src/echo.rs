//! A service that tells its clients who they are, over every transport that a port can be mapped for.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use socket2::{Domain, Socket};

use crate::netns::Netns;
use crate::sctp;

/// How long an answer may take; see [`Server`](crate::Server).
const PATIENCE: Duration = Duration::from_millis(900);

/// A protocol with ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// A connection.
    Tcp,
    /// Datagrams.
    Udp,
    /// The first packet of an association and its answer.
    Sctp,
}

impl Transport {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Tcp, Self::Udp, Self::Sctp];

    /// Its name in configurations.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        }
    }

    /// A client in the calling thread's namespace says something and is told who it is.
    ///
    /// # Errors
    /// When nobody answers, or not in time.
    pub fn ask(self, to: SocketAddr) -> io::Result<IpAddr> {
        match self {
            Self::Tcp => ask_by_tcp(to),
            Self::Udp => ask_by_udp(to),
            Self::Sctp => sctp::ask(to, PATIENCE),
        }
    }
}

fn ask_by_tcp(to: SocketAddr) -> io::Result<IpAddr> {
    let mut stream = TcpStream::connect_timeout(&to, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"who am I?\n")?;
    let mut told = String::new();
    stream.read_to_string(&mut told)?;
    address(&told)
}

fn ask_by_udp(to: SocketAddr) -> io::Result<IpAddr> {
    let any = if to.is_ipv4() { IpAddr::from(Ipv4Addr::UNSPECIFIED) } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.connect(to)?;
    socket.send(b"who am I?\n")?;
    let mut told = [0; 64];
    let length = socket.recv(&mut told)?;
    address(&String::from_utf8_lossy(&told[..length]))
}

fn address(told: &str) -> io::Result<IpAddr> {
    told.parse().map_err(|_| io::Error::new(ErrorKind::InvalidData, format!("no address: {told:?}")))
}

/// The service, on one port of all addresses of a namespace, until it is dropped.
#[derive(Debug)]
pub struct Echo {
    stop: Option<UnixStream>,
    thread: Option<JoinHandle<()>>,
}

impl Echo {
    /// Starts it; clients are served from now on.
    ///
    /// # Panics
    /// When it can not have the port.
    #[must_use]
    pub fn start(netns: &Netns, port: u16) -> Self {
        let (stop, stopped) = UnixStream::pair().expect("a pair of sockets");
        let sockets = netns.enter(|| Sockets::open(port)).unwrap_or_else(|error| panic!("listen on {port}: {error}"));
        let thread = thread::spawn(move || sockets.serve(&stopped));
        Self { stop: Some(stop), thread: Some(thread) }
    }
}

/// Its sockets would keep the namespace alive.
impl Drop for Echo {
    fn drop(&mut self) {
        self.stop.take();
        let served = self.thread.take().map(JoinHandle::join);
        assert!(thread::panicking() || matches!(served, Some(Ok(()))), "the service has failed");
    }
}

struct Sockets {
    port: u16,
    tcp: TcpListener,
    udp: UdpSocket,
    sctp: [(Domain, Socket); 2],
}

impl Sockets {
    fn open(port: u16) -> io::Result<Self> {
        let sctp = [(Domain::IPV4, sctp::socket(Domain::IPV4)?), (Domain::IPV6, sctp::socket(Domain::IPV6)?)];
        Ok(Self { port, tcp: TcpListener::bind(("::", port))?, udp: UdpSocket::bind(("::", port))?, sctp })
    }

    fn serve(&self, stopped: &UnixStream) {
        let fds = [stopped.as_fd(), self.tcp.as_fd(), self.udp.as_fd(), self.sctp[0].1.as_fd(), self.sctp[1].1.as_fd()];
        while let [false, tcp, udp, sctp_4, sctp_6] = ready(fds) {
            // A client that goes away before it is answered is no concern of the others.
            let _ = if tcp { self.answer_by_tcp() } else { Ok(()) };
            let _ = if udp { self.answer_by_udp() } else { Ok(()) };
            for (is_ready, (domain, socket)) in [sctp_4, sctp_6].into_iter().zip(&self.sctp) {
                let _ = if is_ready { sctp::answer(socket, *domain, self.port) } else { Ok(()) };
            }
        }
    }

    fn answer_by_tcp(&self) -> io::Result<()> {
        let (mut stream, from) = self.tcp.accept()?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let _ = stream.read(&mut [0; 64])?;
        stream.write_all(from.ip().to_canonical().to_string().as_bytes())
    }

    fn answer_by_udp(&self) -> io::Result<()> {
        let (_, from) = self.udp.recv_from(&mut [0; 64])?;
        self.udp.send_to(from.ip().to_canonical().to_string().as_bytes(), from).map(drop)
    }
}

fn ready(fds: [BorrowedFd<'_>; 5]) -> [bool; 5] {
    let mut polled = fds.map(|fd| PollFd::new(fd, PollFlags::POLLIN));
    let _ = poll(&mut polled, PollTimeout::NONE);
    polled.map(|fd| fd.any().unwrap_or_default())
}
