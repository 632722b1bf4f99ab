//! VLANs on a bridge, by the traffic that they let through.

use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

use harness::{Netns, Node, Plugin, Server, addresses, dual_stack, sh, with};
use serde_json::{Value, json};

/// As `bridge vlan show` tells of the only port with a name of this sort.
fn vlans_of(port: &str) -> String {
    let all: Value = serde_json::from_str(&sh("bridge -j vlan show")).expect("bridge prints JSON");
    let entries = all.as_array().expect("a list");
    let is_it = |entry: &&Value| entry["ifname"].as_str().is_some_and(|name| name.starts_with(port));
    let found: Vec<&Value> = entries.iter().filter(is_it).collect();
    assert_eq!(found.len(), 1, "one port {port} in {all}");
    let vlans = found[0]["vlans"].as_array().expect("a list");
    let texts = vlans.iter().map(|vlan| {
        let end = vlan["vlanEnd"].as_u64().map(|end| format!("-{end}")).unwrap_or_default();
        let flags =
            vlan["flags"].as_array().into_iter().flatten().map(|flag| format!(" {}", flag.as_str().unwrap_or("?")));
        format!("{}{end}{}", vlan["vlan"], flags.collect::<String>())
    });
    texts.collect::<Vec<_>>().join(", ")
}

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
    Node::run(|node| {
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
    });
}

#[test]
#[ignore = "needs the virtual machine: make test-vm"]
fn ports_are_in_the_vlans_that_were_asked_for() {
    let table = [
        (json!({"vlan": 10}), "10 PVID Egress Untagged"),
        (json!({"vlan": 10, "preserveDefaultVlan": true}), "1 Egress Untagged, 10 PVID Egress Untagged"),
        (json!({"vlan": 1}), "1 PVID Egress Untagged"),
        (json!({"vlanTrunk": [{"id": 7}, {"minID": 20, "maxID": 23}]}), "1 PVID Egress Untagged, 7, 20-23"),
        (json!({"vlan": 5, "vlanTrunk": [{"id": 7}]}), "5 PVID Egress Untagged, 7"),
        (json!({"vlanTrunk": []}), "1 PVID Egress Untagged"),
        (json!({"vlanTrunk": [{"minID": 1, "maxID": 4094}]}), "1 PVID Egress Untagged, 2-4094"),
    ];
    for (members, expected) in table {
        Node::run(|node| {
            let config = json!({"cniVersion": "1.0.0", "name": "net", "type": "bridge", "bridge": "net"});
            let plugin = Plugin::new("bridge").config(&with(config, members.clone())).netns(&node.netns("c1"));
            plugin.add().ok();
            assert_eq!(vlans_of("veth"), expected, "{members}");
            plugin.del().ok();
        });
    }
}

/// The bridge's own interface is in VLAN 1 and so no gateway for the containers; a pair of interfaces is.
#[test]
#[ignore = "needs the virtual machine: make test-vm"]
fn a_vlan_has_a_gateway_of_its_own() {
    Node::run(|node| {
        let (c1, c2) = (node.netns("c1"), node.netns("c2"));
        let config = with(dual_stack("net"), json!({"vlan": 100}));
        let plugin = Plugin::new("bridge").config(&config);
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
        // Shared, like the bridge.
        sh("ip link delete net.100");
    });
}
