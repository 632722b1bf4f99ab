//! An ADD that fails at any point leaves nothing of the attachment, and one that is killed leaves nothing that DEL does
//! not remove.

use std::time::Duration;

use harness::{Node, Plugin, dual_stack, with};
use serde_json::{Value, json};

/// Something that makes ADD fail: what is done to the node, to the configuration and to the call.
struct Obstacle {
    name: &'static str,
    prepare: fn(&Node),
    config: fn() -> Value,
    call: fn(Plugin) -> Plugin,
}

const NONE: Obstacle = Obstacle { name: "", prepare: |_| {}, config: masqueraded, call: |plugin| plugin };

fn masqueraded() -> Value {
    with(dual_stack("net"), json!({"ipMasq": true, "macspoofchk": true}))
}

fn routed(routes: Value) -> Value {
    let mut config = masqueraded();
    config["ipam"]["routes"] = routes;
    config
}

fn obstacles() -> Vec<Obstacle> {
    [before_addresses(), at_addresses(), after_addresses()].into_iter().flatten().collect()
}

fn before_addresses() -> Vec<Obstacle> {
    vec![
        Obstacle {
            name: "a MAC that the kernel refuses",
            config: || with(masqueraded(), json!({"runtimeConfig": {"mac": "01:00:5e:00:00:01"}})),
            ..NONE
        },
        Obstacle { name: "an MTU that the kernel refuses", config: || with(masqueraded(), json!({"mtu": 7})), ..NONE },
        Obstacle { name: "a VLAN without filtering", config: || with(masqueraded(), json!({"vlan": 100})), ..NONE },
        Obstacle {
            name: "layer 2 in a version that can not tell it",
            config: || json!({"cniVersion": "0.2.0", "name": "net", "bridge": "net"}),
            ..NONE
        },
        Obstacle {
            name: "a spoof check in a chain of another kind",
            prepare: |_| {
                harness::sh(
                    "nft 'add table bridge nat; add chain bridge nat PREROUTING { type filter hook output priority 0; }'",
                );
            },
            ..NONE
        },
    ]
}

fn at_addresses() -> Vec<Obstacle> {
    vec![
        Obstacle { name: "no IPAM plugin", config: || with(masqueraded(), json!({"ipam": {"type": "nope"}})), ..NONE },
        Obstacle {
            name: "an IPAM plugin that gives nothing",
            prepare: |node| drop(node.script("zork", r#"echo '{"cniVersion": "1.0.0"}'"#)),
            config: || with(masqueraded(), json!({"ipam": {"type": "zork"}})),
            call: |plugin| plugin.path("/run/scripts"),
            ..NONE
        },
        Obstacle {
            name: "the second pool is full",
            config: || {
                let ranges = json!([[{"subnet": "10.1.0.0/24"}], [{"subnet": "10.2.0.0/30", "gateway": "10.2.0.2", "rangeEnd": "10.2.0.2", "rangeStart": "10.2.0.2"}]]);
                with(masqueraded(), json!({"ipam": {"type": "host-local", "ranges": ranges}}))
            },
            ..NONE
        },
    ]
}

fn after_addresses() -> Vec<Obstacle> {
    vec![
        Obstacle {
            name: "an address that the kernel refuses",
            prepare: |node| {
                drop(node.script("zork", r#"echo '{"cniVersion": "1.0.0", "ips": [{"address": "10.1.0.2/24"}, {"address": "224.0.0.1/24"}]}'"#))
            },
            config: || with(masqueraded(), json!({"ipam": {"type": "zork"}})),
            call: |plugin| plugin.path("/run/scripts"),
            ..NONE
        },
        Obstacle {
            name: "a route by an unreachable gateway",
            config: || routed(json!([{"dst": "192.168.0.0/16", "gw": "172.16.0.1"}])),
            ..NONE
        },
        Obstacle {
            name: "a bridge with another address",
            prepare: |_| drop(harness::sh("ip link add net type bridge; ip address add 10.9.0.1/24 dev net")),
            ..NONE
        },
        Obstacle {
            name: "an unknown back end",
            config: || with(masqueraded(), json!({"ipMasqBackend": "zork"})),
            ..NONE
        },
        Obstacle {
            name: "a masquerade table of another kind",
            prepare: |_| {
                harness::sh(
                    "nft 'add table inet cni_plugins_masquerade; add chain inet cni_plugins_masquerade postrouting { type filter hook output priority 0; }'",
                );
            },
            ..NONE
        },
        Obstacle {
            name: "no iptables",
            config: || with(masqueraded(), json!({"ipMasqBackend": "iptables"})),
            call: |plugin| plugin.env("PATH", "/nonexistent"),
            ..NONE
        },
        Obstacle { name: "an answer that can not be written", call: |plugin| plugin.redirected(">/dev/full"), ..NONE },
        Obstacle { name: "a closed stdout", call: |plugin| plugin.redirected(">&-"), ..NONE },
    ]
}

#[test]
fn a_failed_add_leaves_nothing() {
    for obstacle in obstacles() {
        println!("{}", obstacle.name);
        Node::run(|node| {
            let c1 = node.netns("c1");
            (obstacle.prepare)(node);
            let plugin = (obstacle.call)(Plugin::new("bridge").config(&(obstacle.config)()).netns(&c1));
            let answer = plugin.add();
            assert!(!answer.succeeded(), "{}: a success\n{answer}", obstacle.name);
        });
    }
}

/// The instants at which the process is killed: dense, since ADD takes some milliseconds, and a few beyond its end.
#[test]
fn a_killed_add_leaves_nothing_that_del_does_not_remove() {
    for step in 0..60 {
        Node::run(|node| {
            let c1 = node.netns("c1");
            let plugin = Plugin::new("bridge").config(&masqueraded()).netns(&c1);
            plugin.kill_add_after(Duration::from_micros(step * 500));
            plugin.del().ok();
        });
    }
}

#[test]
fn a_killed_add_is_removed_also_after_the_netns_has_gone() {
    for step in 0..30 {
        Node::run(|node| {
            let c1 = node.netns("c1");
            let plugin = Plugin::new("bridge").config(&masqueraded()).netns(&c1);
            plugin.kill_add_after(Duration::from_millis(step));
            c1.vanish();
            plugin.del().ok();
        });
    }
}
