//! ADD, traffic, CHECK, and all the ways in which DEL and GC may come.

use harness::{Netns, Server, State, addresses};
use serde_json::{Value, json};

use crate::kinds::{EVERYWHERE, Kind, PTP, STOCK, Stage, VERSIONS};

/// In every version: the first packet after ADD gets through, both ways and in both families.
fn of_every_version(kind: Kind) {
    Stage::play(kind, |stage| {
        for version in VERSIONS {
            let plugin = stage.plugin_with(json!({"cniVersion": version}));
            let result = plugin.add().ok();
            assert_eq!(result["cniVersion"], version);
            stage.assert_reached(&addresses(&of_today(&result)));
            if version >= "0.4.0" {
                stage.plugin_with(json!({"cniVersion": version, "prevResult": result})).check().ok();
            }
            if version >= "1.1.0" {
                let interfaces = result["interfaces"].as_array().expect("interfaces");
                assert!(interfaces.iter().all(|interface| interface["mtu"] == 1500), "{result}");
            }
            plugin.del().ok();
            plugin.del().ok();
        }
    });
}

/// A result whose addresses are where those of today are.
fn of_today(result: &Value) -> Value {
    if result["ips"].is_array() {
        return result.clone();
    }
    json!({"ips": [{"address": result["ip4"]["ip"]}, {"address": result["ip6"]["ip"]}]})
}

/// DEL without a namespace, without the master, after the link: it never fails, and the lease is always given back.
fn of_every_end(kind: Kind) {
    let ends: [fn(&Stage<'_>); 5] = [
        |stage| {
            stage.plugin().env("CNI_NETNS", "").del().ok();
        },
        |stage| {
            stage.plugin().env("CNI_NETNS", "/run/netns/lost").del().ok();
        },
        |stage| {
            stage.plugin_with(json!({"master": "lost"})).del().ok();
        },
        |stage| {
            stage.plugin_with(json!({"master": "", "prevResult": {"cniVersion": "1.1.0"}})).del().ok();
        },
        |stage| {
            stage.c1.sh("ip link delete eth0");
        },
    ];
    Stage::play_messy(kind, |stage| {
        let mut before = stage.node.state();
        for (number, end) in ends.iter().enumerate() {
            // A VLAN has no other master than one that is named, and a device that is deleted does not come home.
            if matches!((kind.plugin, number), ("vlan", 3) | ("host-device", 4)) {
                continue;
            }
            stage.plugin().add().ok();
            end(stage);
            stage.plugin().del().ok();
            before = stage.assert_as(&before);
        }
    });
}

/// The namespace dies first. A physical device would come back; what is made of messages dies with it.
fn of_a_namespace_that_has_gone(kind: Kind) {
    Stage::play(kind, |stage| {
        let plugin = stage.plugin();
        plugin.add().ok();
        stage.c1.vanish();
        plugin.del().ok();
        plugin.del().ok();
    });
}

/// DEL is told that the namespace goes right afterwards: it leaves a pair to that, and nobody is reached by it any more. What
/// is on a parent is gone, and the parent free for the next one.
fn of_a_namespace_that_is_about_to_go(kind: Kind) {
    Stage::play(kind, |stage| {
        let before = stage.node.state();
        stage.plugin().add().ok();
        let told = stage.plugin().args("IgnoreUnknown=1;NETNS_ENDS=1");
        told.del().ok();
        let link = stage.c1.sh("ip -oneline link show | grep eth0 || true");
        let is_left = matches!(kind.plugin, "bridge" | "ptp");
        assert!(link.is_empty() != is_left && !link.contains("state UP"), "{}: {link:?}", kind.plugin);
        assert_eq!(leases(&stage.node.state()), leases(&before), "the leases after DEL");
        told.del().ok();
        stage.c1.vanish();
    });
}

/// GC takes what is stale and leaves what is valid.
fn collected(kind: Kind, lose: fn(&Netns)) {
    Stage::play_messy(kind, |stage| {
        harness::sh("ip link add dev9 type veth peer name far9");
        let live = stage.plugin_with(json!({"device": "dev9", "vlanId": 101})).container("live").netns(&stage.c2);
        live.add().ok();
        let before = stage.node.state();
        stage.plugin().add().ok();
        lose(&stage.c1);
        let list = json!([{"containerID": "live", "ifname": "eth0"}]);
        let valid = json!({"cni.dev/valid-attachments": list, "cni.dev/attachments": list});
        stage.plugin_with(valid).without("CNI_CONTAINERID").without("CNI_IFNAME").without("CNI_NETNS").gc().ok();
        assert_eq!(leases(&stage.node.state()), leases(&before), "the leases after GC");
        if !matches!(kind.plugin, "ptp" | "host-device") {
            // The link goes with its namespace, which nobody tells GC about.
            stage.plugin().del().ok();
        }
        let _ = stage.assert_as(&before);
        live.del().ok();
    });
}

fn leases(state: &State) -> Vec<String> {
    let is_lease = |fact: &&String| fact.contains("file /var/lib/cni/networks/net/") && fact.contains(r"\r\n");
    state.facts().iter().filter(is_lease).cloned().collect()
}

fn every_collection(kind: Kind) {
    collected(kind, |_| ());
    // A virtual device dies with the namespace, and then there is nothing to come home.
    if kind.plugin != "host-device" {
        collected(kind, Netns::vanish);
    }
}

#[test]
fn in_every_version() {
    EVERYWHERE.into_iter().for_each(of_every_version);
}

#[test]
fn with_every_end() {
    EVERYWHERE.into_iter().for_each(of_every_end);
}

#[test]
fn without_a_namespace() {
    EVERYWHERE.into_iter().filter(|kind| kind.plugin != "host-device").for_each(of_a_namespace_that_has_gone);
}

#[test]
fn before_the_namespace_goes() {
    EVERYWHERE.into_iter().filter(|kind| kind.plugin != "host-device").for_each(of_a_namespace_that_is_about_to_go);
}

#[test]
fn collected_by_gc() {
    EVERYWHERE.into_iter().for_each(every_collection);
}

#[test]
#[ignore = "needs the virtual machine: make test-vm"]
fn on_a_stock_kernel() {
    for kind in STOCK {
        of_every_version(kind);
        of_every_end(kind);
        of_a_namespace_that_has_gone(kind);
        of_a_namespace_that_is_about_to_go(kind);
        every_collection(kind);
    }
}

/// Through the node, and each is known by its own address.
#[test]
fn of_two_containers_by_ptp() {
    Stage::play(PTP, |stage| {
        let mut ipam = PTP.network()["ipam"].take();
        ipam["routes"] = json!([{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]);
        let one = stage.plugin_with(json!({"ipam": ipam}));
        let two = one.clone().container("c2").netns(&stage.c2);
        let (of_one, of_two) = (addresses(&one.add().ok()), addresses(&two.add().ok()));
        for (from, to) in of_one.iter().zip(&of_two) {
            assert_eq!(Server::listen(&stage.c2, *to).serve(&stage.c1), *from);
            assert_eq!(Server::listen(&stage.c1, *from).serve(&stage.c2), *to);
        }
        one.del().ok();
        two.del().ok();
    });
}
