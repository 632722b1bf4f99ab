//! GC removes what belongs to this network and to no valid attachment, and nothing else.

use harness::{Node, Plugin, dual_stack, with};
use serde_json::{Value, json};

/// A network that leaves traces everywhere: links, leases, masquerade and spoof checks.
fn network(name: &str, backend: &str) -> Value {
    let members =
        json!({"cniVersion": "1.1.0", "bridge": "br0", "ipMasq": true, "ipMasqBackend": backend, "macspoofchk": true});
    with(dual_stack(name), members)
}

fn valid(config: &Value, attachments: &[(&str, &str)]) -> Value {
    let list: Vec<Value> =
        attachments.iter().map(|(id, ifname)| json!({"containerID": id, "ifname": ifname})).collect();
    with(config.clone(), json!({"cni.dev/valid-attachments": list, "cni.dev/attachments": list}))
}

/// A stale attachment is made, and perhaps lost, between two pictures; after GC the second is like the first.
fn collected(backend: &str, lose: impl FnOnce(&harness::Netns) + Send) {
    Node::run(|node| {
        let (config, other) = (
            network("net", backend),
            with(
                network("other", backend),
                json!({"ipam": {
            "type": "host-local", "ranges": [[{"subnet": "10.1.0.0/24", "rangeStart": "10.1.0.100"}]]}}),
            ),
        );
        let (live, stale, foreign) = (node.netns("live"), node.netns("stale"), node.netns("foreign"));
        let live = Plugin::new("bridge").config(&config).netns(&live).container("live");
        let foreign = Plugin::new("bridge").config(&other).netns(&foreign).container("stale");
        live.add().ok();
        foreign.add().ok();
        harness::sh("ip link add admin type veth peer name admins; nft add table inet admin");
        let before = node.state();
        Plugin::new("bridge").config(&config).netns(&stale).container("stale").add().ok();
        assert!(!node.state().left_since(&before).is_empty(), "the stale attachment has no traces");
        lose(&stale);
        let plugin = Plugin::new("bridge").config(&valid(&config, &[("live", "eth0")]));
        plugin.without("CNI_CONTAINERID").without("CNI_IFNAME").gc().ok();
        node.assert_nothing_left_since(&before);
        assert_eq!(before.left_since(&node.state()), [] as [&str; 0], "GC removed too much");
        live.del().ok();
        foreign.del().ok();
        harness::sh("ip link delete admin");
    });
}

#[test]
fn of_what_masquerades_by_nftables() {
    collected("nftables", |_| {});
}

#[test]
fn of_what_masquerades_by_iptables() {
    collected("iptables", |_| {});
}

#[test]
fn of_what_has_lost_its_namespace() {
    collected("nftables", harness::Netns::vanish);
    collected("iptables", harness::Netns::vanish);
}

#[test]
fn of_one_interface_of_a_container_and_not_of_the_other() {
    Node::run(|node| {
        let (config, c1) = (network("net", "nftables"), node.netns("c1"));
        let plugin = Plugin::new("bridge").config(&config).netns(&c1);
        plugin.add().ok();
        let before = node.state();
        plugin.clone().ifname("net1").add().ok();
        Plugin::new("bridge").config(&valid(&config, &[("c1", "eth0")])).gc().ok();
        node.assert_nothing_left_since(&before);
        assert_eq!(before.left_since(&node.state()), [] as [&str; 0], "GC removed too much");
        plugin.del().ok();
    });
}

#[test]
fn of_everything_when_nothing_is_valid() {
    Node::run(|node| {
        let (config, c1) = (network("net", "nftables"), node.netns("c1"));
        Plugin::new("bridge").config(&config).netns(&c1).add().ok();
        Plugin::new("bridge").config(&valid(&config, &[])).gc().ok();
    });
}

#[test]
fn of_nothing_when_no_list_is_given() {
    Node::run(|node| {
        let (config, c1) = (network("net", "nftables"), node.netns("c1"));
        let plugin = Plugin::new("bridge").config(&config).netns(&c1);
        plugin.add().ok();
        let before = node.state();
        plugin.gc().ok();
        assert_eq!(before.difference(&node.state()), [] as [&str; 0]);
        plugin.del().ok();
    });
}

#[test]
fn of_leases_by_host_local_alone() {
    Node::run(|node| {
        let config = network("net", "nftables");
        let plugin = Plugin::new("host-local").config(&config).netns(&node.netns("c1"));
        plugin.clone().container("live").add().ok();
        let before = node.state();
        plugin.clone().container("stale").add().ok();
        Plugin::new("host-local").config(&valid(&config, &[("live", "eth0")])).gc().ok();
        node.assert_nothing_left_since(&before);
        assert_eq!(before.left_since(&node.state()), [] as [&str; 0], "GC removed too much");
        plugin.container("live").del().ok();
    });
}
