//! What tuning has changed is as it was after DEL.

use harness::{Network, Node, Plugin, short_chain};
use serde_json::{Value, json};

fn list() -> Value {
    let mut list = short_chain("net", "nftables", &["bridge", "tuning"]);
    list["plugins"][1] = json!({
        "type": "tuning",
        "mac": "0a:58:0a:01:00:09", "mtu": 1400, "promisc": true, "allmulti": true, "txQLen": 77,
        "sysctl": {
            "net.core.somaxconn": "500",
            "net/ipv4/ip_local_port_range": "20000\t30000",
            "net.ipv4.conf.IFNAME.arp_filter": "1",
        },
    });
    list
}

/// tuning on the interface that bridge has made.
fn tuning(members: &Value) -> Plugin {
    let mut config = harness::with(list()["plugins"][1].clone(), json!({"cniVersion": "1.0.0", "name": "net"}));
    config = harness::with(config, members.clone());
    Plugin::new("tuning").config(&config)
}

/// However often ADD was called, and if another has changed the settings in between.
#[test]
fn everything_is_as_it_was() {
    Node::run(|node| {
        let container = node.netns("c1");
        let bridge = Network::new(&short_chain("net", "nftables", &["bridge"]));
        let result = bridge.add(&container).ok();
        let before = node.state();
        let plugin = tuning(&json!({"prevResult": result})).netns(&container);
        let tuned = plugin.add().ok();
        assert!(before.difference(&node.state()).len() > 10);
        tuning(&json!({"prevResult": tuned})).netns(&container).check().ok();
        plugin.add().ok();
        tuning(&json!({"prevResult": result, "mtu": 1300, "txQLen": 5})).netns(&container).add().ok();
        container.sh("echo 7 >/proc/sys/net/core/somaxconn");
        plugin.del().ok();
        let directory = |line: &&String| !line.contains(" directory /run/cni");
        let change = before.difference(&node.state());
        assert_eq!(change.iter().filter(directory).collect::<Vec<_>>(), [] as [&String; 0]);
        plugin.del().ok();
        bridge.del(&container).ok();
    });
}

/// Nobody is left to give a name to what was tuned; nothing is to be kept about it either.
#[test]
fn nothing_is_kept_about_what_has_gone() {
    for blindly in [false, true] {
        Node::run(|node| {
            let container = node.netns("c1");
            let network = Network::new(&list());
            network.add(&container).ok();
            container.vanish();
            if blindly {
                tuning(&json!({})).container("zork").env("CNI_NETNS", "").del().ok();
            }
            network.del(&container).ok();
        });
    }
}

#[test]
fn an_add_that_fails_changes_nothing() {
    Node::run(|node| {
        let container = node.netns("c1");
        let bridge = Network::new(&short_chain("net", "nftables", &["bridge"]));
        let result = bridge.add(&container).ok();
        let before = node.state();
        for spoilt in [
            json!({"sysctl": {"net.core.somaxconn": "500", "net.ipv4.zork": "1"}}),
            json!({"sysctl": {"net.core.somaxconn": "500", "net.ipv4.ip_local_port_range": "zork"}}),
            json!({"mtu": 7}),
            json!({"mac": "01:00:5e:00:00:01"}),
        ] {
            let answer =
                tuning(&json!({"prevResult": result})).config(&spoil(&result, &spoilt)).netns(&container).add();
            assert!(!answer.succeeded(), "{answer}");
            let directory = |line: &&String| !line.contains(" directory /run/cni");
            let change = before.difference(&node.state());
            assert_eq!(change.iter().filter(directory).collect::<Vec<_>>(), [] as [&String; 0], "{answer}");
        }
        bridge.del(&container).ok();
    });
}

fn spoil(result: &Value, spoilt: &Value) -> Value {
    let good = harness::with(list()["plugins"][1].clone(), json!({"cniVersion": "1.0.0", "name": "net"}));
    harness::with(harness::with(good, json!({"prevResult": result})), spoilt.clone())
}
