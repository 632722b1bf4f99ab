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
        bridge("GC in an old version").steps(&[Step::Call("GC", "c1")]).differs(
            "GC came with 1.1.0, which the peer does not know",
            &[
                "- *: answer.code=4",
                r#"- *: answer.msg="unknown CNI_COMMAND: GC""#,
                "+ *: answer.code=1",
                r#"+ *: answer.msg="config version does not allow GC""#,
            ],
        ),
    ]
}

fn inputs() -> Vec<Row> {
    vec![
        bridge("not JSON").stdin("zork").differs(
            "each parser has words of its own",
            &["- *: answer.msg=\"error unmarshall network config: invalid character *", "+ *: answer.msg=\"error unmarshall network config: expected *"],
        ),
        bridge("nothing").stdin(""),
        bridge("half of an object").stdin(r#"{"cniVersion": "1.0.0", "name": "net""#),
        bridge("a list").stdin("[]").wrong_type(),
        bridge("a string").stdin(r#""net""#).wrong_type(),
        bridge("a number as name").with("name", json!(7)).wrong_type(),
        bridge("no name").with("name", json!(null)),
        bridge("an empty name").with("name", json!("")),
        bridge("a path as name").with("name", json!("../x")),
        bridge("an unknown version").with("cniVersion", json!("9.1.0")),
        bridge("a version that is none").with("cniVersion", json!("zork")),
        bridge("a number as version").with("cniVersion", json!(1)).wrong_type(),
        bridge("a string as MTU").with("mtu", json!("1400")).wrong_type(),
        bridge("a fraction as VLAN").with("vlan", json!(1.5)).wrong_type(),
        bridge("a string as flag").with("isGateway", json!("yes")).wrong_type(),
        bridge("a list as ipam").with("ipam", json!([])).wrong_type(),
        bridge("a number as type of ipam").with("ipam", json!({"type": 7})).wrong_type(),
        bridge("a number as nameserver").with("dns", json!({"nameservers": [7]})).wrong_type(),
        bridge("args that are none").env("CNI_ARGS", "K8S_POD"),
        bridge("unknown args").env("CNI_ARGS", "K8S_POD=foo"),
        bridge("another letter case").stdin(r#"{"CNIVERSION": "1.0.0", "Name": "net", "BRIDGE": "br0", "Ipam": {"TYPE": "host-local", "Subnet": "10.1.0.0/24"}}"#),
        bridge("keys that are there twice").stdin(r#"{"cniVersion": "1.0.0", "name": "zork/", "name": "net", "bridge": "br1", "bridge": "br0"}"#).differs(
            "without IPAM there is no IPAM plugin to ask",
            &[r#"- *: answer.msg="no plugin name provided""#, r#"+ *: answer.msg="Required prevResult missing""#],
        ),
    ]
}

fn delegation() -> Vec<Row> {
    vec![
        bridge("an IPAM plugin that is missing").with("ipam", json!({"type": "nope"})).refused_first().rolls_back(),
        bridge("a path as IPAM plugin").with("ipam", json!({"type": "../x"})).refused_first().rolls_back(),
        bridge("an error of the IPAM plugin")
            .with("ipam", json!({"type": "host-local", "subnet": "10.1.0.0/31"}))
            .rolls_back(),
    ]
}
