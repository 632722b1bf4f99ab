//! The time to set up a TCP connection through a port mapping: from a remote machine, through the host, to the container.
//!
//! That is the kernel's work on the first packet, which looks for its mapping; the packets after it follow the
//! connection's record. Client and server are threads of this program, so that nothing but the connection is timed.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use harness::{Netns, Node, Suite};

use crate::case::pair;
use crate::host::{Container, Host, Member, Quantity};
use crate::mappings;
use crate::measurement::Measurement;
use crate::row::{Row, Section};
use crate::settle::settle;
use crate::side::Side;

/// Connections for each pair of calls that other cases make; one takes a tenth of a millisecond.
const TIMES: usize = 10;

/// A SYN that has to be repeated, after a second, is a failure.
const PATIENCE: Duration = Duration::from_millis(900);

const PORT: u16 = 8000;

pub(crate) struct Connections {
    pub(crate) name: &'static str,
    /// What publishes TCP port 80 of the container.
    pub(crate) chain: Vec<Member>,
    pub(crate) sides: [Side; 2],
    pub(crate) goal: Option<f64>,
}

impl Connections {
    fn play(&self, node: &Node, pairs: usize, rows: &mut Vec<Row>) -> Result<(), String> {
        settle(node);
        let lines = self.sides.each_ref().map(|side| Line::lay(node, side));
        lines.iter().try_for_each(|line| line.publish(&self.chain))?;
        let listeners = lines.each_ref().map(Line::listen);
        let connect = |number: usize| pair(number, |side| lines[side].connect(&listeners[side]));
        // The first ones resolve neighbours.
        connect(0)?;
        let times: Result<Vec<_>, _> = (0..pairs * TIMES).map(connect).collect();
        let is_of_one_suite = self.suites() == [Suite::Ours; 2];
        let section = if is_of_one_suite { Section::Growth } else { Section::Time };
        rows.push(Row { section, name: self.name.to_owned(), pairs: times?, goal: self.goal });
        Ok(())
    }
}

impl Measurement for Connections {
    fn name(&self) -> &'static str {
        self.name
    }

    fn suites(&self) -> [Suite; 2] {
        self.sides.each_ref().map(|side| side.suite)
    }

    fn measure(&self, pairs: usize, rows: &mut Vec<Row>) -> Result<(), String> {
        Node::run_messy(|node| self.play(node, pairs, rows))
    }
}

/// A host, the container on it, and the remote machine at its other end.
struct Line<'a> {
    host: Host<'a>,
    container: Netns,
    remote: Netns,
}

impl<'a> Line<'a> {
    fn lay(node: &Node, side: &'a Side) -> Self {
        let host = Host::boot(node, side);
        let container = node.netns(side.name);
        let remote = node.netns(&format!("remote-{}", side.name));
        host.netns.sh(&format!(
            "ip link add uplink type veth peer name eth0 netns {}
            ip link set uplink up
            ip address add 192.0.2.1/24 dev uplink",
            remote.name()
        ));
        remote.sh("ip link set eth0 up; ip address add 192.0.2.2/24 dev eth0");
        Self { host, container, remote }
    }

    fn publish(&self, chain: &[Member]) -> Result<(), String> {
        let container = Container { netns: &self.container, port: PORT };
        self.host.add(chain, container, Quantity::Time)?;
        mappings::populate(&self.host, &self.container)
    }

    fn listen(&self) -> TcpListener {
        self.container.enter(|| TcpListener::bind("0.0.0.0:80")).expect("listen in a fresh namespace")
    }

    /// Milliseconds of one connection.
    fn connect(&self, listener: &TcpListener) -> Result<f64, String> {
        let address = SocketAddr::from(([192, 0, 2, 1], PORT));
        let connect = || {
            let start = Instant::now();
            let client = TcpStream::connect_timeout(&address, PATIENCE);
            client.map(|client| (client, start.elapsed()))
        };
        let connected = self.remote.enter(connect).map_err(|error| format!("connect to {address}: {error}"))?;
        listener.accept().map_err(|error| format!("accept: {error}"))?;
        Ok(connected.1.as_secs_f64() * 1e3)
    }
}
