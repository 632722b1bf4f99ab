//! Published ports seen from everywhere.

use std::io;
use std::net::{IpAddr, SocketAddr};

use crate::echo::Transport;
use crate::netns::Netns;

/// Asserts that the container with an [`Echo`](crate::Echo) behind a port of the host is reached by all transports and
/// by both addresses that [`Node::remote`](crate::Node::remote) has given to the host: from the remote host, which is
/// seen as it is, from a neighbour, from the container itself, and from the host, there by 127.0.0.1 as well.
///
/// # Panics
/// When it is not.
pub fn assert_reached_by_all(remote: &Netns, neighbour: &Netns, container: &Netns, port: u16) {
    for transport in Transport::ALL {
        let ask = |host: &str| transport.ask(SocketAddr::new(host.parse().expect("an address"), port));
        let told = |who: &str, host: &str, told: io::Result<IpAddr>| {
            told.unwrap_or_else(|error| panic!("{who} by {transport:?} to {host}: {error}")).to_string()
        };
        for (host, client) in [("192.0.2.1", "192.0.2.2"), ("2001:db8::1", "2001:db8::2")] {
            let seen = told("outside", host, remote.enter(|| ask(host)));
            assert_eq!(seen, client, "the container does not see who calls");
            told("the neighbour", host, neighbour.enter(|| ask(host)));
            told("the container itself", host, container.enter(|| ask(host)));
            told("the host", host, ask(host));
        }
        told("the host", "127.0.0.1", ask("127.0.0.1"));
    }
}
