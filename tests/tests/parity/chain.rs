//! What a chained plugin finds: the work of bridge, made with `ip` so that it is the same for both suites.

use harness::sh;
use serde_json::{Value, json};

use crate::row::Row;

const BRIDGE: &str = "
    link add br0 address 02:00:00:00:00:fe type bridge
    link set br0 up
    address add 10.1.0.1/24 dev br0
    address add fd00:1::1/64 dev br0 nodad
";

/// The veth pair of a container, seen from the node: `N` is the container's number, `A` the last byte of its addresses.
const PORT: &str = "
    link add veth0000000N address 02:00:00:00:01:0N type veth peer name eth0 address 02:00:00:00:02:0N netns cN
    link set veth0000000N master br0 up
";

const INSIDE: &str = "
    link set lo up
    link set eth0 up
    address add 10.1.0.A/24 dev eth0
    address add fd00:1::A/64 dev eth0 nodad
    route add default via 10.1.0.1
    route add ::/0 via fd00:1::1
";

/// The bridge takes a port a moment after its carrier has come.
const FORWARDING: &str = "until bridge link show dev veth0000000N | grep -q 'state forwarding'; do :; done";

/// Makes the bridge `br0` and joins the containers that the row is about to it.
pub(crate) fn set_the_stage(row: &Row) {
    let containers = if row.needs_c2() { 1..=2 } else { 1..=1 };
    let mut script = format!("ip -batch - <<E\n{BRIDGE}E\n");
    for number in containers {
        script += &format!("ip -batch - <<E\n{PORT}E\nip -n cN -batch - <<E\n{INSIDE}E\n{FORWARDING}\n")
            .replace('N', &number.to_string())
            .replace(".A/", &format!(".{}/", number + 1))
            .replace(":A/", &format!(":{}/", number + 1));
    }
    sh(&script);
}

/// What bridge has said about container `c1`.
pub(crate) fn previous() -> Value {
    json!({
        "cniVersion": "1.0.0",
        "interfaces": [
            {"name": "br0", "mac": "02:00:00:00:00:fe"},
            {"name": "veth00000001", "mac": "02:00:00:00:01:01"},
            {"name": "eth0", "mac": "02:00:00:00:02:01", "sandbox": "/run/netns/c1"},
        ],
        "ips": [
            {"address": "10.1.0.2/24", "gateway": "10.1.0.1", "interface": 2},
            {"address": "fd00:1::2/64", "gateway": "fd00:1::1", "interface": 2},
        ],
        "routes": [{"dst": "0.0.0.0/0", "gw": "10.1.0.1"}, {"dst": "::/0", "gw": "fd00:1::1"}],
        "dns": {"nameservers": ["10.1.0.53"]},
    })
}

/// The same in the shape of another version. Before 1.0.0 an address told its family.
pub(crate) fn of_version(mut previous: Value, version: &str) -> Value {
    if previous.is_null() {
        return previous;
    }
    previous["cniVersion"] = json!(version);
    for ip in previous["ips"].as_array_mut().into_iter().flatten().filter(|_| version < "1.0.0") {
        let family = if ip["address"].as_str().is_some_and(|address| address.contains(':')) { "6" } else { "4" };
        ip["version"] = json!(family);
    }
    previous
}

/// The same about another container.
pub(crate) fn about(previous: &Value, container: &str) -> Value {
    let text = previous.to_string();
    let text = match container {
        "c2" => text
            .replace("veth00000001", "veth00000002")
            .replace(":01\"", ":02\"")
            .replace("10.1.0.2/", "10.1.0.3/")
            .replace("fd00:1::2/", "fd00:1::3/")
            .replace("netns/c1", "netns/c2"),
        _ => text,
    };
    serde_json::from_str(&text).expect("JSON stays JSON")
}
