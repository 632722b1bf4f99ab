//! Bad input is refused with the code and the text that callers know, before anything is touched.

use harness::{Netns, Node, Plugin, dual_stack, with};
use serde_json::{Value, json};

/// A good call: every case spoils it in one way.
fn good(c1: &Netns) -> Plugin {
    Plugin::new("bridge").config(&dual_stack("net")).netns(c1)
}

fn configured(c1: &Netns, members: Value) -> Plugin {
    good(c1).config(&with(dual_stack("net"), members))
}

fn pooled(c1: &Netns, ranges: Value) -> Plugin {
    configured(c1, json!({"ipam": {"type": "host-local", "ranges": ranges}}))
}

/// ADD fails like this, and the node with all that is on it is the same as before.
fn refused(spoil: impl FnOnce(&Netns) -> Plugin + Send, code: u64, msg: &str, details: &str) {
    Node::run(|node| {
        let c1 = node.netns("c1");
        let before = node.state();
        let answer = spoil(&c1).add();
        answer.assert_failed(code, msg);
        let told = answer.failure().details;
        assert!(told.starts_with(details), "details {details:?} expected\n{answer}");
        assert_eq!(before.difference(&node.state()), [] as [&str; 0], "touched by\n{answer}");
    });
}

/// ADD fails like this, and may have made what is shared.
fn failed(spoil: impl FnOnce(&Node, &Netns) -> Plugin + Send, code: u64, msg: &str) {
    Node::run(|node| {
        let c1 = node.netns("c1");
        spoil(node, &c1).add().assert_failed(code, msg);
    });
}

#[test]
fn missing_variables_are_named_all_at_once() {
    let bare = |c1: &Netns| {
        ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_PATH"]
            .iter()
            .fold(good(c1), |plugin, key| plugin.without(key))
    };
    refused(bare, 4, "required env variables [CNI_CONTAINERID,CNI_NETNS,CNI_IFNAME,CNI_PATH] missing", "");
    refused(
        |c1| good(c1).container("").ifname(""),
        4,
        "required env variables [CNI_CONTAINERID,CNI_IFNAME] missing",
        "",
    );
}

#[test]
fn without_a_command_a_person_is_told_what_this_is() {
    Node::run(|node| {
        let answer = good(&node.netns("c1")).start();
        assert!(answer.succeeded() && answer.stdout.is_empty(), "{answer}");
        assert!(answer.stderr.starts_with("CNI bridge plugin v"), "{answer}");
    });
}

#[test]
fn bad_ids_and_names() {
    refused(|c1| good(c1).container("../x"), 4, "invalid characters in containerID", "../x");
    refused(|c1| good(c1).container("x/../y"), 4, "invalid characters in containerID", "x/../y");
    let long = "interface name should be less than 16 characters";
    refused(|c1| good(c1).ifname("abcdefghijklmnop"), 4, "interface name is too long", long);
    refused(|c1| good(c1).ifname(".."), 4, "interface name is . or ..", "");
    for name in ["../x", "eth0:1", "eth 0", "eth\u{2003}0"] {
        refused(|c1| good(c1).ifname(name), 4, "interface name contains / or : or whitespace characters", "");
    }
    refused(|c1| configured(c1, json!({"name": "../x"})), 7, "invalid characters found in network name", "../x");
    refused(|c1| configured(c1, json!({"name": ""})), 7, "missing network name", "");
    refused(|c1| configured(c1, json!({"name": null})), 7, "missing network name", "");
}

#[test]
fn what_is_no_configuration() {
    for text in ["", "zork", "[]", "\"net\"", "{\"name\": \"net\"", "{\"name\": 7}"] {
        refused(|c1| good(c1).stdin(text), 6, "error unmarshall network config: *", "");
    }
    refused(|c1| good(c1).redirected("<&-"), 5, "error reading from stdin: *", "");
    refused(|c1| good(c1).redirected("</proc"), 5, "error reading from stdin: *", "");
}

#[test]
fn wrong_types_are_told_with_their_path() {
    for (members, path) in [
        (json!({"mtu": "1400"}), "mtu"),
        (json!({"vlan": 1.5}), "vlan"),
        (json!({"isGateway": "yes"}), "isGateway"),
        (json!({"ipam": []}), "ipam"),
        (json!({"ipam": {"type": 7}}), "ipam.type"),
        (json!({"dns": {"nameservers": [7]}}), "dns.nameservers"),
        (json!({"runtimeConfig": {"mac": 7}}), "runtimeConfig.mac"),
    ] {
        Node::run(|node| {
            let answer = configured(&node.netns("c1"), members).add();
            answer.assert_failed(999, "failed to load netconf: *");
            assert!(answer.failure().msg.contains(path), "{path} is not named\n{answer}");
        });
    }
}

#[test]
fn unknown_versions() {
    let known = r#"plugin supports ["0.1.0" "0.2.0" "0.3.0" "0.3.1" "0.4.0" "1.0.0""#;
    let details = |version: &str| format!("config is {version:?}, {known}");
    for version in ["9.1.0", "1.0", "zork"] {
        refused(|c1| configured(c1, json!({"cniVersion": version})), 1, "incompatible CNI versions", &details(version));
    }
}

#[test]
fn a_previous_result_of_another_version() {
    Node::run(|node| {
        let previous = json!({"cniVersion": "0.4.0", "ips": []});
        let answer = configured(&node.netns("c1"), json!({"ipam": {}, "prevResult": previous})).check();
        let msg = answer.failure().msg;
        assert!(msg.starts_with("could not parse prevResult: result type supports [1.0.0 "), "{answer}");
        assert!(msg.ends_with("] but unmarshalled CNIVersion is \"0.4.0\""), "{answer}");
    });
}

#[test]
fn namespaces_that_are_none() {
    let missing = "failed to open netns \"/run/netns/x\": failed to Statfs \"/run/netns/x\": no such file or directory";
    refused(|c1| good(c1).env("CNI_NETNS", "/run/netns/x"), 999, missing, "");
    let file = "failed to open netns \"/etc/passwd\": unknown FS magic on \"/etc/passwd\": 794c7630";
    refused(|c1| good(c1).env("CNI_NETNS", "/etc/passwd"), 999, file, "");
    let other = "failed to open netns \"/proc/self/ns/pid\": *";
    refused(|c1| good(c1).env("CNI_NETNS", "/proc/self/ns/pid"), 999, other, "");
    let own = "plugin's netns and netns from CNI_NETNS should not be the same";
    refused(|c1| good(c1).env("CNI_NETNS", "/proc/self/ns/net"), 8, own, "");
}

#[test]
fn del_and_loopback_do_not_touch_their_own_namespace() {
    let own = "plugin's netns and netns from CNI_NETNS should not be the same";
    Node::run(|node| {
        let before = node.state();
        for name in ["bridge", "loopback"] {
            let plugin = Plugin::new(name).config(&dual_stack("net")).env("CNI_NETNS", "/proc/thread-self/ns/net");
            plugin.ifname("lo").del().assert_failed(8, own);
        }
        assert_eq!(before.difference(&node.state()), [] as [&str; 0]);
    });
}

#[test]
fn options_that_can_not_be() {
    let both = "cannot set hairpin mode and promiscuous mode at the same time";
    refused(|c1| configured(c1, json!({"hairpinMode": true, "promiscMode": true})), 999, both, "");
    let vlan = "invalid VLAN ID 5000 (must be between 0 and 4094)";
    refused(|c1| configured(c1, json!({"vlan": 5000})), 999, vlan, "");
    refused(
        |c1| configured(c1, json!({"ipMasq": true, "ipMasqBackend": "zork"})),
        999,
        "unknown ipmasq backend \"zork\"",
        "",
    );
    refused(|c1| good(c1).args("K8S_POD"), 999, "ARGS: invalid pair \"K8S_POD\"", "");
    refused(|c1| good(c1).args("K8S_POD=foo"), 999, "ARGS: unknown args [\"K8S_POD=foo\"]", "");
}

#[test]
fn pools_that_can_not_be() {
    let subnet = |subnet: &str| json!([[{"subnet": subnet}]]);
    let host_bits = "invalid range set 0: Network has host bits set. For a subnet mask of length 24 the network address is 10.1.0.0";
    failed(|_, c1| pooled(c1, subnet("10.1.0.1/24")), 999, host_bits);
    let small = "invalid range set 0: Network 10.1.0.0/31 too small to allocate from";
    failed(|_, c1| pooled(c1, subnet("10.1.0.0/31")), 999, small);
    let mixed = json!([[{"subnet": "10.1.0.0/24"}, {"subnet": "fd00::/64"}]]);
    failed(|_, c1| pooled(c1, mixed.clone()), 999, "invalid range set 0: mixed address families");
    let overlap = json!([[{"subnet": "10.1.0.0/24"}], [{"subnet": "10.1.0.0/16"}]]);
    failed(|_, c1| pooled(c1, overlap.clone()), 999, "range set 0 overlaps with 1");
}

#[test]
fn what_is_taken() {
    let other_kind = |_: &Node, c1: &Netns| {
        harness::sh("ip link add br1 type veth peer name br2");
        configured(c1, json!({"bridge": "br1"}))
    };
    Node::run_messy(|node| {
        let c1 = node.netns("c1");
        let plugin = other_kind(node, &c1);
        let before = node.state();
        plugin.add().assert_failed(999, "failed to create bridge \"br1\": \"br1\" already exists but is not a bridge");
        assert_eq!(before.difference(&node.state()), [] as [&str; 0]);
    });
    Node::run_messy(|node| {
        let c1 = node.netns("c1");
        c1.sh("ip link add eth0 type veth peer name other");
        let before = node.state();
        let answer = good(&c1).add();
        answer.assert_failed(999, "container veth name (\"eth0\") peer provided (\"veth*");
        assert!(answer.failure().msg.ends_with("\") already exists"), "{answer}");
        assert_eq!(node.state().left_since(&before), [] as [&str; 0]);
    });
}

#[test]
fn addresses_that_are_taken() {
    Node::run(|node| {
        let (one, two) = (node.netns("one"), node.netns("two"));
        let wish = json!({"runtimeConfig": {"ips": ["10.1.0.77"]}});
        let (first, second) =
            (configured(&one, wish.clone()).container("one"), configured(&two, wish).container("two"));
        first.add().ok();
        let taken = "failed to allocate for range 0: requested IP address 10.1.0.77 is not available in range set 10.1.0.1-10.1.0.254";
        second.add().assert_failed(999, taken);
        first.del().ok();
        let lock = std::fs::read_dir("/var/lib/cni/networks/net").expect("list the pool").count();
        assert!(lock > 0);
    });
}

#[test]
fn a_large_configuration_is_read_to_its_end() {
    Node::run(|node| {
        let padding = "x".repeat(10 << 20);
        let plugin = configured(&node.netns("c1"), json!({"padding": padding}));
        plugin.add().ok();
        plugin.del().ok();
    });
}

#[test]
fn ten_thousand_levels_of_json() {
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let deep = format!("{}0{}", open.repeat(10_000), close.repeat(10_000));
        let text = format!(r#"{{"cniVersion": "1.0.0", "name": "net", "deep": {deep}}}"#);
        refused(|c1| good(c1).stdin(text.clone()), 6, "error unmarshall network config: *", "");
    }
}
