//! Pairs of netkit in the place of veth: where the kernel has them (6.7), and a clear refusal where it has not. The list of
//! what runs has both kernels.

use harness::{Echo, Netns, Node, Plugin, Server, Transport, addresses, dual_stack, sh, with};
use serde_json::{Value, json};

/// A network `net` by `plugin`, with pools of both families.
fn network(plugin: &str) -> Value {
    let config = with(dual_stack("net"), json!({"cniVersion": "1.1.0", "type": plugin, "linkType": "netkit"}));
    if plugin == "bridge" { config } else { with(config, json!({"bridge": null, "isDefaultGateway": null})) }
}

/// `6.12.107+deb13-amd64` is not less than 6.7.
fn has_netkit() -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("a release");
    let mut numbers = release.split(['.', '-', '+']).map(|number| number.parse::<u32>().expect("a number"));
    (numbers.next(), numbers.next()) >= (Some(6), Some(7))
}

/// Node and container begin to talk, each with the other.
fn assert_reached(container: &Netns, result: &Value) {
    let (server, _echo) = (Server::anywhere(), Echo::start(container, 7000));
    for (gateway, address) in ["10.1.0.1", "fd00:1::1"].iter().zip(addresses(result)) {
        let gateway = gateway.parse().expect("an address");
        assert_eq!(server.serve_at(gateway, container).to_canonical(), address);
        let seen = Transport::Tcp.ask((address, 7000).into()).expect("the node reaches the container");
        assert_eq!(seen, gateway);
    }
}

fn lives(node: &Node, plugin: &str) {
    let (c1, c2) = (node.netns(&format!("{plugin}1")), node.netns(&format!("{plugin}2")));
    let one = Plugin::new(plugin).config(&network(plugin)).netns(&c1);
    let two = one.clone().container("c2").netns(&c2);
    let before = sh("ip -o link | grep -c .");
    let (of_one, of_two) = (one.add().ok(), two.add().ok());
    assert!(c1.sh("ip -d link show eth0").contains("netkit"));
    assert_reached(&c1, &of_one);
    if plugin == "bridge" {
        for (from, to) in addresses(&of_one).iter().zip(addresses(&of_two)) {
            assert_eq!(Server::listen(&c2, to).serve(&c1), *from);
        }
    }
    let check = one.clone().config(&with(network(plugin), json!({"prevResult": of_one})));
    check.check().ok();
    c1.ip("link set eth0 down");
    assert_eq!(check.check().failure().msg, "Interface eth0 is down");
    one.del().ok();
    one.del().ok();
    let gc = with(network(plugin), json!({"cni.dev/valid-attachments": [], "cni.dev/attachments": []}));
    Plugin::new(plugin).config(&gc).without("CNI_CONTAINERID").without("CNI_IFNAME").without("CNI_NETNS").gc().ok();
    // A pair ends with either end; the bridge stays.
    let after = sh("ip -o link | grep -vc ' net: '");
    assert_eq!(after, before, "{}", sh("ip -o link"));
}

fn is_refused(node: &Node, plugin: &str) {
    let container = node.netns(plugin);
    let call = Plugin::new(plugin).config(&network(plugin)).netns(&container);
    let failure = call.add().failure();
    let wanted = "this kernel has no netkit (netkit needs Linux 6.7)";
    assert!(failure.msg.starts_with("failed to make netkit pair: ") && failure.msg.ends_with(wanted), "{failure:?}");
    let status = call.without("CNI_CONTAINERID").without("CNI_IFNAME").without("CNI_NETNS").status().failure();
    assert_eq!((status.code, status.details.as_str()), (50, "netkit needs Linux 6.7"), "{status:?}");
    assert_eq!(container.sh("ip -br link").lines().count(), 1, "lo is all that there is");
}

#[test]
#[ignore = "needs the virtual machine: make test-vm"]
fn pairs_of_netkit_are_what_the_kernel_makes_of_them() {
    for plugin in ["bridge", "ptp"] {
        Node::run_messy(|node| if has_netkit() { lives(node, plugin) } else { is_refused(node, plugin) });
    }
}
