//! An ADD that fails at any point leaves nothing of the attachment, and one that is killed leaves nothing that DEL does
//! not remove.

use std::time::Duration;

use harness::{Node, Plugin, dual_stack, sh, with};
use serde_json::{Value, json};

/// Something that makes ADD fail.
struct Obstacle {
    name: &'static str,
    config: Value,
    /// Shell commands on the node.
    prepare: &'static str,
    /// The shell script that is the IPAM plugin `zork`.
    zork: &'static str,
    call: fn(Plugin) -> Plugin,
}

impl Obstacle {
    /// Something in the configuration.
    fn of(name: &'static str, config: Value) -> Self {
        Self { name, config, prepare: "", zork: "exit 1", call: |plugin| plugin }
    }

    /// Something else.
    fn new(name: &'static str) -> Self {
        Self::of(name, masqueraded())
    }

    fn prepare(self, prepare: &'static str) -> Self {
        Self { prepare, ..self }
    }

    fn zork(self, zork: &'static str) -> Self {
        Self { zork, config: with(masqueraded(), json!({"ipam": {"type": "zork"}})), ..self }
    }

    fn call(self, call: fn(Plugin) -> Plugin) -> Self {
        Self { call, ..self }
    }

    fn meet(&self) {
        Node::run(|node| {
            let c1 = node.netns("c1");
            let dir = node.script("zork", self.zork);
            sh(self.prepare);
            let answer = (self.call)(Plugin::new("bridge").config(&self.config).netns(&c1).path(dir)).add();
            assert!(!answer.succeeded(), "{}: a success\n{answer}", self.name);
        });
    }
}

fn masqueraded() -> Value {
    with(dual_stack("net"), json!({"ipMasq": true, "macspoofchk": true}))
}

fn changed(members: Value) -> Value {
    with(masqueraded(), members)
}

fn before_addresses() -> Vec<Obstacle> {
    let layer_2 = json!({"cniVersion": "0.2.0", "name": "net", "bridge": "net"});
    vec![
        Obstacle::of("a MAC that the kernel refuses", changed(json!({"runtimeConfig": {"mac": "01:00:5e:00:00:01"}}))),
        Obstacle::of("an MTU that the kernel refuses", changed(json!({"mtu": 7}))),
        Obstacle::of("a VLAN out of range", changed(json!({"vlan": 5000}))),
        Obstacle::of("layer 2 in a version that can not tell it", layer_2),
        Obstacle::new("a set of another kind where the spoof check belongs")
            .prepare("nft 'add table bridge xnet_spoofcheck; add set bridge xnet_spoofcheck guarded { type mark; }'"),
    ]
}

fn at_addresses() -> Vec<Obstacle> {
    let full = json!([[{"subnet": "10.1.0.0/24"}], [{"subnet": "10.2.0.0/24", "gateway": "10.2.0.2", "rangeStart": "10.2.0.2", "rangeEnd": "10.2.0.2"}]]);
    vec![
        Obstacle::of("no IPAM plugin", changed(json!({"ipam": {"type": "nope"}}))),
        Obstacle::new("an IPAM plugin that fails").zork("exit 1"),
        Obstacle::new("an IPAM plugin that gives nothing").zork(r#"echo '{"cniVersion": "1.0.0"}'"#),
        Obstacle::of("a second pool that is full", changed(json!({"ipam": {"type": "host-local", "ranges": full}}))),
    ]
}

fn after_addresses() -> Vec<Obstacle> {
    let mut routed = masqueraded();
    routed["ipam"]["routes"] = json!([{"dst": "192.168.0.0/16", "gw": "172.16.0.1"}]);
    vec![
        Obstacle::new("an address that is given twice")
            .zork(r#"echo '{"cniVersion": "1.0.0", "ips": [{"address": "10.1.0.2/24"}, {"address": "10.1.0.2/24"}]}'"#),
        Obstacle::of("a route by an unreachable gateway", routed),
        Obstacle::new("a bridge with another address")
            .prepare("ip link add net type bridge; ip address add 10.9.0.1/24 dev net"),
        Obstacle::of("an unknown back end", changed(json!({"ipMasqBackend": "zork"}))),
        Obstacle::new("a chain of another kind where masquerade belongs").prepare(
            "nft 'add table inet xnet_masq; add chain inet xnet_masq postrouting { type filter hook output priority 0; }'",
        ),
        Obstacle::of("a chain of another kind where iptables has its own", changed(json!({"ipMasqBackend": "iptables"})))
            .prepare("nft 'add table ip nat; add chain ip nat POSTROUTING { type filter hook output priority 0; }'"),
        Obstacle::new("an answer that can not be written").call(|plugin| plugin.redirected(">/dev/full")),
        Obstacle::new("a closed stdout").call(|plugin| plugin.redirected(">&-")),
    ]
}

#[test]
fn an_add_that_fails_before_it_has_addresses_leaves_nothing() {
    before_addresses().iter().for_each(Obstacle::meet);
}

#[test]
fn an_add_that_fails_at_its_addresses_leaves_nothing() {
    at_addresses().iter().for_each(Obstacle::meet);
}

#[test]
fn an_add_that_fails_with_its_addresses_leaves_nothing() {
    after_addresses().iter().for_each(Obstacle::meet);
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
