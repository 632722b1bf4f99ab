//! Rows about portmap. Only the iptables back end is there on both sides; the other is tried by traffic.

use serde_json::{Value, json};

use crate::row::{ADD, ADD_2, CHECK, DEL, DEL_2, Row, Step};

fn row(name: &str, members: Value) -> Row {
    Row::chained("portmap", name, members).with("backend", json!("iptables"))
}

fn mapped(name: &str, mappings: Value) -> Row {
    row(name, json!({"runtimeConfig": {"portMappings": mappings}}))
}

fn web() -> Value {
    json!([{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}])
}

fn web_and_dns() -> Value {
    json!([
        {"hostPort": 8080, "containerPort": 80, "protocol": "tcp"},
        {"hostPort": 5353, "containerPort": 53, "protocol": "udp"},
    ])
}

const LOCALNET: &str = "127.0.0.1 is let through to a bridge when something is mapped for it";
const LOCALNET_LINES: &[&str] = &[
    "- *: state node: sysctl net.ipv4.conf.br0.route_localnet=1",
    "+ *: state node: sysctl net.ipv4.conf.br0.route_localnet=0",
];

pub(crate) fn mappings() -> Vec<Row> {
    let at = |ip: &str| json!([{"hostPort": 8080, "containerPort": 80, "protocol": "tcp", "hostIP": ip}]);
    let many = |count: u16| {
        let mapping = |number| json!({"hostPort": 8000 + number, "containerPort": 80, "protocol": "tcp"});
        (0..count).map(mapping).collect::<Value>()
    };
    vec![
        row("no runtimeConfig", json!({})),
        mapped("no mappings", json!([])),
        mapped("null as mappings", Value::Null),
        mapped("tcp", web()),
        mapped("udp", json!([{"hostPort": 5353, "containerPort": 53, "protocol": "udp"}])),
        mapped("sctp", json!([{"hostPort": 3868, "containerPort": 3868, "protocol": "sctp"}])),
        mapped("tcp and udp", web_and_dns()),
        mapped(
            "one port of all protocols",
            json!([
                {"hostPort": 53, "containerPort": 53, "protocol": "udp"},
                {"hostPort": 53, "containerPort": 53, "protocol": "tcp"},
                {"hostPort": 53, "containerPort": 53, "protocol": "sctp"},
            ]),
        ),
        mapped("the last ports", json!([{"hostPort": 65535, "containerPort": 65535, "protocol": "tcp"}])),
        mapped("fifteen ports", many(15)),
        mapped("sixteen ports", many(16)),
        mapped("an IPv4 address of the host", at("192.0.2.1")),
        mapped("an IPv6 address of the host", at("2001:db8::1")).differs(LOCALNET, LOCALNET_LINES),
        mapped("any IPv4 address", at("0.0.0.0")),
        mapped("any IPv6 address", at("::")).differs(LOCALNET, LOCALNET_LINES),
        mapped("the loopback address", at("127.0.0.1")),
        mapped("an empty address", at("")),
        mapped(
            "one port at two addresses",
            json!([
                {"hostPort": 8080, "containerPort": 80, "protocol": "tcp", "hostIP": "192.0.2.1"},
                {"hostPort": 8080, "containerPort": 81, "protocol": "tcp", "hostIP": "2001:db8::1"},
            ]),
        ),
        mapped("a protocol in capital letters", json!([{"hostPort": 8080, "containerPort": 80, "protocol": "TCP"}])),
    ]
}

pub(crate) fn options() -> Vec<Row> {
    let chains = "for i in iptables ip6tables; do $i -t nat -N KUBE-MARK-MASQ; done";
    vec![
        mapped("no snat", web()).with("snat", json!(false)),
        mapped("masqAll", web_and_dns()).with("masqAll", json!(true)).newer(),
        mapped("no snat but masqAll", web()).with("snat", json!(false)).with("masqAll", json!(true)),
        mapped("the first mark", web()).with("markMasqBit", json!(0)),
        mapped("the last mark", web()).with("markMasqBit", json!(31)),
        mapped("a chain for the mark", web()).with("externalSetMarkChain", json!("KUBE-MARK-MASQ")).prepare(chains),
        mapped("a chain for the mark that is missing", web())
            .with("externalSetMarkChain", json!("KUBE-MARK-MASQ"))
            .steps(&[ADD])
            .differs(
                "all rules go in at once, or none of them",
                &[
                    r#"- *: answer.msg="unable to setup DNAT: *"#,
                    r#"+ *: answer.msg="unable to setup DNAT: *"#,
                    "- *: state node: iptables-save nat *",
                ],
            ),
        mapped("conditions", web_and_dns())
            .with("conditionsV4", json!(["!", "-s", "192.0.2.0/24"]))
            .with("conditionsV6", json!(["!", "-s", "2001:db8::/64"])),
        mapped("an empty list of conditions", web()).with("conditionsV4", json!([])).with("conditionsV6", json!([])),
        mapped("keys in other letters", Value::Null).with(
            "RUNTIMECONFIG",
            json!({"PortMappings": [{"HOSTPORT": 8080, "containerport": 80, "Protocol": "tcp"}]}),
        ),
    ]
}

pub(crate) fn addresses() -> Vec<Row> {
    let only = |name: &str, index: usize| {
        mapped(name, web()).previous(|previous| previous["ips"] = json!([previous["ips"][index]]))
    };
    vec![
        only("IPv4 alone", 0),
        only("IPv6 alone", 1),
        mapped("no addresses", web()).previous(|previous| previous["ips"] = json!([])),
        mapped("addresses of no interface", web()).previous(|previous| {
            for number in 0..2 {
                previous["ips"][number].as_object_mut().expect("an address").shift_remove("interface");
            }
        }),
        mapped("addresses of another interface", web()).previous(|previous| {
            previous["interfaces"][2]["name"] = json!("net1");
        }),
        mapped("an address of the host's end", web()).previous(|previous| previous["ips"][0]["interface"] = json!(1)),
        mapped("two addresses of a family", web()).previous(|previous| {
            let more = json!({"address": "10.1.0.77/24", "interface": 2});
            previous["ips"].as_array_mut().expect("addresses").push(more);
        }),
        mapped("an index out of range", web()).previous(|previous| previous["ips"][0]["interface"] = json!(7)),
    ]
}

const RULE: &str = "a missing rule is told alone, as iptables-save would show it";
const RULE_TEXTS: &[&str] = &[
    r#"- *: answer.msg="could not check ipv4 dnat: rule [[*"#,
    r#"+ *: answer.msg="could not check ipv4 dnat: rule [[-* not found in table nat""#,
];

pub(crate) fn lives() -> Vec<Row> {
    let again = [ADD, ADD, CHECK, DEL];
    vec![
        mapped("a version", web_and_dns()).version("0.3.0"),
        mapped("a version", web_and_dns()).version("0.3.1"),
        mapped("a version", web_and_dns()).version("0.4.0"),
        mapped("a version", web_and_dns()).version("1.1.0").newer(),
        mapped("ADD twice", web_and_dns()).steps(&again),
        mapped("two containers of one port at different addresses", web()).steps(&[ADD, DEL, ADD_2, DEL_2]),
        mapped("DEL without a netns", web_and_dns()).steps(&[ADD, Step::Blind("DEL"), DEL]),
        mapped("DEL with a lost netns", web_and_dns()).steps(&[ADD, Step::Lost("DEL")]),
        mapped("DEL of nothing", web_and_dns()).steps(&[DEL, Step::Blind("DEL")]),
        mapped("ADD with a lost netns", web()).steps(&[Step::Lost("ADD"), DEL]),
        mapped("a long container", web()).env("CNI_CONTAINERID", LONG),
        mapped("CHECK without the rules of a container", web())
            .steps(&[ADD, Step::Shell(FLUSH), CHECK, DEL])
            .differs(RULE, RULE_TEXTS),
        mapped("CHECK without entries", web())
            .steps(&[ADD, Step::Shell("iptables -t nat -F CNI-HOSTPORT-DNAT"), CHECK, DEL])
            .differs(RULE, RULE_TEXTS),
        mapped("CHECK of nothing", web()).steps(&[CHECK]),
        mapped("rules of somebody else", web()).prepare(
            "iptables -t nat -A PREROUTING -p tcp --dport 22 -j ACCEPT; iptables -t nat -A POSTROUTING -s 10.9.0.0/24 -j MASQUERADE",
        ),
    ]
}

const FLUSH: &str = "iptables -t nat -F $(iptables -t nat -S | sed -n 's/^-N \\(CNI-DN-\\)/\\1/p')";

/// Its comment is longer than iptables takes.
const LONG: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\
    0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

const EARLY: &str = "what can be refused is refused before anything is touched";

/// What ours says at once, and iptables says about a rule of the Go suite.
const PORT: &[&str] = &[
    "- *: answer.msg=\"unable to setup DNAT: *",
    "- *: answer.msg=\"could not check *",
    "+ *: answer.msg=\"*Invalid * port number: 65536\"",
];
const VALUE: &[&str] = &[
    "- *: answer.msg=\"unable to setup DNAT: *",
    "- *: answer.msg=\"could not check *",
    "- *: answer.code=999",
    "+ *: answer.code=7",
    "+ *: answer.msg=\"* in the mapping of host port 8080\"",
];
const TWICE: &[&str] = &[
    "- 1 *: succeeded=true",
    "- 1 *: answer.*",
    "- 2 *: succeeded=true",
    "+ 1 *: succeeded=false",
    "+ 2 *: succeeded=false",
    "+ *: answer.code=7",
    "+ *: answer.msg=\"*host port 8080/tcp is mapped to both container port 80 and 81\"",
];

pub(crate) fn refused() -> Vec<Row> {
    [numbers(), words(), contradictions(), unchained()].into_iter().flatten().collect()
}

fn numbers() -> Vec<Row> {
    let port = |name: &str, host: Value, container: Value| {
        mapped(name, json!([{"hostPort": host, "containerPort": container, "protocol": "tcp"}]))
    };
    vec![
        port("host port 0", json!(0), json!(80)),
        port("host port 65536", json!(65536), json!(80)).differs(EARLY, PORT).rules_come_first(),
        port("a negative host port", json!(-1), json!(80)),
        port("container port 0", json!(8080), json!(0)),
        port("container port 65536", json!(8080), json!(65536)).differs(EARLY, PORT).rules_come_first(),
        port("a string as port", json!("8080"), json!(80)).wrong_type(),
        mapped("no host port", json!([{"containerPort": 80, "protocol": "tcp"}])),
        mapped("mark bit 32", web()).with("markMasqBit", json!(32)),
        mapped("mark bit -1", web()).with("markMasqBit", json!(-1)),
    ]
}

fn words() -> Vec<Row> {
    let tcp = || json!({"hostPort": 8080, "containerPort": 80, "protocol": "tcp"});
    let with = |key: &str, value: Value| {
        let mut mapping = tcp();
        mapping[key] = value;
        json!([mapping])
    };
    vec![
        mapped("no protocol", with("protocol", Value::Null)).differs(EARLY, VALUE).rules_come_first(),
        mapped("an unknown protocol", with("protocol", json!("zork"))).differs(EARLY, VALUE).rules_come_first(),
        mapped("no address", with("hostIP", json!("zork"))).differs(EARLY, VALUE).rules_come_first(),
        mapped("an object as mappings", json!({})).wrong_type(),
        mapped("a string as snat", web()).with("snat", json!("yes")).wrong_type(),
        mapped("an unknown back end", web()).with("backend", json!("zork")).newer(),
    ]
}

fn contradictions() -> Vec<Row> {
    let twice = json!([
        {"hostPort": 8080, "containerPort": 80, "protocol": "tcp"},
        {"hostPort": 8080, "containerPort": 81, "protocol": "tcp"},
    ]);
    let nft = json!(["ip", "saddr", "192.0.2.1"]);
    vec![
        mapped("one port twice", twice).differs("one port can lead to one place", TWICE).rules_come_first(),
        mapped("two marks", web()).with("markMasqBit", json!(13)).with("externalSetMarkChain", json!("KUBE-MARK-MASQ")),
        mapped("iptables with nftables' conditions", web()).with("conditionsV4", nft).newer(),
        mapped("nftables with iptables' conditions", web())
            .with("backend", json!("nftables"))
            .with("conditionsV4", json!(["-s", "192.0.2.1"]))
            .with("conditionsV6", json!(["!", "-s", "2001:db8::1"]))
            .newer(),
        mapped("nftables with a chain for the mark", web())
            .with("backend", json!("nftables"))
            .with("externalSetMarkChain", json!("KUBE-MARK-MASQ"))
            .newer(),
    ]
}

fn unchained() -> Vec<Row> {
    vec![
        mapped("no previous result", web()).unchained(),
        row("no previous result and no mappings", json!({})).unchained(),
        mapped("a previous result of another version", web())
            .previous(|previous| previous["cniVersion"] = json!("0.4.0"))
            .differs(
                "DEL needs no previous result",
                &["- 3 *: answer.*", "- 3 *: succeeded=false", "+ 3 *: succeeded=true"],
            ),
        mapped("a previous result that is none", web()).previous(|previous| *previous = json!("zork")).wrong_type(),
    ]
}
