//! GC removes what belongs to this network and to no valid attachment, and nothing else.

use harness::{Chain, Netns, Node, Plugin, chain, dual_stack, published, with};
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

/// A whole chain on one network, whose `number` is in its addresses and ports.
fn whole_chain(name: &str, backend: &str, number: u16, port: u16) -> Chain {
    let mut list = chain(name, backend);
    let (four, six) = (format!("10.{number}.0.0/24"), format!("fd00:{number}::/64"));
    list["plugins"][0]["ipam"]["ranges"] = json!([[{"subnet": four}], [{"subnet": six}]]);
    Chain::new(&list, &published(port, 7000))
}

/// A container of the same id on another network is not stale, nor is another of the same network. A container that is
/// still there keeps what only its namespace knows.
fn chain_collected(backend: &str, lose: fn(&Netns)) {
    Node::run(|node| {
        let (live, stale, foreign) = (node.netns("live"), node.netns("stale"), node.netns("foreign"));
        let of = |port: u16| whole_chain("net", backend, 1, port);
        let other = whole_chain("other", backend, 2, 9000).ifname("net1");
        let foreign_has = other.add(&foreign, "stale");
        let live_has = of(8080).add(&live, "live");
        let before = node.state();
        of(8081).add(&stale, "stale");
        lose(&stale);
        Chain::new(&chain("net", backend), &Value::Null).gc(&["live"]);
        node.assert_nothing_left_since(&before);
        assert_eq!(before.left_since(&node.state()), [] as [&str; 0], "GC removed too much");
        of(8080).del(&live, "live", &live_has);
        other.del(&foreign, "stale", &foreign_has);
    });
}

#[test]
fn of_a_whole_chain() {
    let tuned = |stale: &Netns| drop(stale.sh("echo 4096 >/proc/sys/net/core/somaxconn"));
    chain_collected("nftables", tuned);
    chain_collected("iptables", tuned);
}

#[test]
fn of_a_whole_chain_that_has_lost_its_namespace() {
    chain_collected("nftables", Netns::vanish);
    chain_collected("iptables", Netns::vanish);
}

/// The list has no attachments at all, as that of a runtime that does not say which are valid.
#[test]
fn of_nothing_of_a_chain_when_no_list_is_given() {
    Node::run(|node| {
        let c1 = node.netns("c1");
        let plugins = whole_chain("net", "nftables", 1, 8080).version("1.1.0");
        let result = plugins.add(&c1, "c1");
        let before = node.state();
        plugins.gc_without_a_list();
        assert_eq!(before.difference(&node.state()), [] as [&str; 0]);
        plugins.del(&c1, "c1", &result);
    });
}
