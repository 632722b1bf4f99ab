//! Rows about vlan, for a stock kernel in the virtual machine.

use serde_json::{Value, json};

use crate::differences::{NEEDLESS, UNREACHABLE};
use crate::ipam::{dual, lost, nothing, routed, v4};
use crate::macvlan::{INSIDE, MASTER};
use crate::row::{ADD, ADD_2, CHECK, DEL, DEL_2, Row, Step};

fn row(name: &str, members: Value) -> Row {
    Row::new("vlan", name, harness::with(json!({"master": "up0", "vlanId": 100, "ipam": v4()}), members))
        .newer()
        .prepare(MASTER)
        .steps(&[ADD, CHECK, DEL])
}

/// An address has been given and taken back, so the next one is another.
const ASKED: &[&str] = &[
    "+ *: state node: file /var/lib/cni/networks/net/*",
    "- *: state node: file /var/lib/cni/networks/net/*",
    "+ *: state c2: address *",
    "+ *: state c2: route *",
    "- *: state c2: address *",
    "- *: state c2: route *",
    "+ *: answer.ips[*].address=*",
    "- *: answer.ips[*].address=*",
];

fn layer_3(name: &str) -> Row {
    row(name, json!({"ipam": dual()}))
}

pub(crate) fn links() -> Vec<Row> {
    let short = |name: &str, members: Value| row(name, members).steps(&[ADD, DEL]);
    vec![
        layer_3("both families").steps(&[ADD, CHECK, DEL, DEL]),
        layer_3("both families").version("0.1.0"),
        layer_3("both families").version("0.3.1"),
        layer_3("both families").version("1.1.0"),
        row("the highest id", json!({"vlanId": 4094})),
        row("an id of zero", json!({"vlanId": 0})),
        short("an id beyond all", json!({"vlanId": 5000})),
        row("an MTU", json!({"mtu": 1400})),
        short("an MTU beyond the master's", json!({"mtu": 9000})).leaks("DEL needs no master", NEEDLESS),
        row("a master in the container", json!({"linkInContainer": true})).prepare(INSIDE),
        short("no master", json!({"master": ""})),
        short("dns of the configuration", json!({"dns": {"nameservers": ["10.1.0.53"]}})),
        row("routes", json!({"ipam": routed(json!([{"dst": "0.0.0.0/0"}, {"dst": "fd09::/64", "gw": "fd00:1::9"}]))})),
        row("no IPAM", json!({"ipam": {}})).steps(&[ADD]).rolls_back(),
        short("no address", json!({"ipam": nothing()})).rolls_back(),
        short("a route by an unreachable gateway", json!({"ipam": lost()})).rolls_back().differs(
            "a prefix is written as people write it, and the kernel says why it refuses the route",
            UNREACHABLE,
        ),
    ]
}

pub(crate) fn lives() -> Vec<Row> {
    vec![
        layer_3("two containers in one VLAN")
            .steps(&[ADD, ADD_2, DEL, ADD_2, DEL_2])
            .differs(
                "what the kernel means",
                &[
                    r#"- *: answer.msg="failed to create vlan: file exists""#,
                    r#"+ *: answer.msg="failed to create vlan: file exists (8021q: VLAN device already exists): *"#,
                ],
            )
            .leaks("IPAM is asked while the link is made", ASKED),
        layer_3("ADD twice").steps(&[ADD, ADD, DEL]).differs(
            "which of two things is in the way",
            &[
                r#"- *: answer.msg="failed to create vlan: file exists""#,
                r#"+ *: answer.msg="failed to rename vlan to \"eth0\": file exists""#,
            ],
        ),
        layer_3("DEL with an empty netns").steps(&[ADD, Step::Blind("DEL"), DEL]),
        layer_3("DEL with a lost netns").steps(&[ADD, Step::Lost("DEL"), DEL]),
        layer_3("DEL of nothing").steps(&[DEL]),
        layer_3("DEL without the master")
            .steps(&[ADD, Step::Shell("ip link delete up0"), DEL])
            .leaks("DEL needs no master", NEEDLESS),
        row("a master that is not there", json!({"master": "zork"})).steps(&[ADD]),
    ]
}

pub(crate) fn checks() -> Vec<Row> {
    let after = |name: &str, script: &'static str| {
        let ipam = routed(json!([{"dst": "0.0.0.0/0"}]));
        let members = json!({"mtu": 1400, "ipam": ipam});
        row(&format!("CHECK {name}"), members).steps(&[ADD, Step::Shell(script), CHECK])
    };
    vec![
        after("without an address", "ip -n c1 address delete 10.1.0.2/24 dev eth0"),
        after("without a default route", "ip -n c1 route delete default"),
        after("without the interface", "ip -n c1 link delete eth0"),
        after("without the master", "ip link delete up0"),
        after("of another kind", "ip -n c1 link delete eth0; ip -n c1 link add eth0 type veth peer name x"),
        after("of another id", "ip -n c1 link delete eth0; ip link add link up0 name eth0 netns c1 type vlan id 7"),
        after("of another MTU", "ip -n c1 link set eth0 mtu 1300"),
        after("of another MAC", "ip -n c1 link set eth0 address 0a:58:00:00:00:09"),
        after("of a link that is down", "ip -n c1 link set eth0 down").found_down(),
        layer_3("CHECK without prevResult").steps(&[CHECK]),
    ]
}
