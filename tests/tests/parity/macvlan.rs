//! Rows about macvlan.

use serde_json::{Value, json};

use crate::differences::UNREACHABLE;
use crate::ipam::{dual, v4};
use crate::row::{ADD, ADD_2, CHECK, DEL, DEL_2, Row, Step};

/// A link of the node's that carries packets.
pub(crate) const MASTER: &str = "ip -batch - <<END
link add up0 type veth peer name far
link set up0 up
link set far up
END";

/// The same in the container.
pub(crate) const INSIDE: &str =
    "ip -n c1 link add up0 type veth peer name far; ip -n c1 link set up0 up; ip -n c1 link set far up";

fn on(master: &str, name: &str, members: Value) -> Row {
    let mut config = json!({"master": master});
    config.as_object_mut().expect("an object").extend(members.as_object().expect("an object").clone());
    Row::new("macvlan", name, config).newer().prepare(MASTER).steps(&[ADD, CHECK, DEL])
}

fn row(name: &str, members: Value) -> Row {
    on("up0", name, members)
}

fn layer_3(name: &str) -> Row {
    row(name, json!({"ipam": dual()}))
}

pub(crate) fn modes() -> Vec<Row> {
    vec![
        row("nothing but a master", json!({})).steps(&[ADD, CHECK, DEL, DEL]),
        row("bridge mode", json!({"mode": "bridge"})).steps(&[ADD, DEL]),
        row("private mode", json!({"mode": "private"})).steps(&[ADD, DEL]),
        row("vepa mode", json!({"mode": "vepa", "ipam": v4()})),
        row("passthru mode", json!({"mode": "passthru", "ipam": v4()})),
        row("two containers by passthru", json!({"mode": "passthru"})).steps(&[ADD, ADD_2, DEL, ADD_2, DEL_2]),
        row("an unknown mode", json!({"mode": "zz"})).steps(&[ADD, DEL]),
        row("a queue for broadcasts", json!({"bcqueuelen": 2000})),
        row("a queue of the default length", json!({"bcqueuelen": 0})).steps(&[ADD, DEL]),
    ]
}

pub(crate) fn members() -> Vec<Row> {
    let mac = "0a:58:00:00:00:07";
    let dns = json!({"nameservers": ["10.1.0.53"], "domain": "a.test"});
    let from_file = json!({"type": "host-local", "subnet": "10.1.0.0/24", "resolvConf": "/run/resolv.conf"});
    let short = |name: &str, members: Value| row(name, members).steps(&[ADD, DEL]);
    vec![
        row("an MTU", json!({"mtu": 1400})),
        short("the master's MTU", json!({"mtu": 1500})),
        short("an MTU beyond the master's", json!({"mtu": 9000})),
        short("an MTU below zero", json!({"mtu": -1})),
        short("an MTU of a wrong type", json!({"mtu": "big"})).wrong_type(),
        short("an MTU that can not be", json!({"mtu": 7})).differs(
            "the kernel says why",
            &[
                r#"- *: answer.msg="failed to create macvlan: invalid argument""#,
                r#"+ *: answer.msg="failed to create macvlan: invalid argument (mtu less than device minimum)""#,
            ],
        ),
        row("a MAC", json!({"mac": mac})),
        short("a MAC by CNI_ARGS", json!({"mac": mac})).env("CNI_ARGS", "MAC=0a:58:00:00:00:08"),
        short("a MAC by runtimeConfig", json!({"mac": mac, "runtimeConfig": {"mac": "0a:58:00:00:00:09"}}))
            .env("CNI_ARGS", "IgnoreUnknown=1;K8S_POD_NAME=p;MAC=0a:58:00:00:00:08"),
        short("a MAC that is none", json!({"mac": "zz"})),
        short("a MAC of a group", json!({"mac": "01:00:5e:00:00:01"})).differs(
            "what can be refused is refused before anything is touched",
            &[
                r#"- *: answer.msg="failed to create macvlan: cannot assign requested address""#,
                r#"+ *: answer.msg="invalid args 01:00:5e:00:00:01 for MAC addr: *"#,
            ],
        ),
        short("dns of the configuration", json!({"ipam": v4(), "dns": dns})),
        short("dns of IPAM", json!({"ipam": from_file})).prepare(
            "ip link add up0 type veth peer name far; ip link set up0 up; ip link set far up
            echo nameserver 10.1.0.53 >/run/resolv.conf",
        ),
    ]
}

const TENTATIVE: &[&str] = &[
    r#"- *: state c1: address eth0 *"tentative":true*"#,
    r#"+ *: state c1: address eth0 {"family":"inet6"*"#,
    r#"+ *: state c1: route *{"type":"local","dst":"fd00:1::2"*"#,
];

pub(crate) fn masters() -> Vec<Row> {
    let default = |name: &str, members: Value| on("", name, members).steps(&[ADD, DEL]);
    let inside = |master: &str, name: &str| {
        on(master, name, json!({"linkInContainer": true, "ipam": v4()})).prepare(INSIDE).steps(&[ADD, DEL])
    };
    let unlike = |name: &str| {
        layer_3(name).differs("without detection an address is not tentative until a carrier comes", TENTATIVE)
    };
    vec![
        default("the link of the default route", json!({"ipam": v4()})).prepare(
            "ip link add up0 type veth peer name far; ip link set up0 up; ip link set far up
            ip address add 192.0.2.1/24 dev up0; ip route add default via 192.0.2.2",
        ),
        default("the link of the IPv6 default route", json!({})).prepare(
            "ip link add up0 type veth peer name far; ip link set up0 up; ip link set far up
            ip address add 2001:db8::1/64 dev up0 nodad; ip route add default via 2001:db8::2",
        ),
        default("no default route", json!({"ipam": v4()})),
        on("zork", "a master that is not there", json!({"ipam": v4()})).steps(&[ADD, DEL]),
        inside("up0", "a master in the container").steps(&[ADD, CHECK, DEL]),
        inside("zork", "a master that is not in the container"),
        inside("", "no default route in the container"),
        inside("", "the default route in the container").prepare(
            "ip -n c1 link add up0 type veth peer name far; ip -n c1 link set up0 up; ip -n c1 link set far up
            ip -n c1 address add 192.0.2.1/24 dev up0; ip -n c1 route add default via 192.0.2.2",
        ),
        unlike("a master that is down").prepare("ip link add up0 type veth peer name far"),
    ]
}

const ALONE: &[&str] = &["- *: state node: link up0 promiscuity=1", "+ *: state node: link up0 promiscuity=0"];

pub(crate) fn addresses() -> Vec<Row> {
    let short = |name: &str, members: Value| row(name, members).steps(&[ADD, DEL]);
    let (mut routed, mut lost) = (dual(), dual());
    routed["routes"] = json!([{"dst": "0.0.0.0/0"}, {"dst": "::/0"}, {"dst": "192.168.0.0/16", "gw": "10.1.0.9"}]);
    lost["routes"] = json!([{"dst": "192.168.0.0/16", "gw": "172.16.0.1"}]);
    let alone = json!({"ipam": {"type": "static", "addresses": [{"address": "10.1.0.2/32"}]}});
    let versions = ["0.1.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];
    let mut rows: Vec<Row> = versions.iter().map(|version| layer_3("both families").version(version)).collect();
    rows.extend([
        row("routes", json!({"ipam": routed})),
        short("a route by an unreachable gateway", json!({"ipam": lost}))
            .rolls_back()
            .leaks("and nothing on the master", ALONE)
            .differs(
                "a prefix is written as people write it, and the kernel says why it refuses the route",
                UNREACHABLE,
            ),
        row("an address alone", alone).differs(
            "an address alone is in no network that there could be a route to",
            &[
                "- *: answer.code=999",
                r#"- *: answer.msg="Failed to find Gateway <nil> for interface eth0""#,
                "- *: succeeded=false",
                "+ *: succeeded=true",
            ],
        ),
        short("no address", json!({"ipam": {"type": "static"}})).rolls_back(),
        short("an IPAM plugin that is not there", json!({"ipam": {"type": "zork"}})).rolls_back(),
        short("no addresses in 0.2.0", json!({"cniVersion": "0.2.0"}))
            .rolls_back()
            .leaks("and nothing on the master", ALONE),
    ]);
    rows
}

pub(crate) fn lives() -> Vec<Row> {
    vec![
        layer_3("two containers").steps(&[ADD, ADD_2, CHECK, DEL, DEL_2]),
        layer_3("ADD twice").steps(&[ADD, ADD, DEL]),
        row("ADD twice without addresses", json!({})).steps(&[ADD, ADD, DEL]),
        layer_3("DEL with an empty netns").steps(&[ADD, Step::Blind("DEL"), DEL]),
        layer_3("DEL with a lost netns").steps(&[ADD, Step::Lost("DEL"), DEL]),
        layer_3("DEL of nothing").steps(&[DEL, Step::Blind("DEL"), Step::Lost("DEL")]),
        layer_3("ADD with a lost netns").steps(&[Step::Lost("ADD")]).differs(
            "a slip of the peer's formatting",
            &[
                r#"- *: answer.msg="failed to open netns %!q(<nil>): failed to Statfs *"#,
                r#"+ *: answer.msg="failed to open netns \"/run/netns/lost\": failed to Statfs *"#,
            ],
        ),
        layer_3("DEL without the master").steps(&[ADD, Step::Shell("ip link delete up0"), DEL, DEL]),
        row("a used pool", json!({"ipam": {"type": "host-local", "subnet": "10.1.0.0/30"}}))
            .steps(&[ADD, ADD_2, DEL_2, DEL])
            .leaks("a failed ADD leaves nothing of the attachment", &["- *: state c2: *"]),
    ]
}

pub(crate) fn checks() -> Vec<Row> {
    let after = |name: &str, script: &'static str| {
        let mut ipam = dual();
        ipam["routes"] = json!([{"dst": "0.0.0.0/0"}]);
        row(&format!("CHECK {name}"), json!({"ipam": ipam})).steps(&[ADD, Step::Shell(script), CHECK])
    };
    let other = json!({"cniVersion": "1.0.0", "interfaces": [{"name": "eth1", "sandbox": "/run/netns/c1"}]});
    vec![
        after("without an address", "ip -n c1 address delete 10.1.0.2/24 dev eth0"),
        after("without a default route", "ip -n c1 route delete default"),
        after("without the interface", "ip -n c1 link delete eth0"),
        after("without the master", "ip link delete up0"),
        after("of another kind", "ip -n c1 link delete eth0; ip -n c1 link add eth0 type veth peer name x"),
        after("of another mode", "ip -n c1 link set eth0 type macvlan mode vepa"),
        after("of another MAC", "ip -n c1 link set eth0 address 0a:58:00:00:00:09"),
        after("of a link that is down", "ip -n c1 link set eth0 down").found_down(),
        layer_3("CHECK without prevResult").steps(&[CHECK]),
        layer_3("CHECK of another interface").with("prevResult", other).steps(&[CHECK]),
    ]
}
