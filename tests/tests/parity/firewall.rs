//! Rows about firewall. Only the iptables back end is there on both sides; the other is tried by traffic.

use serde_json::{Value, json};

use crate::row::{ADD, ADD_2, CHECK, DEL, DEL_2, Row, Step};

fn row(name: &str, members: Value) -> Row {
    Row::chained("firewall", name, members).with("backend", json!("iptables"))
}

pub(crate) fn rows() -> Vec<Row> {
    let only = |name: &str, index: usize| {
        row(name, json!({})).previous(|previous| previous["ips"] = json!([previous["ips"][index]]))
    };
    vec![
        row("both families", json!({})),
        row("both families", json!({})).version("0.3.1").steps(&[ADD, DEL]),
        row("both families", json!({})).version("0.4.0"),
        row("both families", json!({})).version("1.1.0").newer(),
        only("IPv4 alone", 0),
        only("IPv6 alone", 1),
        row("no addresses", json!({})).previous(|previous| previous["ips"] = json!([])),
        row("addresses of another interface", json!({}))
            .previous(|previous| previous["ips"][0]["interface"] = json!(1)),
        row("a chain for the administrator", json!({"iptablesAdminChainName": "ZORK"})),
        row("a zone", json!({"firewalldZone": "public"})),
        row("ADD twice", json!({})).steps(&[ADD, ADD, CHECK, DEL]),
        row("two containers", json!({})).steps(&[ADD, ADD_2, CHECK, DEL, DEL_2]),
        row("rules of somebody else", json!({})).prepare(
            "iptables -P FORWARD DROP; iptables -A FORWARD -i zork -j ACCEPT; ip6tables -A FORWARD -i zork -j ACCEPT",
        ),
        row("an unknown back end on a node that filters in iptables", json!({}))
            .with("backend", json!("zork"))
            .prepare("iptables -P FORWARD DROP; ip6tables -P FORWARD DROP"),
        row("DEL without a netns", json!({})).steps(&[ADD, Step::Blind("DEL"), DEL]),
        row("DEL with a lost netns", json!({})).steps(&[ADD, Step::Lost("DEL")]),
        row("DEL of nothing", json!({})).steps(&[DEL, Step::Blind("DEL")]),
        row("CHECK without a rule", json!({})).steps(&[
            ADD,
            Step::Shell("iptables -D CNI-FORWARD -s 10.1.0.2/32 -j ACCEPT"),
            CHECK,
            DEL,
        ]),
        row("CHECK without the jump", json!({})).steps(&[ADD, Step::Shell("iptables -F FORWARD"), CHECK, DEL]),
    ]
}

const BRIDGED: &str = "neighbours are isolated also where the kernel does not send bridged packets through iptables";
const BRIDGED_LINES: &[&str] = &[
    r#"+ *: state node: nft table {"family":"bridge",*"#,
    "+ *: state node: nft * xnet_firewall *",
    r#"+ *: state node: nft *"table":"xnet_firewall"*"#,
];

pub(crate) fn policies() -> Vec<Row> {
    let policy = |name: &str, policy: &str| row(name, json!({"ingressPolicy": policy}));
    vec![
        policy("the open policy", "open"),
        policy("no policy", ""),
        policy("the same bridge", "same-bridge"),
        policy("the same bridge for two", "same-bridge").steps(&[ADD, ADD_2, DEL, DEL_2]),
        policy("the same bridge twice", "same-bridge").steps(&[ADD, ADD, DEL]),
        policy("isolation", "isolated").newer().differs(BRIDGED, BRIDGED_LINES),
        policy("isolation of two", "isolated").steps(&[ADD, ADD_2, DEL, DEL_2]).newer().differs(BRIDGED, BRIDGED_LINES),
    ]
}

pub(crate) fn refused() -> Vec<Row> {
    let same_bridge = |name: &str| row(name, json!({"ingressPolicy": "same-bridge"})).steps(&[ADD, DEL]);
    vec![
        row("an unknown policy", json!({"ingressPolicy": "zork"})).rules_come_first().differs(
            "CHECK does not pass what ADD has refused",
            &["- 2 *: succeeded=true", "+ 2 *: succeeded=false", "+ 2 *: answer.*"],
        ),
        same_bridge("no interfaces")
            .previous(|previous| {
                previous["interfaces"] = json!([]);
                previous["ips"] = json!([{"address": "10.1.0.2/24"}]);
            })
            .rules_come_first(),
        same_bridge("a nameless bridge")
            .previous(|previous| previous["interfaces"][0]["name"] = json!(""))
            .rules_come_first(),
        row("no previous result", json!({})).unchained().steps(&[ADD, CHECK, DEL]),
        row("a previous result that is none", json!({})).previous(|previous| *previous = json!([])).wrong_type(),
        same_bridge("no bridge")
            .previous(|previous| previous["interfaces"][0] = Value::Null)
            .newer()
            .rules_come_first(),
        row("a number as back end", json!({})).with("backend", json!(7)).wrong_type(),
        row("a number as policy", json!({"ingressPolicy": 7})).wrong_type(),
    ]
}
