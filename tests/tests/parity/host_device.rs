//! Rows about host-device. The device is an end of a veth pair; what a physical one does is a story for a virtual
//! machine.

use serde_json::{Value, json};

use crate::differences::{GONE, UNREACHABLE};
use crate::ipam::dual;
use crate::row::{ADD, ADD_2, CHECK, DEL, DEL_2, Row, Step};

/// The node's own view of its devices is mounted too.
const DEVICE: &str = "
    ip link add dev0 address 02:00:00:00:00:05 type veth peer name far
    ip link set far up
    mount -t sysfs sys /sys";

fn row(name: &str, members: Value) -> Row {
    Row::new("host-device", name, members).newer().prepare(DEVICE).steps(&[ADD, CHECK, DEL])
}

fn lent(name: &str) -> Row {
    row(name, json!({"device": "dev0", "ipam": dual()}))
}

const NOTHING: &str = "what was never lent is not missing";

/// A device that DEL takes home, where the Go suite leaves it in the container.
const AT_HOME: &[&str] = &[
    "- *DEL*: state c1: link eth0 *",
    "- *DEL*: state c1: address eth0 *",
    r#"- *DEL*: state c1: route *"dev":"eth0"*"#,
    "- *DEL*: state c1: sysctl net.*.conf.eth0.*",
    "+ *DEL*: state node: link dev0 *",
    // The peer of the device shows who it is connected with, when both are in one namespace.
    r#"+ *DEL*: state node: link far link="dev0""#,
    "+ *DEL*: state node: sysctl net.*.conf.dev0.*",
];

pub(crate) fn devices() -> Vec<Row> {
    vec![
        row("by name", json!({"device": "dev0"})).steps(&[ADD, CHECK, DEL, DEL]).leaks("DEL twice is fine", GONE),
        row("by address", json!({"hwaddr": "02:00:00:00:00:05"})),
        row("by address in other letters", json!({"hwaddr": "02-00-00-00-00-05"})).steps(&[ADD, DEL]),
        row("by its directory", json!({"kernelpath": "/sys/devices/virtual"})),
        row("by name and address", json!({"device": "dev0", "hwaddr": "02:00:00:00:00:99"})).steps(&[ADD, DEL]),
        row("in the hands of user space", json!({"device": "dev0", "DPDKMode": true})),
        row("in the hands of user space, with addresses", json!({"device": "dev0", "DPDKMode": true, "ipam": dual()})),
    ]
}

pub(crate) fn refused() -> Vec<Row> {
    let refused = |name: &str, members: Value| row(name, members).steps(&[ADD]);
    vec![
        refused("by nothing", json!({})),
        refused("a name that is not there", json!({"device": "zork"})),
        refused("an address that is not there", json!({"hwaddr": "02:00:00:00:00:99"})),
        refused("an address that is none", json!({"hwaddr": "zz"})),
        refused("a directory that is not there", json!({"kernelpath": "/sys/devices/zork"})),
        refused("a directory elsewhere", json!({"kernelpath": "/tmp"})),
        refused("a PCI address that is not there", json!({"pciBusID": "0000:zz:00.0"})),
        row("an id that is not there", json!({"runtimeConfig": {"deviceID": "0000:zz:00.0"}})).leaks(
            NOTHING,
            &[
                "- *DEL*: answer.code=999",
                r#"- *DEL*: answer.msg="runtime config DeviceID 0000:zz:00.0 not found or unsupported""#,
                "- *DEL*: succeeded=false",
                "+ *DEL*: succeeded=true",
            ],
        ),
        refused("an IPAM plugin that is not there", json!({"device": "dev0", "ipam": {"type": "zork"}}))
            .leaks("the device comes home when ADD fails", &["- *: state c1: *", "+ *: state node: *"]),
        lent("an interface that is there")
            .prepare(
                "ip link add dev0 address 02:00:00:00:00:05 type veth peer name far
                ip -n c1 link add eth0 type veth peer name x",
            )
            .steps(&[ADD]),
    ]
}

pub(crate) fn lives() -> Vec<Row> {
    let mut lost = dual();
    lost["routes"] = json!([{"dst": "192.168.0.0/16", "gw": "172.16.0.1"}]);
    let mut rows: Vec<Row> =
        ["0.1.0", "0.3.1", "0.4.0", "1.1.0"].iter().map(|version| lent("both families").version(version)).collect();
    rows.extend([
        lent("dns").with("dns", json!({"nameservers": ["10.1.0.53"]})).steps(&[ADD, DEL]),
        row("dns without addresses", json!({"device": "dev0", "dns": {"nameservers": ["10.1.0.53"]}}))
            .steps(&[ADD, DEL]),
        lent("under its own name").env("CNI_IFNAME", "dev0"),
        lent("a device that is up, with addresses")
            .prepare(
                "ip link add dev0 address 02:00:00:00:00:05 type veth peer name far; ip link set far up
                ip link set dev0 up; ip address add 192.0.2.1/24 brd + dev dev0
                ip address add 2001:db8::1/64 dev dev0 nodad",
            )
            .leaks(
                "a device comes home as it was",
                &[
                    "- *DEL*: state node: link dev0 flags=BROADCAST,MULTICAST",
                    "+ *DEL*: state node: link dev0 flags=BROADCAST,MULTICAST,UP",
                    "+ *DEL*: state node: address dev0 *",
                    r#"+ *DEL*: state node: route *"dev":"dev0"*"#,
                    "+ *DEL*: state node: sysctl net.*.conf.dev0.*",
                    "- *DEL*: state node: sysctl net.*.conf.dev0.*",
                ],
            ),
        row("a route by an unreachable gateway", json!({"device": "dev0", "ipam": lost}))
            .steps(&[ADD, DEL])
            .leaks("the device comes home when ADD fails", &["- *ADD*: state c1: *", "+ *ADD*: state node: *"])
            .differs(
                "a prefix is written as people write it, and the kernel says why it refuses the route",
                UNREACHABLE,
            ),
        lent("ADD twice").steps(&[ADD, ADD, DEL]),
        lent("a device that another has").steps(&[ADD, ADD_2, DEL_2, DEL]).leaks(NOTHING, GONE),
        lent("DEL of nothing").steps(&[DEL, Step::Blind("DEL")]).leaks(NOTHING, GONE),
        lent("DEL of a link that is no device")
            .prepare("ip -n c1 link add eth0 type veth peer name x")
            .steps(&[DEL])
            .leaks("a lease stays as long as a link may have the address", &["- *: state node: * /var/lib/cni/*"]),
        lent("another link of its name")
            .steps(&[
                ADD,
                Step::Shell("ip link add dev0 type veth peer name y"),
                DEL,
                Step::Shell("ip link delete dev0"),
                DEL,
            ])
            .leaks(
                "a lease stays as long as a link may have the address",
                &["+ *: state node: file /var/lib/cni/networks/net/*", "+ *: state c1: *"],
            ),
    ]);
    rows.extend(blind());
    rows
}

/// DEL that is not told where the device is.
fn blind() -> [Row; 2] {
    [
        lent("DEL with an empty netns")
            .steps(&[ADD, Step::Blind("DEL"), DEL])
            .differs(
                "a lease is released without a namespace too",
                &["- *: state node: file /var/lib/cni/networks/net/10.1.0.2 *", "- *: state node: file *fd00:1::2 *"],
            )
            .leaks("the record says where the device is", AT_HOME),
        lent("DEL with a lost netns")
            .steps(&[ADD, Step::Lost("DEL"), DEL])
            .differs(
                "a namespace that is gone is no reason to keep a lease",
                &[
                    "- *: state node: file /var/lib/cni/networks/net/10.1.0.2 *",
                    "- *: state node: file *fd00:1::2 *",
                    "- *: answer.code=999",
                    r#"- *: answer.msg="failed to open netns *"#,
                    "- *: succeeded=false",
                    "+ *: succeeded=true",
                ],
            )
            .leaks("the record says where the device is", AT_HOME),
    ]
}

pub(crate) fn checks() -> Vec<Row> {
    let after =
        |name: &str, script: &'static str| lent(&format!("CHECK {name}")).steps(&[ADD, Step::Shell(script), CHECK]);
    vec![
        lent("CHECK without prevResult").steps(&[CHECK]),
        after("without an address", "ip -n c1 address delete 10.1.0.2/24 dev eth0"),
        after("without the device", "ip -n c1 link delete eth0"),
        after("of another MAC", "ip -n c1 link set eth0 address 0a:58:00:00:00:09"),
        after("of a device that is down", "ip -n c1 link set eth0 down").found_down(),
    ]
}
