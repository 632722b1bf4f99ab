//! VLANs on a bridge.

use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

use harness::{Netns, Node, Plugin, Server, addresses, dual_stack, sh, with};
use serde_json::{Value, json};

use crate::twins::{ADD, DEL, Row, assert_alike, vlans};

/// A bridge `net` whose containers are in a VLAN, with addresses that do not depend on it.
fn in_vlan(vid: u16) -> Value {
    with(dual_stack("net"), json!({"isDefaultGateway": false, "vlan": vid}))
}

fn is_reachable(from: &Netns, server: &Server, address: IpAddr) -> bool {
    let target = SocketAddr::new(address, server.address().port());
    from.enter(|| TcpStream::connect_timeout(&target, Duration::from_millis(700)).is_ok())
}

#[test]
#[ignore = "needs the virtual machine: make test-vm"]
fn a_vlan_reaches_its_own_and_no_other() {
    Node::run_messy(|node| {
        let containers = [("a", 10), ("b", 10), ("c", 20)].map(|(name, vid)| {
            let netns = node.netns(name);
            let plugin = Plugin::new("bridge").config(&in_vlan(vid)).container(name).netns(&netns);
            let addresses = addresses(&plugin.add().ok());
            (netns, plugin, addresses)
        });
        let [(a, _, of_a), (b, _, of_b), (c, ..)] = &containers;
        for (address_a, address_b) in of_a.iter().zip(of_b) {
            let server = Server::listen(b, *address_b);
            assert_eq!(server.serve(a), *address_a);
            assert!(!is_reachable(c, &server, *address_b), "VLAN 20 reaches {address_b} in VLAN 10");
        }
        for (_, plugin, _) in &containers {
            plugin.del().ok();
        }
        assert_eq!(sh("ip -br link show master net"), "");
    });
}

/// The bridge's own interface is in VLAN 1 and so no gateway for the containers; a pair of interfaces is.
#[test]
#[ignore = "needs the virtual machine: make test-vm"]
fn a_vlan_has_a_gateway_of_its_own() {
    Node::run_messy(|node| {
        let (c1, c2) = (node.netns("c1"), node.netns("c2"));
        let plugin = Plugin::new("bridge").config(&with(dual_stack("net"), json!({"vlan": 100})));
        let (first, second) = (plugin.clone().netns(&c1), plugin.container("c2").netns(&c2));
        let result = first.add().ok();
        assert_eq!(result["interfaces"][3]["name"], "net.100", "{result}");
        second.add().ok();
        let server = Server::anywhere();
        for gateway in ["10.1.0.1", "fd00:1::1"] {
            for container in [&c1, &c2] {
                let _ = server.serve_at(gateway.parse().expect("an address"), container);
            }
        }
        first.del().ok();
        second.del().ok();
        // It is shared, like the bridge.
        assert_eq!(sh("ip -br link show type veth").lines().count(), 2);
    });
}

/// The configuration of a network without addresses.
fn layer_2(members: &Value) -> Value {
    with(json!({"cniVersion": "1.0.0", "name": "net", "type": "bridge", "bridge": "br0"}), members.clone())
}

#[test]
#[ignore = "needs the virtual machine: make test-vm"]
fn ports_are_in_the_vlans_that_were_asked_for() {
    let table = [
        (json!({"vlan": 10}), "10 PVID Egress Untagged"),
        (json!({"vlan": 10, "preserveDefaultVlan": true}), "1 Egress Untagged, 10 PVID Egress Untagged"),
        (json!({"vlan": 1}), "1 PVID Egress Untagged"),
        (json!({"vlanTrunk": [{"id": 7}, {"minID": 20, "maxID": 22}]}), "1 PVID Egress Untagged, 7, 20, 21, 22"),
        (json!({"vlan": 5, "vlanTrunk": [{"id": 7}]}), "5 PVID Egress Untagged, 7"),
        (json!({"vlanTrunk": []}), "1 PVID Egress Untagged"),
    ];
    Node::run_messy(|node| {
        for (members, expected) in table {
            let (host, container) = (node.netns("host"), node.netns("c1"));
            let plugin = Plugin::new("bridge").config(&layer_2(&members)).netns(&container);
            host.enter(|| plugin.add().ok());
            let all = vlans(&host);
            let of_port = all.iter().filter_map(|line| line.strip_prefix("vlan veth")?.split_once(' '));
            assert_eq!(of_port.map(|(_, vlan)| vlan).collect::<Vec<_>>().join(", "), expected, "{members}");
            host.vanish();
            container.vanish();
        }
    });
}

#[test]
#[ignore = "needs the virtual machine: make test-vm"]
fn a_trunk_of_all_vlans_has_4094() {
    Node::run_messy(|node| {
        let container = node.netns("c1");
        let config = layer_2(&json!({"vlanTrunk": [{"minID": 1, "maxID": 4094}]}));
        Plugin::new("bridge").config(&config).netns(&container).add().ok();
        assert_eq!(sh("bridge -j vlan show").matches("\"vlan\":").count(), 4094 + 1, "and the bridge's own");
    });
}

#[test]
#[ignore = "needs the virtual machine: make test-vm"]
fn ports_are_what_the_go_suite_makes_them() {
    let row =
        |name, members| Row { steps: &[ADD, DEL], looks_at_node: true, ..Row::new("bridge", name, layer_2(&members)) };
    let bridge = |name, node| Row { node, ..row(name, json!({"vlan": 10})) };
    assert_alike(&[
        row("an access VLAN", json!({"vlan": 10})),
        row("beside the default one", json!({"vlan": 10, "preserveDefaultVlan": true})),
        row("a trunk", json!({"vlanTrunk": [{"id": 7}, {"minID": 20, "maxID": 23}]})),
        row("overlapping ranges", json!({"vlanTrunk": [{"minID": 2, "maxID": 4}, {"minID": 3, "maxID": 5, "id": 4}]})),
        row("a trunk beside it", json!({"vlanTrunk": [{"id": 7}], "preserveDefaultVlan": true})),
        row("a trunk with its native VLAN", json!({"vlan": 5, "vlanTrunk": [{"minID": 4, "maxID": 6}]})),
        bridge(
            "another default VLAN",
            "link add br0 type bridge vlan_filtering 1 vlan_default_pvid 9\nlink set br0 up",
        ),
        bridge("no default VLAN", "link add br0 type bridge vlan_filtering 1 vlan_default_pvid 0\nlink set br0 up"),
        Row {
            // A VLAN on a bridge that does not filter keeps nobody apart.
            differences: &["- node link br0 kind=\"bridge\"", "+ node link br0 kind=\"bridge\"", "+ node vlan "],
            ..bridge("a bridge that does not filter", "link add br0 type bridge\nlink set br0 up")
        },
    ]);
}

#[test]
#[ignore = "needs the virtual machine: make test-vm"]
fn gateways_are_what_the_go_suite_makes_them() {
    let row = |name, members| {
        let ipam = json!({"type": "host-local", "ranges": [[{"subnet": "10.1.0.0/24"}], [{"subnet": "fd00:1::/64"}]]});
        let config = with(layer_2(&json!({"isGateway": true, "vlan": 100, "ipam": ipam})), members);
        Row { looks_at_node: true, ..Row::new("bridge", name, config) }
    };
    assert_alike(&[
        row("a gateway", json!({})),
        row("a default gateway", json!({"isDefaultGateway": true, "mtu": 1400})),
        row("beside the default VLAN", json!({"preserveDefaultVlan": true})),
    ]);
}
