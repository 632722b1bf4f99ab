//! Rows about ipvlan, for a stock kernel in the virtual machine.

use serde_json::{Value, json};

use crate::differences::{NEEDLESS, TEMPORARY, UNREACHABLE};
use crate::ipam::{dual, lost, nothing, routed, v4};
use crate::macvlan::{INSIDE, MASTER};
use crate::row::{ADD, ADD_2, CHECK, DEL, DEL_2, Row, Step};

fn on(master: &str, name: &str, members: Value) -> Row {
    Row::new("ipvlan", name, harness::with(json!({"master": master}), members))
        .newer()
        .prepare(MASTER)
        .steps(&[ADD, CHECK, DEL])
}

fn row(name: &str, members: Value) -> Row {
    on("up0", name, members)
}

fn layer_3(name: &str) -> Row {
    row(name, json!({"ipam": dual()}))
}

pub(crate) fn links() -> Vec<Row> {
    let short = |name: &str, members: Value| row(name, members).steps(&[ADD, DEL]);
    vec![
        layer_3("both families").steps(&[ADD, CHECK, DEL, DEL]),
        layer_3("both families").version("0.2.0"),
        layer_3("both families").version("0.4.0"),
        layer_3("both families").version("1.1.0"),
        row("l3 mode", json!({"mode": "l3", "ipam": dual()})),
        row("l3s mode", json!({"mode": "l3s", "ipam": v4()})),
        short("an unknown mode", json!({"mode": "zz", "ipam": v4()})),
        row("an MTU", json!({"mtu": 1400, "ipam": v4()})),
        short("dns of the configuration", json!({"ipam": v4(), "dns": {"nameservers": ["10.1.0.53"]}})),
        row("routes", json!({"ipam": routed(json!([{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]))})),
        short("no IPAM", json!({})).rolls_back(),
        short("no address", json!({"ipam": nothing()})).rolls_back(),
        short("a route by an unreachable gateway", json!({"ipam": lost()}))
            .rolls_back()
            .differs(
                "a prefix is written as people write it, and the kernel says why it refuses the route",
                UNREACHABLE,
            )
            .leaks("and the lease is given back", &["- *: state node: file /var/lib/cni/networks/net/*"]),
    ]
}

pub(crate) fn masters() -> Vec<Row> {
    let default = |name: &str, members: Value| on("", name, members).steps(&[ADD, DEL]);
    let before = |interfaces: Value| {
        let ips = json!([{"address": "10.1.0.2/24", "gateway": "10.1.0.1"}]);
        json!({"cniVersion": "1.0.0", "interfaces": interfaces, "ips": ips, "routes": [{"dst": "0.0.0.0/0"}]})
    };
    let one = before(json!([{"name": "up0"}]));
    vec![
        default("the link of the default route", json!({"ipam": v4()})).prepare(
            "ip link add up0 type veth peer name far; ip link set up0 up; ip link set far up
            ip address add 192.0.2.1/24 dev up0; ip route add default via 192.0.2.2",
        ),
        default("no default route", json!({"ipam": v4()})).leaks("DEL needs no master", NEEDLESS),
        on("zork", "a master that is not there", json!({"ipam": v4()})).steps(&[ADD, DEL]),
        on("up0", "a master in the container", json!({"linkInContainer": true, "ipam": v4()})).prepare(INSIDE),
        default("the interface of the plugin before", json!({"prevResult": one})).steps(&[ADD]),
        default("two of them", json!({"prevResult": before(json!([{"name": "up0"}, {"name": "far"}]))})).steps(&[ADD]),
        row("addresses of the plugin before", json!({"prevResult": one})).steps(&[ADD]),
        row("pools beside those", json!({"prevResult": one, "ipam": v4()})).steps(&[ADD]),
    ]
}

pub(crate) fn lives() -> Vec<Row> {
    vec![
        layer_3("two containers").steps(&[ADD, ADD_2, DEL, DEL_2]),
        layer_3("ADD twice").steps(&[ADD, ADD, DEL]).leaks("a failed ADD leaves nothing of the attachment", TEMPORARY),
        layer_3("DEL with an empty netns").steps(&[ADD, Step::Blind("DEL"), DEL]),
        layer_3("DEL with a lost netns").steps(&[ADD, Step::Lost("DEL"), DEL]),
        layer_3("DEL of nothing").steps(&[DEL]),
        layer_3("DEL without the master").steps(&[ADD, Step::Shell("ip link delete up0"), DEL]),
        on("", "DEL without a default route", json!({"ipam": v4()}))
            .steps(&[DEL])
            .leaks("DEL needs no master", NEEDLESS),
    ]
}

pub(crate) fn checks() -> Vec<Row> {
    let after = |name: &str, script: &'static str| {
        let ipam = routed(json!([{"dst": "0.0.0.0/0"}]));
        row(&format!("CHECK {name}"), json!({"ipam": ipam})).steps(&[ADD, Step::Shell(script), CHECK])
    };
    vec![
        after("without an address", "ip -n c1 address delete 10.1.0.2/24 dev eth0"),
        after("without a default route", "ip -n c1 route delete default"),
        after("without the interface", "ip -n c1 link delete eth0"),
        after("without the master", "ip link delete up0"),
        after("of another kind", "ip -n c1 link delete eth0; ip -n c1 link add eth0 type veth peer name x"),
        after("of another mode", "ip -n c1 link set eth0 type ipvlan mode l3"),
        after("of a link that is down", "ip -n c1 link set eth0 down").found_down(),
        layer_3("CHECK without prevResult").steps(&[CHECK]),
    ]
}
