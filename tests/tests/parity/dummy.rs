//! Rows about dummy, for a stock kernel in the virtual machine.

use serde_json::{Value, json};

use crate::differences::UNREACHABLE;
use crate::ipam::{dual, lost, nothing, routed, v4};
use crate::row::{ADD, CHECK, DEL, Row, Step};

fn row(name: &str, ipam: Value) -> Row {
    Row::new("dummy", name, json!({"ipam": ipam})).newer().steps(&[ADD, CHECK, DEL])
}

pub(crate) fn links() -> Vec<Row> {
    let from_file = json!({"type": "host-local", "subnet": "10.1.0.0/24", "resolvConf": "/run/resolv.conf"});
    vec![
        row("both families", dual()).steps(&[ADD, CHECK, DEL, DEL]),
        row("both families", dual()).version("0.2.0"),
        row("both families", dual()).version("0.4.0"),
        row("both families", dual()).version("1.1.0"),
        row("routes", routed(json!([{"dst": "192.168.0.0/16"}, {"dst": "fd09::/64"}]))),
        row("dns of IPAM", from_file)
            .with("dns", json!({"nameservers": ["10.9.9.9"]}))
            .prepare("echo nameserver 10.1.0.53 >/run/resolv.conf")
            .steps(&[ADD, DEL]),
        row("an address alone", json!({"type": "static", "addresses": [{"address": "10.1.0.2/32"}]}))
            .steps(&[ADD, DEL]),
        row("no IPAM", json!({})).steps(&[ADD, CHECK]),
        row("no address", nothing()).steps(&[ADD, DEL]).rolls_back(),
        row("a route by an unreachable gateway", lost()).steps(&[ADD, DEL]).differs(
            "a prefix is written as people write it, and the kernel says why it refuses the route",
            UNREACHABLE,
        ),
    ]
}

pub(crate) fn lives() -> Vec<Row> {
    let after = |name: &str, script: &'static str| {
        row(&format!("CHECK {name}"), v4()).steps(&[ADD, Step::Shell(script), CHECK])
    };
    vec![
        row("ADD twice", dual()).steps(&[ADD, ADD, DEL]),
        row("DEL with an empty netns", v4()).steps(&[ADD, Step::Blind("DEL"), DEL]),
        row("DEL with a lost netns", v4()).steps(&[ADD, Step::Lost("DEL"), DEL]),
        row("DEL of nothing", v4()).steps(&[DEL]),
        after("without an address", "ip -n c1 address delete 10.1.0.2/24 dev eth0"),
        after("without the interface", "ip -n c1 link delete eth0"),
        after("of another kind", "ip -n c1 link delete eth0; ip -n c1 link add eth0 type ifb"),
        after("of another MAC", "ip -n c1 link set eth0 address 0a:58:00:00:00:09"),
        after("of a link that is down", "ip -n c1 link set eth0 down"),
        row("CHECK without prevResult", v4()).steps(&[CHECK]),
    ]
}
