//! vrf and the Go suite's.

use harness::{Node, Plugin, dual_stack, with};
use serde_json::{Value, json};

use crate::twins::{ADD, CHECK, DEL, Row, Step, assert_alike};

/// What bridge leaves of an interface, without the bridge.
const INTERFACE: &str = "
link add eth0 type veth peer name far
link set far addrgenmode none
link set eth0 addrgenmode none
link set far up
link set eth0 up
address add 10.1.0.2/24 dev eth0
address add fd00:1::2/64 dev eth0 nodad
route add default via 10.1.0.1
route add default via fd00:1::1
";

fn previous(version: &str) -> Value {
    let mut ips = [
        json!({"interface": 0, "address": "10.1.0.2/24", "gateway": "10.1.0.1"}),
        json!({"interface": 0, "address": "fd00:1::2/64", "gateway": "fd00:1::1"}),
    ];
    if version < "1.0.0" {
        (ips[0]["version"], ips[1]["version"]) = (json!("4"), json!("6"));
    }
    json!({
        "cniVersion": version,
        "interfaces": [{"name": "eth0", "mac": "02:00:00:00:00:01", "sandbox": "/run/netns/c1"}],
        "ips": ips,
        "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0", "gw": "fd00:1::1"}],
        "dns": {"nameservers": ["10.1.0.53"]},
    })
}

fn of_version(version: &str, members: Value) -> Value {
    let config = json!({"cniVersion": version, "vrfname": "blue", "prevResult": previous(version)});
    with(config, members)
}

fn row(name: &'static str, members: Value) -> Row {
    Row { container: vec![INTERFACE], ..Row::new("vrf", name, of_version("1.0.0", members)) }
}

/// With further commands in the container.
fn with_more(name: &'static str, more: &'static str) -> Row {
    Row { container: vec![INTERFACE, more], ..row(name, json!({})) }
}

const TABLE_300: &str = "link add blue type vrf table 300\nlink set blue up";

#[test]
#[ignore = "needs the virtual machine: make test-vm"]
fn it_does_what_the_go_suite_does() {
    let version =
        |version| Row { config: Row::new("vrf", "", of_version(version, json!({}))).config, ..row(version, json!({})) };
    let there = |name, members| Row { container: vec![INTERFACE, TABLE_300], ..row(name, members) };
    assert_alike(&[
        Row { steps: &[ADD, DEL, DEL], ..version("0.3.1") },
        version("0.4.0"),
        version("1.0.0"),
        version("1.1.0"),
        row("a table", json!({"table": 555})),
        row("a table beyond a byte", json!({"table": 70000})),
        there("a VRF that is there", json!({})),
        there("a VRF that is there, with its table", json!({"table": 300})),
        with_more("VRFs with tables", "link add red type vrf table 1\nlink add green type vrf table 3"),
        with_more(
            "routes with attributes",
            "route add 192.168.0.0/16 via 10.1.0.9 metric 7 mtu 1300 src 10.1.0.2
             route add fd09::/64 via fd00:1::9 metric 7 src fd00:1::2",
        ),
        with_more(
            "a port beside it",
            "link add blue type vrf table 7\nlink set blue up\nlink add net1 type dummy\nlink set net1 master blue",
        ),
        Row { steps: &[ADD, Step::Lost("DEL"), DEL], ..row("DEL with a lost netns", json!({})) },
        Row { steps: &[DEL, Step::Lost("DEL")], ..row("DEL of nothing", json!({})) },
        Row {
            steps: &[ADD, Step::Ip("link set eth0 nomaster"), CHECK, DEL],
            ..row("CHECK of one that left", json!({}))
        },
    ]);
}

#[test]
#[ignore = "needs the virtual machine: make test-vm"]
fn it_refuses_what_the_go_suite_refuses() {
    let nothing_before = json!({"cniVersion": "1.0.0", "vrfname": "blue"});
    assert_alike(&[
        row("no name", json!({"vrfname": ""})),
        Row { container: Vec::new(), ..Row::new("vrf", "no result before it", nothing_before) },
        Row {
            container: vec![INTERFACE, TABLE_300],
            steps: &[ADD, DEL],
            ..row("another table", json!({"table": 299}))
        },
        Row { steps: &[ADD, CHECK], ..row("a link that is no VRF", json!({"vrfname": "eth0"})) },
        Row { steps: &[CHECK], ..row("CHECK of nothing", json!({})) },
        // What can be refused is refused before anything is touched.
        Row {
            container: vec!["link add zork type dummy"],
            steps: &[ADD, DEL],
            differences: &[
                "- c1 link blue kind=\"vrf\"",
                "- answer.msg=\"resetMaster: could not get link by name eth0\"",
                "- succeeded=false",
                "- answer.code=999",
                "+ succeeded=true",
            ],
            ..row("no such interface", json!({}))
        },
        Row {
            steps: &[ADD],
            differences: &["- c1 link blue kind=\"vrf\""],
            ..with_more("a port of something else", "link add br0 type bridge\nlink set eth0 master br0")
        },
    ]);
}

#[test]
#[ignore = "needs the virtual machine: make test-vm"]
fn it_does_more_than_the_go_suite() {
    assert_alike(&[
        // A route that somebody asked for goes along, whatever its scope.
        Row {
            differences: &[
                "+ c1 route {\"type\":\"unicast\",\"dst\":\"192.168.0.0/16\",\"dev\":\"eth0\",\"table\":\"1\"",
            ],
            ..with_more("a route of the link", "route add 192.168.0.0/16 dev eth0 scope link")
        },
        // The kernel drops a link's routes from all tables.
        Row {
            differences: &["+ c1 route {\"type\":\"unicast\",\"dst\":\"192.168.0.0/16\",\"gateway\":\"10.1.0.9\""],
            ..with_more("a route in a table of its own", "route add 192.168.0.0/16 via 10.1.0.9 table 100")
        },
        // The interface's part of a default route goes along, and the rest stays.
        Row {
            differences: &[
                "+ c1 route {\"type\":\"unicast\",\"dst\":\"default\"",
                "- c1 route {\"type\":\"unicast\",\"dst\":\"default\"",
            ],
            ..with_more(
                "a shared default route",
                "link add net1 type dummy\nlink set net1 addrgenmode none\nlink set net1 up
                 address add fd00:2::2/64 dev net1 nodad\nroute append default via fd00:2::1 dev net1",
            )
        },
        // Nothing is routed by a VRF that is down.
        Row {
            differences: &["- c1 link blue kind=\"vrf\" up=false", "+ c1 link blue kind=\"vrf\" up=true"],
            ..with_more(
                "a VRF that is down",
                "link add blue type vrf table 7\nlink add net1 type dummy\nlink set net1 master blue",
            )
        },
        // What is so already is a success.
        Row {
            steps: &[ADD, ADD, DEL],
            differences: &[
                "- answer.msg=\"cmdAdd failed: interface eth0 has already a master set: blue\"",
                "- answer.code=999",
                "- succeeded=false",
                "+ succeeded=true",
                "+ answer.",
            ],
            ..row("ADD twice", json!({}))
        },
        // What is gone already is fine.
        Row {
            container: vec![TABLE_300],
            steps: &[DEL, DEL],
            differences: &["- answer.", "- succeeded=false", "+ succeeded=true", "- c1 link blue"],
            ..row("DEL of an interface that has gone", json!({}))
        },
        Row {
            steps: &[ADD, Step::Ip("address delete 10.1.0.2/24 dev eth0"), CHECK, DEL],
            differences: &[
                "- succeeded=true",
                "+ succeeded=false",
                "+ answer.code=999",
                "+ answer.msg=\"Failed to match addr 10.1.0.2/24 on interface eth0\"",
            ],
            ..row("CHECK without an address", json!({}))
        },
    ]);
}

/// Plugins before it look for their routes where they are now.
#[test]
#[ignore = "needs the virtual machine: make test-vm"]
fn check_of_a_whole_chain_succeeds() {
    Node::run_messy(|node| {
        let container = node.netns("c1");
        let bridge = |members| Plugin::new("bridge").config(&with(dual_stack("net"), members)).netns(&container);
        let vrf = |members| {
            let config = json!({"cniVersion": "1.0.0", "name": "net", "type": "vrf", "vrfname": "blue"});
            Plugin::new("vrf").config(&with(config, members)).netns(&container)
        };
        let result = bridge(json!({})).add().ok();
        let previous = json!({"prevResult": result});
        assert_eq!(vrf(previous.clone()).add().ok(), result);
        bridge(previous.clone()).check().ok();
        vrf(previous.clone()).check().ok();
        container.sh("ip route delete default vrf blue");
        for plugin in [bridge(previous.clone()), vrf(previous.clone())] {
            let failure = plugin.check().failure();
            assert!(failure.msg.starts_with("Expected Route {Dst:{IP:0.0.0.0 "), "{failure:?}");
        }
        vrf(previous.clone()).del().ok();
        bridge(previous).del().ok();
    });
}
