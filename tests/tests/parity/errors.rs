//! Rows about calls that are refused at the door.

use serde_json::json;

use crate::row::{ADD, CHECK, DEL, Row, Step};

pub(crate) fn rows() -> Vec<Row> {
    let mut rows = environment();
    rows.extend(inputs());
    rows.extend(delegation());
    rows
}

fn bridge(name: &str) -> Row {
    let ipam = json!({"type": "host-local", "subnet": "10.1.0.0/24"});
    Row::bridge(name, json!({"isGateway": true, "ipam": ipam})).steps(&[ADD, CHECK, DEL])
}

fn environment() -> Vec<Row> {
    vec![
        bridge("all variables missing")
            .without("CNI_CONTAINERID")
            .without("CNI_NETNS")
            .without("CNI_IFNAME")
            .without("CNI_PATH"),
        bridge("no container").without("CNI_CONTAINERID"),
        bridge("an empty container").env("CNI_CONTAINERID", ""),
        bridge("a path as container").env("CNI_CONTAINERID", "../x"),
        bridge("no interface").without("CNI_IFNAME"),
        bridge("an interface of 16 bytes").env("CNI_IFNAME", "abcdefghijklmnop"),
        bridge("a path as interface").env("CNI_IFNAME", "../x"),
        bridge("two dots as interface").env("CNI_IFNAME", ".."),
        bridge("a colon in the interface").env("CNI_IFNAME", "eth0:1"),
        bridge("a blank in the interface").env("CNI_IFNAME", "eth 0"),
        bridge("no path").without("CNI_PATH"),
        bridge("a netns that is missing").env("CNI_NETNS", "/run/netns/missing").steps(&[DEL]),
        bridge("a netns that is a file").env("CNI_NETNS", "/etc/passwd").steps(&[DEL]),
        bridge("an unknown verb").steps(&[Step::Call("FOO", "c1")]),
        bridge("GC in an old version").steps(&[Step::Call("GC", "c1")]),
    ]
}

fn inputs() -> Vec<Row> {
    vec![
        bridge("not JSON").stdin("zork"),
        bridge("nothing").stdin(""),
        bridge("half of an object").stdin(r#"{"cniVersion": "1.0.0", "name": "net""#),
        bridge("a list").stdin("[]"),
        bridge("a string").stdin(r#""net""#),
        bridge("a number as name").with("name", json!(7)),
        bridge("no name").with("name", json!(null)),
        bridge("an empty name").with("name", json!("")),
        bridge("a path as name").with("name", json!("../x")),
        bridge("an unknown version").with("cniVersion", json!("9.1.0")),
        bridge("a version that is none").with("cniVersion", json!("zork")),
        bridge("a number as version").with("cniVersion", json!(1)),
        bridge("a string as MTU").with("mtu", json!("1400")),
        bridge("a fraction as VLAN").with("vlan", json!(1.5)),
        bridge("a string as flag").with("isGateway", json!("yes")),
        bridge("a list as ipam").with("ipam", json!([])),
        bridge("a number as type of ipam").with("ipam", json!({"type": 7})),
        bridge("a number as nameserver").with("dns", json!({"nameservers": [7]})),
        bridge("args that are none").env("CNI_ARGS", "K8S_POD"),
        bridge("unknown args").env("CNI_ARGS", "K8S_POD=foo"),
        bridge("another letter case").stdin(r#"{"CNIVERSION": "1.0.0", "Name": "net", "BRIDGE": "br0", "Ipam": {"TYPE": "host-local", "Subnet": "10.1.0.0/24"}}"#),
        bridge("keys that are there twice").stdin(r#"{"cniVersion": "1.0.0", "name": "zork/", "name": "net", "bridge": "br1", "bridge": "br0"}"#),
    ]
}

fn delegation() -> Vec<Row> {
    vec![
        bridge("an IPAM plugin that is missing").with("ipam", json!({"type": "nope"})),
        bridge("a path as IPAM plugin").with("ipam", json!({"type": "../x"})),
        bridge("an error of the IPAM plugin").with("ipam", json!({"type": "host-local", "subnet": "10.1.0.0/31"})),
    ]
}
