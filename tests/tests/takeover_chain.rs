//! A chain that the Go suite has set up is taken down by ours, and the other way round.

use std::fs;

use harness::{Chain, Netns, Network, Node, Suite, chain, published, skip};
use serde_json::{Value, json};

/// The Go suite with the back ends that it has: iptables in Debian's stable release, since then nftables too.
#[derive(Clone, Copy)]
struct Peer {
    suite: Suite,
    back_end: &'static str,
}

const STABLE: Peer = Peer { suite: Suite::Go, back_end: "iptables" };
const NEWER: Peer = Peer { suite: Suite::Newer, back_end: "nftables" };

fn peers() -> Vec<Peer> {
    if Suite::has_newer() {
        return vec![STABLE, NEWER];
    }
    skip("no newer Go suite: make newer-go has not found one");
    vec![STABLE]
}

impl Peer {
    fn list(self) -> Value {
        chain("net", self.back_end)
    }

    /// The same list, run with the plugins of either suite.
    fn network(self, suite: Suite) -> Network {
        Network::new(&self.list()).of(suite).asked(published(8080, 7000))
    }
}

/// The Go suite attaches; something happens; ours detaches, and nothing is left.
fn handed_over(happen: fn(&Netns), detach: fn(&Network, &Netns)) {
    for peer in peers() {
        Node::run(|node| {
            let container = node.netns("c1");
            peer.network(peer.suite).add(&container).ok();
            happen(&container);
            detach(&peer.network(Suite::Ours), &container);
            let remembered = fs::read_dir("/var/lib/cni/results").map_or(0, Iterator::count);
            assert_eq!(remembered, 0);
        });
    }
}

fn forget(_: &Netns) {
    fs::remove_dir_all("/var/lib/cni/results").expect("forget results");
}

fn del(network: &Network, container: &Netns) {
    network.del(container).ok();
}

fn gc(network: &Network, _: &Netns) {
    network.gc().ok();
}

#[test]
fn ours_deletes_a_chain_of_the_go_suite() {
    handed_over(|_| (), del);
}

#[test]
fn ours_deletes_a_chain_of_the_go_suite_without_a_netns() {
    handed_over(Netns::vanish, del);
}

#[test]
fn ours_deletes_a_chain_of_the_go_suite_of_which_nothing_is_remembered() {
    handed_over(forget, del);
}

#[test]
fn ours_deletes_a_chain_of_the_go_suite_without_knowing_its_ports() {
    handed_over(|_| (), |network, container| drop(network.clone().asked(Value::Null).del(container).ok()));
}

#[test]
fn ours_collects_a_chain_of_the_go_suite() {
    handed_over(|_| (), gc);
    handed_over(Netns::vanish, gc);
}

/// A network of its own, with its own addresses, whose containers have the same ids.
fn elsewhere(peer: Peer) -> Chain {
    let mut list = chain("other", peer.back_end);
    list["plugins"][0]["ipam"]["ranges"] = json!([[{"subnet": "10.2.0.0/24"}], [{"subnet": "fd00:2::/64"}]]);
    Chain::new(&list, &published(9000, 7000))
}

/// The runtime's memory is lost as well: nothing but the leases tells which address is whose.
#[test]
fn ours_collects_what_the_go_suite_has_left_of_one_container_only() {
    for peer in peers() {
        Node::run(|node| {
            let (live, stale, foreign) = (node.netns("live"), node.netns("stale"), node.netns("foreign"));
            let at = |port: u16| Chain::new(&peer.list(), &published(port, 7000));
            let foreign_has = elsewhere(peer).of(peer.suite).add(&foreign, "foreign");
            let live_has = at(8080).of(peer.suite).add(&live, "live");
            let before = node.state();
            at(8081).of(peer.suite).add(&stale, "stale");
            stale.vanish();
            Chain::new(&peer.list(), &Value::Null).gc_backwards(&["live"]);
            node.assert_nothing_left_since(&before);
            assert_eq!(before.left_since(&node.state()), [] as [&str; 0], "GC has removed too much");
            at(8080).del(&live, "live", &live_has);
            elsewhere(peer).del(&foreign, "foreign", &foreign_has);
        });
    }
}

/// The Go suite knows the layout of the iptables back ends, and removes what ours has made. What it does not know is
/// that sysctls are restored, and our own note of whose the addresses in shared chains are.
#[test]
fn the_go_suite_deletes_a_chain_of_ours() {
    Node::run(|node| {
        let container = node.netns("c1");
        let before = node.state();
        STABLE.network(Suite::Ours).add(&container).ok();
        STABLE.network(STABLE.suite).del(&container).ok();
        let left = node.state().left_since(&before);
        let known = |line: &&String| line.contains(" -A XNET-") || line.contains(" sysctl net.core.somaxconn=");
        let unknown: Vec<&String> = left.iter().filter(|line| !known(line)).collect();
        assert_eq!(unknown, [] as [&String; 0]);
        Chain::new(&STABLE.list(), &Value::Null).gc(&[]);
        container.vanish();
    });
}

/// It does not know the nftables layout of ours; that is collected.
#[test]
fn what_the_go_suite_leaves_of_ours_is_collected() {
    Node::run(|node| {
        let container = node.netns("c1");
        let ours = Network::new(&chain("net", "nftables")).asked(published(8080, 7000));
        ours.add(&container).ok();
        // Its first DEL fails when it misses its own chain, after it has removed the link; a second would succeed.
        let _ = ours.clone().of(Suite::Go).del(&container);
        container.vanish();
        ours.gc().ok();
    });
}
