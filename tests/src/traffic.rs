//! What goes over the wire between namespaces.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::netns::Netns;

/// How long a connection may take. Addresses are usable as soon as ADD has answered, so a SYN that needs its first
/// repetition after a second is late already.
const PATIENCE: Duration = Duration::from_millis(900);

/// The addresses that an answer of ADD gives, without their prefixes.
///
/// # Panics
/// When the answer has none.
#[must_use]
pub fn addresses(result: &Value) -> Vec<IpAddr> {
    let ips = result["ips"].as_array().unwrap_or_else(|| panic!("no ips in {result}"));
    let texts = ips.iter().map(|ip| ip["address"].as_str().expect("an address is a string"));
    texts.map(|text| text.split('/').next().unwrap_or_default().parse().expect("an address")).collect()
}

/// A TCP server in a namespace.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
}

impl Server {
    /// Listens on an address of the namespace.
    #[must_use]
    pub fn listen(netns: &Netns, address: IpAddr) -> Self {
        let bind = || TcpListener::bind((address, 0));
        Self { listener: netns.enter(bind).unwrap_or_else(|error| panic!("listen on {address}: {error}")) }
    }

    /// Listens on all addresses of the calling thread's namespace.
    ///
    /// # Panics
    /// When it can not.
    #[must_use]
    pub fn anywhere() -> Self {
        Self { listener: TcpListener::bind(("::", 0)).expect("listen") }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.listener.local_addr().expect("a listener has an address")
    }

    /// A client in another namespace says something and hears it back. Returns the client's address as the server saw
    /// it.
    #[must_use]
    pub fn serve(&self, from: &Netns) -> IpAddr {
        self.serve_at(self.address().ip(), from)
    }

    /// The same when the client calls a certain address.
    #[must_use]
    pub fn serve_at(&self, address: IpAddr, from: &Netns) -> IpAddr {
        let address = SocketAddr::new(address, self.address().port());
        let connect = || TcpStream::connect_timeout(&address, PATIENCE);
        let mut client = from.enter(connect).unwrap_or_else(|error| panic!("connect to {address}: {error}"));
        let (mut server, peer) = self.listener.accept().expect("a client that is connected can be accepted");
        client.write_all(b"ping").expect("write");
        let mut heard = [0; 4];
        server.read_exact(&mut heard).expect("read");
        server.write_all(&heard).expect("write");
        client.read_exact(&mut heard).expect("read");
        assert_eq!(&heard, b"ping");
        peer.ip()
    }
}

/// `tcpdump` in a namespace, waiting for one packet.
#[derive(Debug)]
pub struct Tcpdump {
    process: Child,
    packets: BufReader<ChildStdout>,
}

impl Tcpdump {
    /// Starts it and waits until it listens on `eth0`.
    #[must_use]
    pub fn start(netns: &Netns, filter: &str) -> Self {
        Self::start_on("eth0", netns, filter)
    }

    /// The same on another interface.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start_on(interface: &str, netns: &Netns, filter: &str) -> Self {
        let mut command = Command::new("tcpdump");
        command.args(["-Z", "root", "-i", interface, "-l", "-n", "-t", "-c", "1", "--immediate-mode", filter]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = netns.enter(|| command.spawn()).expect("start tcpdump");
        let mut log = BufReader::new(process.stderr.take().expect("stderr is a pipe")).lines();
        let ready = log.any(|line| line.expect("tcpdump logs text").contains("listening on"));
        assert!(ready, "tcpdump has not started");
        let packets = BufReader::new(process.stdout.take().expect("stdout is a pipe"));
        Self { process, packets }
    }

    /// Its line about the packet, such as `IP 192.0.2.1.44722 > 192.0.2.2.80: Flags [S], ...`.
    #[must_use]
    pub fn line(mut self) -> String {
        let mut line = String::new();
        self.packets.read_line(&mut line).expect("tcpdump prints text");
        self.process.wait().expect("wait for tcpdump");
        line
    }
}
