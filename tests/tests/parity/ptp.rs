//! Rows about ptp.

use serde_json::{Value, json};

use crate::differences::{HOST, UNREACHABLE};
use crate::ipam::{dual, v4, v6};
use crate::row::{ADD, ADD_2, CHECK, DEL, DEL_2, Row, Step};

fn fixed(addresses: Value) -> Value {
    json!({"type": "static", "addresses": addresses})
}

fn row(name: &str, ipam: Value) -> Row {
    Row::new("ptp", name, json!({"ipam": ipam})).steps(&[ADD, CHECK, DEL])
}

const FIRST: &str = "what can be refused is refused before anything is touched, and IPAM is asked last";

pub(crate) fn addresses() -> Vec<Row> {
    let dns = json!({"nameservers": ["10.1.0.53"], "domain": "a.test", "search": ["a.test"], "options": ["ndots:2"]});
    let from_file = json!({"type": "host-local", "subnet": "10.1.0.0/24", "resolvConf": "/run/resolv.conf"});
    let two = json!({"type": "host-local", "ranges": [[{"subnet": "10.1.0.0/24"}], [{"subnet": "10.2.0.0/24"}]]});
    let last = json!({"type": "host-local", "ranges": [[{"subnet": "10.1.0.0/24", "gateway": "10.1.0.254"}]]});
    vec![
        row("IPv4", v4()).steps(&[ADD, CHECK, DEL, DEL]),
        row("IPv6", v6()),
        row("two networks", two),
        row("a gateway that is not the first", last),
        row("a gateway outside the network", fixed(json!([{"address": "10.1.0.2/24", "gateway": "169.254.1.1"}]))),
        row("an address alone", fixed(json!([{"address": "10.1.0.2/32", "gateway": "169.254.1.1"}])))
            .steps(&[ADD, DEL])
            .rolls_back()
            .leaks(
                "an address alone has no route of the kernel's to delete",
                &[
                    r#"- *: answer.msg="failed to delete route *: no such process""#,
                    "- *: answer.code=999",
                    "- *: succeeded=false",
                    "+ *: succeeded=true",
                    "+ *: answer.*",
                    "+ *: state node: *",
                    "+ *: state c1: *",
                ],
            ),
        row("an MTU", dual()).with("mtu", json!(1400)),
        row("an MTU of zero", v4()).with("mtu", json!(0)).steps(&[ADD, DEL]),
        row("dns of the configuration", v4()).with("dns", dns).steps(&[ADD, DEL]),
        row("dns of IPAM", from_file.clone()).prepare("echo nameserver 10.1.0.53 >/run/resolv.conf").steps(&[ADD, DEL]),
        row("an empty list of name servers", from_file)
            .with("dns", json!({"nameservers": []}))
            .prepare("echo nameserver 10.1.0.53 >/run/resolv.conf")
            .steps(&[ADD, DEL]),
        row("masquerade", dual()).with("ipMasq", json!(true)).with("ipMasqBackend", json!("iptables")),
        row("two containers", dual()).steps(&[ADD, ADD_2, CHECK, DEL, DEL_2]),
    ]
}

pub(crate) fn versions() -> Vec<Row> {
    let mut rows: Vec<Row> =
        ["0.1.0", "0.3.1", "0.4.0"].iter().map(|version| row("both families", dual()).version(version)).collect();
    rows.push(row("no version", dual()).with("cniVersion", Value::Null).steps(&[ADD, DEL]));
    rows.push(row("both families", dual()).version("1.1.0").newer());
    rows
}

pub(crate) fn routes() -> Vec<Row> {
    let routes = |name: &str, routes: Value| {
        let mut ipam = dual();
        ipam["routes"] = routes;
        row(name, ipam)
    };
    vec![
        routes("default routes", json!([{"dst": "0.0.0.0/0"}, {"dst": "::/0"}])),
        routes("a route with a gateway", json!([{"dst": "192.168.0.0/16", "gw": "10.1.0.1"}])),
        routes("a route by an unreachable gateway", json!([{"dst": "192.168.0.0/16", "gw": "172.16.0.1"}]))
            .steps(&[ADD, DEL])
            .rolls_back()
            .differs(
                "a prefix is written as people write it, and the kernel says why it refuses the route",
                UNREACHABLE,
            ),
    ]
}

pub(crate) fn lives() -> Vec<Row> {
    vec![
        row("ADD twice", dual()).steps(&[ADD, ADD, DEL]).differs(
            FIRST,
            &[
                r#"- 2 *: answer.msg="failed to allocate for range 0: * duplicate allocation is not allowed""#,
                r#"+ 2 *: answer.msg="container veth name (\"eth0\") peer provided (\"veth(?)\") already exists""#,
            ],
        ),
        row("an interface that is there", v4())
            .prepare("ip -n c1 link add eth0 type veth peer name other")
            .steps(&[ADD])
            .leaks(FIRST, HOST),
        row("a used pool", json!({"type": "host-local", "subnet": "10.1.0.0/30"})).steps(&[ADD, ADD_2, DEL_2, DEL]),
        row("DEL with an empty netns", v4()).steps(&[ADD, Step::Blind("DEL"), DEL]).deletes_blindly(),
        row("DEL with a lost netns", v4()).steps(&[ADD, Step::Lost("DEL"), DEL]).deletes_blindly(),
        row("DEL of nothing", dual()).steps(&[DEL, Step::Blind("DEL"), Step::Lost("DEL")]),
        row("ADD with a lost netns", dual()).steps(&[Step::Lost("ADD")]).leaks(FIRST, HOST),
    ]
}

pub(crate) fn checks() -> Vec<Row> {
    let after = |name: &str, script: &'static str| {
        let mut ipam = dual();
        ipam["routes"] = json!([{"dst": "0.0.0.0/0"}]);
        row(&format!("CHECK {name}"), ipam).newer().steps(&[ADD, Step::Shell(script), CHECK])
    };
    vec![
        after("without an address", "ip -n c1 address delete 10.1.0.2/24 dev eth0"),
        after("without an IPv6 address", "ip -n c1 address delete fd00:1::2/64 dev eth0"),
        after("without a default route", "ip -n c1 route delete default"),
        after("without the interface", "ip -n c1 link delete eth0"),
        after("of another kind", "ip -n c1 link delete eth0; ip -n c1 link add eth0 type ifb"),
        after("of another MAC", "ip -n c1 link set eth0 address 0a:58:00:00:00:09"),
        after("of a link that is down", "ip -n c1 link set eth0 down").found_down(),
        after("without a lease", "rm /var/lib/cni/networks/net/10.1.0.2"),
        row("CHECK without prevResult", v4()).steps(&[CHECK]),
        row("CHECK of another interface", v4())
            .with(
                "prevResult",
                json!({"cniVersion": "1.0.0", "interfaces": [{"name": "eth1", "sandbox": "/run/netns/c1"}]}),
            )
            .steps(&[CHECK]),
    ]
}

pub(crate) fn refused() -> Vec<Row> {
    vec![
        Row::new("ptp", "no IPAM", json!({})),
        Row::new("ptp", "an IPAM plugin that is not there", json!({"ipam": {"type": "zork"}})),
        row("an address without a gateway", fixed(json!([{"address": "10.1.0.2/24"}])))
            .steps(&[ADD, DEL])
            .rolls_back()
            .leaks(FIRST, HOST)
            .differs(
                "what is missing is said",
                &[
                    r#"- *: answer.msg="failed to add IP addr (&net.IPNet*"#,
                    r#"+ *: answer.msg="the address 10.1.0.2/24 needs a gateway, and IPAM gave none""#,
                ],
            ),
        row("no address", fixed(json!([]))).steps(&[ADD, DEL]),
        row("an unknown back end", v4())
            .with("ipMasq", json!(true))
            .with("ipMasqBackend", json!("zork"))
            .newer()
            .steps(&[ADD])
            .rolls_back()
            .leaks(FIRST, HOST),
        row("an MTU that can not be", v4()).with("mtu", json!(7)).steps(&[ADD, DEL]).leaks(FIRST, HOST).differs(
            "the number that is wrong is said",
            &[
                r#"- *: answer.msg="failed to make veth pair: invalid argument""#,
                r#"+ *: answer.msg="invalid MTU 7 (must be between 68 and 65535)""#,
            ],
        ),
        row("an MTU of a wrong type", v4()).with("mtu", json!("big")).wrong_type(),
    ]
}
