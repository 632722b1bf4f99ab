//! Rows about bandwidth.

use serde_json::{Value, json};

use crate::row::{ADD, ADD_2, CHECK, DEL, DEL_2, Row, Step};

fn row(name: &str, members: Value) -> Row {
    Row::chained("bandwidth", name, members)
}

fn both() -> Value {
    json!({"ingressRate": 8_000_000, "ingressBurst": 800_000, "egressRate": 16_000_000, "egressBurst": 1_600_000})
}

const LONGEST: &str = "what takes longer than 32 bits can tell is as long as they can tell, not what is left of it";

/// The Go suite forgets to say which.
const NETNS: &str = "the namespace that can not be opened is named";
const NETNS_TEXTS: &[&str] = &[
    "- *: answer.msg=\"failed to open netns %!q(<nil>): *",
    "+ *: answer.msg=\"failed to open netns \\\"/run/netns/lost\\\": *",
];

pub(crate) fn shapes() -> Vec<Row> {
    let ingress = |name: &str, rate: u64, burst: u64| row(name, json!({"ingressRate": rate, "ingressBurst": burst}));
    vec![
        ingress("towards the container", 8_000_000, 800_000),
        row("from the container", json!({"egressRate": 8_000_000, "egressBurst": 800_000})),
        row("both ways", both()),
        row("both ways", both()).version("0.2.0").steps(&[ADD, DEL]),
        row("both ways", both()).version("0.3.0"),
        row("both ways", both()).version("0.3.1"),
        row("both ways", both()).version("0.4.0"),
        row("both ways", both()).version("1.1.0").newer(),
        row("by the runtime", json!({"runtimeConfig": {"bandwidth": both()}})),
        row("by the runtime, in other letters", json!({"RuntimeConfig": {"bandWidth": both()}})),
        row("by both", json!({"egressRate": 0, "runtimeConfig": {"bandwidth": both()}})),
        row("by nobody", json!({})),
        row("nothing", json!({"ingressRate": 0, "ingressBurst": 0, "egressRate": 0, "egressBurst": 0})),
        ingress("a bit", 8, 8),
        ingress("slow with a large burst", 8_000, 80_000_000).differs(
            LONGEST,
            &[r#"- *: state node: qdisc *"burst":"35675b/1"*"#, r#"+ *: state node: qdisc *"burst":"274877b/1"*"#],
        ),
        ingress("fast", 10_000_000_000, 10_000_000),
        ingress("faster than 32 bits can tell", 80_000_000_000, 800_000_000),
        ingress("the largest burst", 8_000_000_000, 34_359_738_359),
        row("keys of another release", both()).with("unshapedSubnets", json!(["10.0.0.0/8"])),
        row("a small MTU", both()).prepare("ip link set veth00000001 mtu 1400"),
        row("a port of another bridge", both()).prepare("ip link set veth00000001 nomaster"),
    ]
}

pub(crate) fn lives() -> Vec<Row> {
    vec![
        row("two containers", both()).steps(&[ADD, ADD_2, CHECK, DEL, DEL_2]),
        row("ADD twice", both()).steps(&[ADD, ADD, CHECK, DEL]).differs(
            "ADD twice is harmless",
            &[
                r#"- 2 *: answer.msg="create qdisc: file exists""#,
                "- 2 *: answer.code=999",
                "- 2 *: succeeded=false",
                "+ 2 *: succeeded=true",
                "+ 2 *: answer.*",
            ],
        ),
        row("DEL without a netns", both()).steps(&[ADD, Step::Blind("DEL"), DEL]),
        row("DEL with a lost netns", both()).steps(&[ADD, Step::Lost("DEL")]),
        row("DEL of nothing", both()).steps(&[DEL, Step::Blind("DEL")]),
        row("DEL without rates", both()).steps(&[ADD, Step::Shell("ip -n c1 link delete eth0"), DEL]),
        row("CHECK of another rate", both()).steps(&[
            ADD,
            Step::Shell("tc qdisc change dev veth00000001 root handle 1: tbf rate 9mbit burst 100000b limit 125000"),
            CHECK,
            DEL,
        ]),
        row("CHECK without the shaper", both())
            .steps(&[ADD, Step::Shell("tc qdisc delete dev veth00000001 root"), CHECK, DEL])
            .differs(
                "CHECK looks for what ADD has made, not whether what is there happens to be another",
                &[
                    "- 3 *: succeeded=true",
                    "+ 3 *: succeeded=false",
                    "+ 3 *: answer.code=999",
                    r#"+ 3 *: answer.msg="Failed to find qdisc""#,
                ],
            ),
        row("CHECK without the other shaper", both()).steps(&[
            ADD,
            Step::Shell("ip link delete $(ip -br link show type ifb | cut -d' ' -f1)"),
            CHECK,
            DEL,
        ]),
        row("CHECK of nothing", both()).steps(&[CHECK]).differs(
            "CHECK looks for what ADD has made, in that order",
            &[r#"- *: answer.msg="get ifb device: Link not found""#, r#"+ *: answer.msg="Failed to find qdisc""#],
        ),
        row("CHECK with a lost netns", both()).steps(&[ADD, Step::Lost("CHECK"), DEL]).differs(NETNS, NETNS_TEXTS),
    ]
}

pub(crate) fn refused() -> Vec<Row> {
    let all = [ADD, CHECK, DEL];
    vec![
        row("a rate without a burst", json!({"ingressRate": 8_000_000})).steps(&all),
        row("a rate out without a burst", json!({"egressRate": 8_000_000})).steps(&all),
        row("a burst without a rate", json!({"ingressBurst": 8_000_000})).steps(&all),
        row("a burst out without a rate", json!({"egressBurst": 8_000_000})).steps(&all),
        row("a burst of 4 GB", json!({"ingressRate": 8_000_000, "ingressBurst": 34_359_738_360_u64})).steps(&all),
        row("a burst out of 4 GB", json!({"egressRate": 8_000_000, "egressBurst": 34_359_738_360_u64})).steps(&all),
        row("a negative rate", json!({"ingressRate": -1, "ingressBurst": 8})).steps(&[ADD]).differs(
            "the path says more than the name of a Go type",
            &["- *: answer.msg=*json: cannot unmarshal *", "+ *: answer.msg=*: ingressRate: invalid value: *"],
        ),
        row("a fraction as rate", json!({"ingressRate": 1.5, "ingressBurst": 8})).steps(&[ADD]).wrong_type(),
        row("a string as rate", json!({"ingressRate": "8M", "ingressBurst": 8})).steps(&[ADD]).wrong_type(),
        row("no previous result", both()).unchained().steps(&all),
        row("no interfaces", both()).previous(|previous| previous["interfaces"] = json!([])).steps(&[ADD, DEL]),
        row("no host end in the previous result", both())
            .previous(|previous| {
                previous["interfaces"].as_array_mut().expect("interfaces").remove(1);
            })
            .steps(&[ADD, DEL]),
        row("no interface", both()).prepare("ip -n c1 link delete eth0").steps(&[ADD, DEL]),
        row("no veth", both())
            .prepare("ip -n c1 link delete eth0; ip -n c1 link add eth0 type bridge")
            .steps(&[ADD, DEL]),
        row("a host end in another namespace", both()).prepare("ip link set veth00000001 netns c2").steps(&[ADD, DEL]),
        row("a lost netns", both()).steps(&[Step::Lost("ADD"), DEL]).differs(NETNS, NETNS_TEXTS),
    ]
}
