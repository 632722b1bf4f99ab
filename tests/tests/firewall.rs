//! The firewall by traffic: who reaches whom under which policy, and on what kind of node.

use std::net::{IpAddr, SocketAddr};

use harness::{Chain, Echo, Netns, Network, Node, Plugin, State, Transport, addresses, sh, short_chain, with};
use serde_json::{Value, json};

const PORT: u16 = 7000;

/// A bridge network with a firewall, whose containers' addresses have `number` as their second part.
fn network(number: u8, options: &Value) -> Network {
    Network::new(&list(number, options))
}

fn list(number: u8, options: &Value) -> Value {
    let name = format!("net{number}");
    let mut list = short_chain(&name, "nftables", &["bridge", "firewall"]);
    let (four, six) = (format!("10.{number}.0.0/24"), format!("fd00:{number}::/64"));
    list["plugins"][0]["ipam"]["ranges"] = json!([[{"subnet": four}], [{"subnet": six}]]);
    list["plugins"][1] = with(list["plugins"][1].clone(), options.clone());
    list
}

/// A container with a service, attached.
struct Attached<'a> {
    network: &'a Network,
    netns: Netns,
    addresses: Vec<IpAddr>,
    echo: Echo,
}

impl<'a> Attached<'a> {
    fn new(node: &Node, name: &str, network: &'a Network) -> Self {
        let netns = node.netns(name);
        let addresses = addresses(&network.add(&netns).ok());
        network.check(&netns).ok();
        let echo = Echo::start(&netns, PORT);
        Self { network, netns, addresses, echo }
    }

    /// Whether it answers in both families, which must be in agreement.
    fn is_reached_from(&self, netns: &Netns) -> bool {
        let mut reached = self.addresses.iter().map(|address| {
            let to = SocketAddr::new(*address, PORT);
            netns.enter(|| Transport::Tcp.ask(to)).is_ok()
        });
        let first = reached.next().expect("an address");
        assert!(reached.all(|next| next == first), "the families do not agree");
        first
    }

    fn detach(self) {
        drop(self.echo);
        self.network.del(&self.netns).ok();
    }
}

/// Two containers on one bridge, one on another, and what lies outside.
fn under_policy(backend: &str, policy: &str, neighbours: bool, others: bool) {
    Node::run(|node| {
        let remote = node.remote();
        remote.sh("ip route add 10.0.0.0/8 via 192.0.2.1; ip route add fd00::/16 via 2001:db8::1");
        let options = json!({"backend": backend, "ingressPolicy": policy});
        let (here, there) = (network(1, &options), network(2, &options));
        let one = Attached::new(node, "one", &here);
        let two = Attached::new(node, "two", &here);
        let far = Attached::new(node, "far", &there);
        assert!(one.is_reached_from(&remote), "{backend} {policy}: from outside");
        assert_eq!(one.is_reached_from(&two.netns), neighbours, "{backend} {policy}: from the neighbour");
        assert_eq!(one.is_reached_from(&far.netns), others, "{backend} {policy}: from another bridge");
        assert_eq!(far.is_reached_from(&one.netns), others, "{backend} {policy}: to another bridge");
        two.detach();
        assert!(one.is_reached_from(&remote), "{backend} {policy}: from outside, without the neighbour");
        assert_eq!(far.is_reached_from(&one.netns), others, "{backend} {policy}: without the neighbour");
        one.detach();
        far.detach();
    });
}

#[test]
fn everybody_reaches_everybody_under_the_open_policy() {
    under_policy("nftables", "open", true, true);
    under_policy("iptables", "open", true, true);
}

#[test]
fn bridges_are_apart_under_same_bridge() {
    under_policy("nftables", "same-bridge", true, false);
    under_policy("iptables", "same-bridge", true, false);
}

/// Also where the kernel does not send through iptables what is bridged.
#[test]
fn neighbours_are_apart_when_isolated() {
    under_policy("nftables", "isolated", false, false);
    under_policy("iptables", "isolated", false, false);
}

/// The container calls the world, behind the node's address, on a node that forwards nothing by itself.
fn gets_out(backend: Option<&str>, prepare: &str, trace: &str) {
    Node::run(|node| {
        let remote = node.remote();
        sh(prepare);
        let network = network(1, &json!({"backend": backend}));
        let container = node.netns("c1");
        network.add(&container).ok();
        network.check(&container).ok();
        let state = node.state();
        assert!(state.has(trace), "no {trace:?} after\n{prepare}\n{:#?}", rules(&state));
        let echo = Echo::start(&remote, PORT);
        for (target, source) in [("192.0.2.2", "192.0.2.1"), ("2001:db8::2", "2001:db8::1")] {
            let to = SocketAddr::new(target.parse().expect("an address"), PORT);
            let seen = container.enter(|| Transport::Tcp.ask(to));
            let seen = seen.unwrap_or_else(|error| panic!("{prepare}: {target}: {error}\n{:#?}", rules(&node.state())));
            assert_eq!(seen.to_string(), source);
        }
        drop(echo);
        network.del(&container).ok();
        sh(&prepare.replace(" -A FORWARD", " -D FORWARD"));
    });
}

const BY_IPTABLES: &str = "iptables-save filter chain CNI-FORWARD";
const BY_LEGACY: &str = "iptables-legacy-save filter chain CNI-FORWARD";
const BY_NFTABLES: &str = r#"nft table {"family":"inet","name":"xnet_firewall""#;

#[test]
fn the_back_end_is_the_one_in_which_the_node_filters() {
    gets_out(None, "", BY_NFTABLES);
    gets_out(None, "iptables -P FORWARD DROP; ip6tables -P FORWARD DROP", BY_IPTABLES);
    gets_out(None, "for i in iptables ip6tables; do $i -A FORWARD -j DROP; done", BY_IPTABLES);
    gets_out(Some("zork"), "iptables -P FORWARD DROP; ip6tables -P FORWARD DROP", BY_IPTABLES);
    gets_out(Some("zork"), "", BY_NFTABLES);
}

/// Nothing is filtered by tables that have been looked at.
#[test]
fn a_node_that_only_has_tables_does_not_filter_in_them() {
    gets_out(None, "iptables -L; ip6tables -L; iptables -t nat -L", BY_NFTABLES);
}

/// The administrator has chosen the old variant, as on nodes that have been upgraded.
#[test]
fn the_back_end_is_the_old_iptables_where_the_node_filters_in_that() {
    let chosen = "for i in iptables ip6tables; do
            for part in '' -save -restore; do ln -sf /usr/sbin/$i-legacy$part /etc/alternatives/$i$part; done
            $i -P FORWARD DROP
        done";
    gets_out(None, chosen, BY_LEGACY);
    gets_out(Some("iptables"), chosen, BY_LEGACY);
}

#[test]
fn the_back_end_is_the_one_that_is_asked_for() {
    gets_out(Some("nftables"), "", BY_NFTABLES);
    gets_out(Some("iptables"), "", BY_IPTABLES);
}

/// The rules of an attachment that nobody remembers.
fn rules(state: &State) -> Vec<&String> {
    let of_firewall =
        |fact: &&String| fact.contains("xnet_firewall") || fact.contains("FORWARD") || fact.contains("ISOLATION");
    state.facts().iter().filter(of_firewall).collect()
}

#[test]
fn del_without_a_previous_result() {
    for (backend, policy) in [("nftables", "isolated"), ("nftables", "open"), ("iptables", "open")] {
        Node::run(|node| {
            let container = node.netns("c1");
            let list = list(1, &json!({"backend": backend, "ingressPolicy": policy}));
            let chain = Chain::new(&list, &Value::Null);
            // Shared things are made by the first container and stay.
            let result = chain.add(&container, "first");
            chain.del(&container, "first", &result);
            let before = node.state();
            let result = chain.add(&container, "c1");
            assert!(rules(&node.state()).len() > rules(&before).len(), "{}", node.state());
            let config = json!({"cniVersion": "1.0.0", "name": "net1", "type": "firewall"});
            let config = with(config, list["plugins"][1].clone());
            Plugin::new("firewall").config(&config).env("CNI_NETNS", "").del().ok();
            assert_eq!(rules(&node.state()), rules(&before));
            chain.del(&container, "c1", &result);
        });
    }
}
