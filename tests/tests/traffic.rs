//! Containers on a bridge reach each other and the world.

use harness::{Netns, Node, Plugin, Server, Tcpdump, addresses, dual_stack, sh, with};
use serde_json::json;

#[test]
fn two_containers_reach_each_other_in_both_families() {
    Node::run(|node| {
        let (a, b) = (node.netns("a"), node.netns("b"));
        let plugin = Plugin::new("bridge").config(&dual_stack("net"));
        let (from, to) = (plugin.clone().netns(&a).container("a"), plugin.netns(&b).container("b"));
        let (sources, targets) = (addresses(&from.add().ok()), addresses(&to.add().ok()));
        for (source, target) in sources.into_iter().zip(targets) {
            assert_eq!(Server::listen(&b, target).serve(&a), source);
        }
        from.del().ok();
        to.del().ok();
    });
}

/// The first packet after ADD may be one to the gateway. The kernel takes an IPv6 address for its own only when it has
/// seen the link's carrier, which comes later than the address; ADD has to wait for it.
#[test]
fn the_gateway_answers_at_once() {
    for _ in 0..20 {
        Node::run(|node| {
            let c1 = node.netns("c1");
            let server = Server::anywhere();
            let plugin = Plugin::new("bridge").config(&dual_stack("net")).netns(&c1);
            plugin.add().ok();
            for (gateway, address) in [("fd00:1::1", "fd00:1::2"), ("10.1.0.1", "10.1.0.2")] {
                assert_eq!(sh(&format!("ip route get {gateway}")).split(' ').next(), Some("local"), "the gateway");
                assert_eq!(c1.sh(&format!("ip route get {address}")).split(' ').next(), Some("local"), "the container");
                let _ = server.serve_at(gateway.parse().expect("an address"), &c1);
            }
            plugin.del().ok();
        });
    }
}

#[test]
fn a_remote_host_sees_the_node_in_the_place_of_the_container() {
    for backend in ["nftables", "iptables"] {
        Node::run(|node| {
            let (remote, c1) = (node.remote(), node.netns("c1"));
            let config = with(dual_stack("net"), json!({"ipMasq": true, "ipMasqBackend": backend}));
            let plugin = Plugin::new("bridge").config(&config).netns(&c1);
            plugin.add().ok();
            assert_source(&c1, &remote, "192.0.2.2", "IP 192.0.2.1.");
            assert_source(&c1, &remote, "2001:db8::2", "IP6 2001:db8::1.");
            plugin.del().ok();
        });
    }
}

/// The remote host has no route to the containers, so without masquerade there would be no answer at all.
fn assert_source(from: &Netns, remote: &Netns, target: &str, source: &str) {
    let server = Server::listen(remote, target.parse().expect("an address"));
    let tcpdump = Tcpdump::start(remote, &format!("tcp dst port {}", server.address().port()));
    let _ = server.serve(from);
    let line = tcpdump.line();
    assert!(line.starts_with(source), "{line}");
}

#[test]
fn containers_see_each_other_unmasked_behind_masquerade() {
    Node::run(|node| {
        let (a, b) = (node.netns("a"), node.netns("b"));
        let plugin = Plugin::new("bridge").config(&with(dual_stack("net"), json!({"ipMasq": true})));
        let (from, to) = (plugin.clone().netns(&a).container("a"), plugin.netns(&b).container("b"));
        let (sources, targets) = (addresses(&from.add().ok()), addresses(&to.add().ok()));
        for (source, target) in sources.into_iter().zip(targets) {
            assert_eq!(Server::listen(&b, target).serve(&a), source);
        }
        from.del().ok();
        to.del().ok();
    });
}
