//! A container with two interfaces: traffic leaves by the one that has its source address.

use std::fs;
use std::path::Path;

use harness::{Netns, Network, Node, Plugin, Server, Tcpdump, dual_stack, with};
use serde_json::{Value, json};

/// A bridge network with sbr, whose containers' addresses have `number` as their second part.
fn network(number: u8, options: &Value) -> Network {
    let name = format!("net{number}");
    let (four, six) = (format!("10.{number}.0.0/24"), format!("fd00:{number}::/64"));
    let ipam = json!({"type": "host-local", "ranges": [[{"subnet": four}], [{"subnet": six}]]});
    let bridge = with(dual_stack(&name), json!({"ipam": ipam}));
    let sbr = with(json!({"type": "sbr"}), options.clone());
    Network::new(&json!({"cniVersion": "1.0.0", "name": name, "plugins": [bridge, sbr]}))
}

/// The remote host knows a way to the containers, so that both of their interfaces can be asked.
fn routed(remote: &Netns) {
    remote.sh("ip route add 10.0.0.0/8 via 192.0.2.1
        ip route add fd00::/16 via 2001:db8::1");
}

/// Asks an address of the container, and looks by which interface the answer leaves.
fn assert_answered_by(interface: &str, container: &Netns, remote: &Netns, address: &str) {
    let server = Server::listen(container, address.parse().expect("an address"));
    let filter = format!("src host {address} and tcp src port {}", server.address().port());
    let tcpdump = Tcpdump::start_on(interface, container, &filter);
    let _ = server.serve(remote);
    let line = tcpdump.line();
    assert!(line.contains(address), "{interface}: {line}");
}

#[test]
fn answers_leave_by_the_interface_that_was_asked() {
    Node::run(|node| {
        let (remote, container) = (node.remote(), node.netns("c1"));
        routed(&remote);
        let one = network(1, &json!({}));
        let two = network(2, &json!({})).ifname("net1");
        one.add(&container).ok();
        two.add(&container).ok();
        for (interface, number) in [("eth0", 1), ("net1", 2)] {
            assert_answered_by(interface, &container, &remote, &format!("10.{number}.0.2"));
            assert_answered_by(interface, &container, &remote, &format!("fd00:{number}::2"));
        }
        two.del(&container).ok();
        one.del(&container).ok();
    });
}

/// The administrator fills the table. Without the rule the answers would leave by the default route.
#[test]
fn answers_leave_by_a_chosen_table() {
    Node::run(|node| {
        let (remote, container) = (node.remote(), node.netns("c1"));
        routed(&remote);
        let one = Network::new(&with(dual_stack("net1"), json!({"plugins": [dual_stack("net1")]})));
        let two = network(2, &json!({"table": 222})).ifname("net1");
        one.add(&container).ok();
        container.sh("ip route add default via 10.1.0.1 metric 1; ip route delete default metric 0");
        two.add(&container).ok();
        container.sh("ip route add default via 10.2.0.1 dev net1 table 222");
        assert_answered_by("net1", &container, &remote, "10.2.0.2");
        two.del(&container).ok();
        one.del(&container).ok();
    });
}

/// What the container calls in its own subnets it calls from its address there, though its main table is emptied else.
#[test]
fn hints_keep_the_subnets() {
    Node::run(|node| {
        let container = node.netns("c1");
        let network = network(1, &json!({"addSourceHints": true}));
        network.add(&container).ok();
        for (target, source) in [("10.1.0.9", "10.1.0.2"), ("fd00:1::9", "fd00:1::2")] {
            let route = container.sh(&format!("ip route get {target}"));
            assert!(
                route.contains(&format!("dev eth0 src {source}")) || route.contains(&format!("src {source}")),
                "{route}"
            );
            assert!(!route.contains(" via "), "{route}");
        }
        network.del(&container).ok();
    });
}

#[test]
fn no_file_comes_to_be_where_a_namespace_was() {
    Node::run(|node| {
        let container = node.netns("c1");
        let network = network(1, &json!({}));
        network.add(&container).ok();
        container.vanish();
        network.del(&container).ok();
        let config = json!({"cniVersion": "1.0.0", "name": "net1", "type": "sbr"});
        let plugin = Plugin::new("sbr").config(&config).env("CNI_NETNS", container.path());
        plugin.del().ok();
        assert!(!plugin.add().succeeded() && !plugin.check().succeeded());
        assert!(!Path::new(container.path()).exists(), "{:?}", fs::symlink_metadata(container.path()));
    });
}
