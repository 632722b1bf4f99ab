//! Rows about tap, which the Go suite has had since 1.3.

use serde_json::{Value, json};

use crate::differences::FOUND;
use crate::ipam::v4;
use crate::row::{ADD, CHECK, DEL, Row, Step};

fn row(name: &str, members: Value) -> Row {
    Row::new("tap", name, members).newer().steps(&[ADD, CHECK, DEL])
}

/// A temporary name that stays, when the device can't be finished.
const LEFT: &[&str] = &[
    "- *: state c1: link veth(*",
    "- *: state c1: sysctl net.*.conf.veth(*",
    "- *: state c1: link eth0 *",
    "- *: state c1: sysctl net.*.conf.eth0.*",
];
const LEAK: &str = "a failed ADD leaves nothing of the attachment";

const BRIDGE: &str = "ip -n c1 link add br0 type bridge; ip -n c1 link set br0 up";
/// The table takes each port of the Go suite's for one that was waited for.
const PORT: &[&str] = &[
    r#"- *: state c1: link eth0 linkinfo.info_slave_data.state="forwarding""#,
    r#"+ *: state c1: link eth0 linkinfo.info_slave_data.state="disabled""#,
];

pub(crate) fn devices() -> Vec<Row> {
    let mac = "0a:58:00:00:00:07";
    let short = |name: &str, members: Value| row(name, members).steps(&[ADD, DEL]);
    vec![
        row("nothing", json!({})).steps(&[ADD, CHECK, DEL, DEL]),
        short("several queues", json!({"multiQueue": true})),
        short("an owner", json!({"owner": 1000})),
        short("a group", json!({"group": 0})),
        short("an owner and a group", json!({"owner": 1000, "group": 1001})),
        short("an owner, a group and several queues", json!({"owner": 0, "group": 0, "multiQueue": true})),
        short("an MTU and a MAC", json!({"mtu": 1300, "mac": mac})),
        short("an MTU, a MAC, an owner and a group", json!({"mtu": 1300, "mac": mac, "owner": 1, "group": 1})).differs(
            "what is asked for is given, whoever owns the device",
            &[
                r#"- *: answer.interfaces[0].mac="mac(own)""#,
                r#"+ *: answer.interfaces[0].mac="0a:58:00:00:00:07""#,
                "- *: state c1: link eth0 mtu=1500",
                "+ *: state c1: link eth0 mtu=1300",
                "- *: state c1: link eth0 address=mac(own)",
                "+ *: state c1: link eth0 address=0a:58:00:00:00:07",
                "- *: state c1: sysctl net.ipv6.conf.eth0.mtu=1500",
                "+ *: state c1: sysctl net.ipv6.conf.eth0.mtu=1300",
            ],
        ),
        short("a MAC by CNI_ARGS", json!({"mac": mac})).env("CNI_ARGS", "MAC=0a:58:00:00:00:08"),
        short("a MAC by runtimeConfig", json!({"mac": mac, "runtimeConfig": {"mac": "0a:58:00:00:00:09"}}))
            .env("CNI_ARGS", "IgnoreUnknown=1;MAC=0a:58:00:00:00:08"),
    ]
}

pub(crate) fn refused() -> Vec<Row> {
    let refused = |name: &str, members: Value| row(name, members).steps(&[ADD]);
    vec![
        refused("an MTU that can not be", json!({"mtu": 7})).leaks(LEAK, LEFT).differs(
            "no process that prints it",
            &[
                r#"- *: answer.msg="failed to run command Error: mtu less than device minimum.\n: exit status 2""#,
                r#"+ *: answer.msg="invalid MTU 7 (must be between 68 and 65535)""#,
            ],
        ),
        refused("a MAC that is none", json!({"mac": "zz"})).leaks(LEAK, LEFT).differs(
            "no process that prints it",
            &[
                r#"- *: answer.msg="failed to run command \"zz\" is invalid lladdr.\n: exit status 1""#,
                r#"+ *: answer.msg="invalid args zz for MAC addr: address zz: invalid MAC address""#,
            ],
        ),
        refused("a label without SELinux", json!({"selinuxContext": "system_u:system_r:container_t:s0"})).differs(
            "the device, not the path of a call that Go makes in another way",
            &[
                r#"- *: answer.msg="failed set socket label: write *attr/exec: invalid argument""#,
                r#"+ *: answer.msg="failed to create tap \"eth0\": failed set socket label: invalid argument""#,
            ],
        ),
        row("a bridge", json!({"bridge": "br0"})).prepare(BRIDGE).leaks("without a reader there is no carrier", PORT),
        refused("a bridge that is not there", json!({"bridge": "br0"})).leaks(LEAK, LEFT),
        refused("a bridge that is none", json!({"bridge": "br0"}))
            .prepare("ip -n c1 link add br0 type veth peer name x")
            .leaks(LEAK, LEFT)
            .differs(
                "what can be refused is refused before anything is touched",
                &[
                    r#"- *: answer.msg="failed to set tap eth0 as a port of bridge br0: operation not supported""#,
                    r#"+ *: answer.msg="failed to get bridge br0: br0 is no bridge""#,
                ],
            ),
        refused("an owner of a wrong type", json!({"owner": "root"})).wrong_type(),
        refused("an IPAM plugin that is not there", json!({"ipam": {"type": "zork"}})).rolls_back(),
    ]
}

pub(crate) fn lives() -> Vec<Row> {
    let layer_3 = |name: &str| row(name, json!({"ipam": v4()}));
    let (mut routed, mut lost) = (v4(), v4());
    routed["routes"] = json!([{"dst": "0.0.0.0/0"}]);
    lost["routes"] = json!([{"dst": "192.168.0.0/16", "gw": "172.16.0.1"}]);
    let v6 = json!({"type": "host-local", "ranges": [[{"subnet": "fd00:1::/64"}]]});
    let mut rows: Vec<Row> =
        ["0.1.0", "0.3.1", "0.4.0", "1.1.0"].iter().map(|version| layer_3("IPv4").version(version)).collect();
    rows.extend([
        row("IPv6", json!({"ipam": v6})).steps(&[ADD, DEL]).leaks(
            "without detection an address is not tentative until a carrier comes",
            &[
                r#"- *: state c1: address eth0 *"tentative":true*"#,
                r#"+ *: state c1: address eth0 {"family":"inet6"*"#,
                r#"+ *: state c1: route *{"type":"local","dst":"fd00:1::2"*"#,
            ],
        ),
        row("a route and dns", json!({"ipam": routed, "dns": {"nameservers": ["10.1.0.53"]}})),
        row("a route by an unreachable gateway", json!({"ipam": lost})).steps(&[ADD, DEL]).rolls_back().differs(
            "a prefix is written as people write it, and the kernel says why it refuses the route",
            &[r#"- *: answer.msg="failed to add route '{*"#, r#"+ *: answer.msg="failed to add route '192.*"#],
        ),
        layer_3("ADD twice").steps(&[ADD, ADD]).leaks(LEAK, LEFT).differs(
            "what can be refused is refused before anything is touched",
            &[
                r#"- 2 *: answer.msg="failed to allocate for range 0: *"#,
                r#"+ 2 *: answer.msg="failed to rename tap to \"eth0\": file exists""#,
            ],
        ),
        layer_3("an interface that is there")
            .prepare("ip -n c1 link add eth0 type veth peer name x")
            .steps(&[ADD])
            .leaks(
                "a link of somebody else's is not adopted",
                &[
                    r#"+ *: answer.msg="failed to rename tap to \"eth0\": file exists""#,
                    "+ *: answer.code=999",
                    "+ *: succeeded=false",
                    "- *: succeeded=true",
                    "- *: answer.*",
                    "- *: state *",
                    "+ *: state c1: sysctl *",
                    "+ *: state c1: link eth0 *",
                ],
            ),
        layer_3("DEL with an empty netns").steps(&[ADD, Step::Blind("DEL"), DEL]),
        layer_3("DEL with a lost netns").steps(&[ADD, Step::Lost("DEL"), DEL]),
        layer_3("DEL of nothing").steps(&[DEL, Step::Blind("DEL"), Step::Lost("DEL")]),
    ]);
    rows
}

pub(crate) fn checks() -> Vec<Row> {
    let after = |name: &str, script: &'static str| {
        row(&format!("CHECK {name}"), json!({"ipam": v4()})).steps(&[ADD, Step::Shell(script), CHECK])
    };
    vec![
        row("CHECK without prevResult", json!({"ipam": v4()})).steps(&[CHECK]),
        after("without an address", "ip -n c1 address delete 10.1.0.2/24 dev eth0"),
        after("without the interface", "ip -n c1 link delete eth0"),
        after(
            "of another kind",
            "ip -n c1 link delete eth0; ip -n c1 link add eth0 type ifb
            ip -n c1 address add 10.1.0.2/24 dev eth0; ip -n c1 link set eth0 up",
        )
        .differs("CHECK looks at the kind", FOUND),
        after("of another MAC", "ip -n c1 link set eth0 address 0a:58:00:00:00:09")
            .differs("CHECK looks at the address", FOUND),
    ]
}
