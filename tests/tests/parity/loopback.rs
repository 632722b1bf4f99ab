//! Rows about loopback.

use serde_json::json;

use crate::row::{ADD, CHECK, DEL, Row, Step};

pub(crate) fn rows() -> Vec<Row> {
    let plain = |name: &str| Row::loopback(name, json!({}));
    let previous = json!({"cniVersion": "1.0.0", "interfaces": [{"name": "eth0", "sandbox": "/run/netns/c1"}],
        "ips": [{"address": "10.1.0.2/24", "gateway": "10.1.0.1", "interface": 0}], "dns": {"nameservers": ["10.1.0.53"]}});
    vec![
        plain("up and down").version("0.1.0"),
        plain("up and down").version("0.2.0"),
        plain("up and down").version("0.3.0"),
        plain("up and down").version("0.3.1"),
        plain("up and down").version("0.4.0"),
        plain("up and down"),
        plain("up twice").steps(&[ADD, ADD, CHECK, DEL]),
        plain("CHECK when down").steps(&[CHECK, ADD, CHECK, DEL, CHECK]),
        plain("CHECK with a lost netns").steps(&[Step::Lost("CHECK")]),
        plain("DEL without a netns").steps(&[ADD, Step::Blind("DEL"), Step::Lost("DEL")]),
        plain("ADD with a lost netns").steps(&[Step::Lost("ADD")]),
        plain("a previous result").with("prevResult", previous.clone()),
        plain("a previous result of another version").with("prevResult", previous).version("0.3.1"),
        plain("a previous result that is none").with("prevResult", json!([])).steps(&[ADD, DEL]),
        plain("another address").prepare("ip -n c1 address add 10.0.0.1/8 dev lo"),
        plain("no IPv6").prepare("ip netns exec c1 sh -c 'echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6'"),
    ]
}
