//! Rows about sbr.

use serde_json::{Value, json};

use crate::row::{ADD, CHECK, DEL, Row, Step};

fn row(name: &str, members: Value) -> Row {
    Row::chained("sbr", name, members)
}

/// The other interface of the container, on which its default route is.
const OTHER: &str = "
    ip -n c1 link add net1 type veth peer name zork
    ip -n c1 link set net1 up
    ip -n c1 address add 10.2.0.2/24 dev net1
    ip -n c1 route add default via 10.2.0.1 metric 10";

pub(crate) fn rows() -> Vec<Row> {
    let only = |name: &str, index: usize| {
        row(name, json!({})).previous(|previous| previous["ips"] = json!([previous["ips"][index]]))
    };
    vec![
        row("both families", json!({})),
        row("both families", json!({})).version("0.3.0"),
        row("both families", json!({})).version("0.3.1"),
        row("both families", json!({})).version("0.4.0"),
        only("IPv4 alone", 0),
        only("IPv6 alone", 1),
        row("two interfaces", json!({})).prepare(OTHER),
        row("two addresses", json!({})).prepare("ip -n c1 address add 10.3.0.2/24 dev eth0").previous(|previous| {
            let more = json!({"address": "10.3.0.2/24", "gateway": "10.3.0.1", "interface": 2});
            previous["ips"].as_array_mut().expect("addresses").push(more);
        }),
        row("a route by a gateway", json!({})).prepare("ip -n c1 route add 192.168.0.0/16 via 10.1.0.9"),
        row("a route of the link", json!({})).prepare("ip -n c1 route add 192.168.0.0/16 dev eth0"),
        row("no gateway", json!({})).previous(|previous| {
            previous["ips"] = json!([{"address": "10.1.0.2/24", "interface": 2}]);
        }),
        row("an address of no interface", json!({})).previous(|previous| {
            previous["ips"] = json!([{"address": "10.1.0.2/24", "gateway": "10.1.0.1"}]);
        }),
        row("tables in use", json!({}))
            .prepare(
                "ip -n c1 rule add from 10.9.0.1 table 100; ip -n c1 route add 192.168.0.0/16 via 10.1.0.9 table 101",
            )
            .differs(
                "a table with routes in it is in use",
                &["- *: state c1: route *", "+ *: state c1: route *", "- *: state c1: rule *", "+ *: state c1: rule *"],
            ),
        row("DEL without a netns", json!({})).steps(&[ADD, Step::Blind("DEL"), DEL]).differs(
            "where nothing is, nothing is to be deleted",
            &["- 2 *: answer.*", "- 2 *: succeeded=false", "+ 2 *: succeeded=true"],
        ),
        row("DEL of nothing", json!({})).steps(&[DEL]),
        row("DEL of a link that has gone", json!({}))
            .steps(&[ADD, Step::Shell("ip -n c1 link delete eth0"), DEL])
            .differs("a rule does not go with the link", &["- 3 *: state c1: rule *"]),
        row("CHECK of nothing", json!({})).steps(&[CHECK]).differs(
            "CHECK looks for the rules",
            &[
                "- *: succeeded=true",
                "+ *: succeeded=false",
                "+ *: answer.code=999",
                r#"+ *: answer.msg="missing: rule *"#,
            ],
        ),
        row("ADD twice", json!({})).steps(&[ADD, ADD, DEL]).differs(
            "ADD twice is harmless",
            &[
                r#"- 2 *: answer.msg="Failed to add default route to 10.1.0.1: network is unreachable""#,
                "- 2 *: answer.code=999",
                "+ 2 *: answer.*",
                "- *: state c1: rule *",
                "- 2 *: succeeded=false",
                "+ 2 *: succeeded=true",
            ],
        ),
    ]
}

pub(crate) fn options() -> Vec<Row> {
    vec![
        row("a table", json!({"table": 555})).newer(),
        row("a table that is in use", json!({"table": 100}))
            .prepare("ip -n c1 rule add from 10.9.0.1 table 100")
            .newer(),
        row("both families", json!({})).version("1.1.0").newer(),
    ]
}

pub(crate) fn refused() -> Vec<Row> {
    let life = [ADD, DEL];
    vec![
        row("no previous result", json!({})).unchained().steps(&[ADD, CHECK, DEL]).differs(
            "CHECK can not be answered either",
            &["- 2 *: succeeded=true", "+ 2 *: succeeded=false", "+ 2 *: answer.*"],
        ),
        row("no addresses", json!({})).previous(|previous| previous["ips"] = json!([])).steps(&life),
        row("addresses of another interface", json!({}))
            .previous(|previous| previous["interfaces"][2]["name"] = json!("net1"))
            .steps(&life)
            .differs(
                "an interface without addresses is not emptied of its routes",
                &[
                    "- 1 *: answer.*",
                    "- 1 *: succeeded=true",
                    "+ 1 *: succeeded=false",
                    "+ 1 *: answer.code=999",
                    r#"+ 1 *: answer.msg="No IP addresses supplied on interface: eth0""#,
                    "+ *: state c1: route *",
                ],
            ),
        row("no interface", json!({})).prepare("ip -n c1 link delete eth0").steps(&life),
        row("a lost netns", json!({})).steps(&[Step::Lost("ADD"), Step::Lost("DEL")]).differs(
            "no file is made where a namespace was, and nothing is to be deleted there",
            &[
                r#"- 1 *: answer.msg="unknown FS magic on *"#,
                r#"+ 1 *: answer.msg="failed to open netns *"#,
                "- 2 *: answer.*",
                "- 2 *: succeeded=false",
                "+ 2 *: succeeded=true",
            ],
        ),
        row("a previous result that is none", json!({}))
            .previous(|previous| *previous = json!(7))
            .steps(&life)
            .wrong_type(),
    ]
}
