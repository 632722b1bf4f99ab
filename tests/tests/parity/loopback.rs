//! Rows about loopback.

use serde_json::json;

use crate::row::{ADD, CHECK, DEL, Row, Step};

const SHAPE: &str = "a result has the shape of its version; the Go suite prints that of 1.0.0 under any";

const SHAPE_OF_0_2: &[&str] = &[
    "- *: answer.interfaces has 1 items",
    "- *: answer.interfaces[0].mac=*",
    r#"- *: answer.interfaces[0].name="lo""#,
    "- *: answer.interfaces[0].sandbox=*",
    "- *: answer.ips has 2 items",
    r#"- *: answer.ips[0].address="127.0.0.1/8""#,
    "- *: answer.ips[0].interface=0",
    r#"- *: answer.ips[1].address="::1/128""#,
    "- *: answer.ips[1].interface=0",
    r#"+ *: answer.ip4.ip="127.0.0.1/8""#,
    r#"+ *: answer.ip6.ip="::1/128""#,
];

const SHAPE_OF_0_4: &[&str] = &[r#"+ *: answer.ips[0].version="4""#, r#"+ *: answer.ips[1].version="6""#];

pub(crate) fn rows() -> Vec<Row> {
    let plain = |name: &str| Row::loopback(name, json!({}));
    let previous = json!({"cniVersion": "1.0.0", "interfaces": [{"name": "eth0", "sandbox": "/run/netns/c1"}],
        "ips": [{"address": "10.1.0.2/24", "gateway": "10.1.0.1", "interface": 0}], "dns": {"nameservers": ["10.1.0.53"]}});
    vec![
        plain("up and down").version("0.1.0").differs(SHAPE, SHAPE_OF_0_2),
        plain("up and down").version("0.2.0").differs(SHAPE, SHAPE_OF_0_2),
        plain("up and down").version("0.3.0").differs(SHAPE, SHAPE_OF_0_4),
        plain("up and down").version("0.3.1").differs(SHAPE, SHAPE_OF_0_4),
        plain("up and down").version("0.4.0").differs(SHAPE, SHAPE_OF_0_4),
        plain("up and down"),
        plain("up twice").steps(&[ADD, ADD, CHECK, DEL]),
        plain("CHECK when down").steps(&[CHECK, ADD, CHECK, DEL, CHECK]),
        plain("CHECK with a lost netns").steps(&[Step::Lost("CHECK")]),
        plain("DEL without a netns").steps(&[ADD, Step::Blind("DEL"), Step::Lost("DEL")]),
        plain("ADD with a lost netns").steps(&[Step::Lost("ADD")]),
        plain("a previous result").with("prevResult", previous.clone()),
        plain("a previous result of another version").with("prevResult", previous).version("0.3.1"),
        plain("a previous result that is none").with("prevResult", json!([])).steps(&[ADD, DEL]).wrong_type(),
        plain("another address").prepare("ip -n c1 address add 10.0.0.1/8 dev lo"),
        plain("no IPv6").prepare("ip netns exec c1 sh -c 'echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6'"),
    ]
}
