//! The chain of a node: bridge with masquerade, portmap, firewall, bandwidth, tuning. Published ports are reached from
//! everywhere, and whatever happens, nothing is left after DEL.

use std::net::SocketAddr;
use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use harness::{
    Answer, Echo, Netns, Network, Node, Suite, Transport, addresses, assert_reached_by_all, chain, published,
};

/// Where the container listens, and under which port of the host it is known.
const INSIDE: u16 = 7000;
const OUTSIDE: u16 = 8080;

fn network(backend: &str) -> Network {
    Network::new(&chain("net", backend)).asked(published(OUTSIDE, INSIDE))
}

fn goes_up_and_down(backend: &str) {
    Node::run(|node| {
        let (remote, container, neighbour) = (node.remote(), node.netns("c1"), node.netns("c2"));
        let network = network(backend);
        let next_door = network.clone().asked(published(OUTSIDE + 1, INSIDE));
        next_door.add(&neighbour).ok();
        let before = node.state();
        assert_eq!(addresses(&network.add(&container).ok()).len(), 2);
        // The Go suite's CHECK looks for rules of one family in the other.
        if !Suite::are_same() {
            network.check(&container).ok();
        }
        let echo = Echo::start(&container, INSIDE);
        assert_reached_by_all(&remote, &neighbour, &container, OUTSIDE);
        drop(echo);
        network.del(&container).ok();
        node.assert_nothing_left_since(&before);
        assert!(before.left_since(&node.state()).is_empty(), "the neighbour has lost something");
        network.del(&container).ok();
        next_door.del(&neighbour).ok();
    });
}

#[test]
fn goes_up_and_down_by_nftables() {
    goes_up_and_down("nftables");
}

#[test]
fn goes_up_and_down_by_iptables() {
    goes_up_and_down("iptables");
}

/// The namespace may have gone before DEL, and with it all that tells of the container's addresses.
#[test]
fn goes_down_without_its_namespace() {
    for backend in ["nftables", "iptables"] {
        Node::run(|node| {
            let container = node.netns("c1");
            network(backend).add(&container).ok();
            container.vanish();
            network(backend).del(&container).ok();
        });
    }
}

/// DEL after a kill knows of no result, since none was remembered.
#[test]
fn a_killed_add_leaves_nothing_that_del_does_not_remove() {
    for (number, backend) in ["nftables", "iptables"].iter().cycle().take(40).enumerate() {
        Node::run(|node| {
            let container = node.netns("c1");
            let delay = Duration::from_micros(instants().nth(number / 2).expect("an instant"));
            network(backend).kill_add_after(&container, delay);
            network(backend).del(&container).ok();
        });
    }
}

/// Instants over the life of an ADD, which takes some ten milliseconds; no two runs of the test try the same.
fn instants() -> impl Iterator<Item = u64> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a clock after 1970");
    let phase = u64::from(now.subsec_micros() % 2500);
    (0..).map(move |step| step * 2500 + phase)
}

const CONTAINERS: u16 = 50;

#[test]
fn fifty_at_once() {
    Node::run(|node| {
        let remote = node.remote();
        let containers: Vec<Netns> = (0..CONTAINERS).map(|number| node.netns(&format!("c{number}"))).collect();
        for answer in at_once(&containers, Network::add) {
            answer.ok();
        }
        for (number, container) in (0..).zip(&containers).step_by(7) {
            let echo = Echo::start(container, INSIDE);
            let host = SocketAddr::new("192.0.2.1".parse().expect("an address"), OUTSIDE + number);
            let seen = remote.enter(|| Transport::Tcp.ask(host)).expect("an answer");
            assert_eq!(seen.to_string(), "192.0.2.2");
            drop(echo);
        }
        for answer in at_once(&containers, Network::del) {
            answer.ok();
        }
    });
}

/// Every container's call in a thread of its own, all started in the same moment.
fn at_once(containers: &[Netns], call: impl Fn(&Network, &Netns) -> Answer + Sync) -> Vec<Answer> {
    let list = Network::new(&chain("net", "nftables"));
    let (start, call) = (Barrier::new(containers.len()), &call);
    thread::scope(|scope| {
        let threads: Vec<_> = (OUTSIDE..)
            .zip(containers)
            .map(|(port, netns)| (list.clone().asked(published(port, INSIDE)), netns, &start))
            .map(|(network, netns, start)| {
                scope.spawn(move || {
                    start.wait();
                    call(&network, netns)
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("a call ends")).collect()
    })
}
