//! Rows about bridge.

use serde_json::{Value, json};

use crate::row::{ADD, ADD_2, CHECK, DEL, DEL_2, Row, Step};

fn v4() -> Value {
    json!({"type": "host-local", "ranges": [[{"subnet": "10.1.0.0/24"}]]})
}

fn v6() -> Value {
    json!({"type": "host-local", "ranges": [[{"subnet": "fd00:1::/64"}]]})
}

fn dual() -> Value {
    json!({"type": "host-local", "ranges": [[{"subnet": "10.1.0.0/24"}], [{"subnet": "fd00:1::/64"}]]})
}

fn two_subnets() -> Value {
    json!({"type": "host-local", "ranges": [[{"subnet": "10.1.0.0/24"}], [{"subnet": "10.2.0.0/24"}]]})
}

const VERSIONS: [&str; 6] = ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0"];

/// Without CHECK, which the Go suite fails on without IPAM.
const NO_CHECK: [Step; 3] = [ADD, DEL, DEL];

pub(crate) fn layer_2() -> Vec<Row> {
    let mac = "0a:58:00:00:00:07";
    let layer_2 = |name: &str, config: Value| Row::bridge(name, config).steps(&NO_CHECK);
    vec![
        layer_2("nothing but a name", json!({})),
        layer_2("nothing but a name", json!({})).version("0.3.1"),
        layer_2("an empty ipam", json!({"ipam": {}})),
        layer_2("the default name", json!({"bridge": null})),
        layer_2("an MTU", json!({"mtu": 1400})),
        layer_2("an MTU that can not be", json!({"mtu": 7})).differs(
            "what can be refused is refused before anything is touched",
            &[
                r#"- *ADD*: answer.msg="failed to create bridge \"br0\": could not add \"br0\": invalid argument""#,
                r#"+ *ADD*: answer.msg="invalid MTU 7 (must be between 68 and 65535)""#,
            ],
        ),
        layer_2("hairpin", json!({"hairpinMode": true})),
        layer_2("promiscuous", json!({"promiscMode": true})),
        layer_2("hairpin and promiscuous", json!({"hairpinMode": true, "promiscMode": true})),
        layer_2("a VLAN out of range", json!({"vlan": 5000})),
        layer_2("a gateway flag without addresses", json!({"isGateway": true, "ipMasq": true})),
        layer_2("two containers", json!({})).steps(&[ADD, ADD_2, DEL, DEL_2]),
        layer_2("MAC by runtimeConfig", json!({"runtimeConfig": {"mac": mac}})),
        layer_2("MAC by CNI_ARGS", json!({})).env("CNI_ARGS", "MAC=0a:58:00:00:00:07"),
        layer_2("MAC by CNI_ARGS among others", json!({}))
            .env("CNI_ARGS", "IgnoreUnknown=1;K8S_POD_NAME=p;MAC=0a:58:00:00:00:07"),
        layer_2("MAC by both", json!({"runtimeConfig": {"mac": mac}})).env("CNI_ARGS", "MAC=0a:58:00:00:00:08"),
        layer_2("a MAC that is none", json!({"runtimeConfig": {"mac": "zz"}})).refused_first(),
        layer_2("keys in other letters", json!({"HairPinMode": true, "MTU": 1300})),
        layer_2("null everywhere", json!({"mtu": null, "vlan": null, "ipam": null, "isGateway": null, "dns": null})),
    ]
}

pub(crate) fn layer_3() -> Vec<Row> {
    [addresses(), gateways(), versions(), routes()].into_iter().flatten().collect()
}

fn addresses() -> Vec<Row> {
    let dns = json!({"nameservers": ["10.1.0.53"], "domain": "a.test", "search": ["a.test", "b.test"], "options": ["ndots:2"]});
    let ips = json!({"ips": ["10.1.0.77", "fd00:1::77/64"]});
    vec![
        Row::bridge("IPv4", json!({"ipam": v4()})),
        Row::bridge("IPv6", json!({"ipam": v6()})),
        Row::bridge("dual stack", json!({"ipam": dual()})),
        Row::bridge("two ranges of one family", json!({"ipam": two_subnets()})),
        Row::bridge("dns of the configuration", json!({"ipam": v4(), "dns": dns})),
        Row::bridge("requested addresses", json!({"isGateway": true, "ipam": dual(), "runtimeConfig": ips})),
        Row::bridge("a MAC and addresses", json!({"isGateway": true, "ipam": dual()}))
            .with("runtimeConfig", json!({"mac": "0a:58:0a:01:00:02"})),
    ]
}

fn gateways() -> Vec<Row> {
    let gateway = |name: &str, ipam: Value| Row::bridge(name, json!({"isGateway": true, "ipam": ipam}));
    let last = json!({"type": "host-local", "ranges": [[{"subnet": "10.1.0.0/24", "gateway": "10.1.0.254"}]]});
    vec![
        gateway("IPv4 gateway", v4()),
        gateway("IPv6 gateway", v6()),
        gateway("IPv4 default gateway", v4()).with("isDefaultGateway", json!(true)),
        gateway("an MTU, hairpin and gateway", dual()).with("mtu", json!(1400)).with("hairpinMode", json!(true)),
        gateway("promiscuous gateway", dual()).with("promiscMode", json!(true)),
        gateway("a gateway that is not the first", last),
        gateway("two containers", dual()).steps(&[ADD, ADD_2, CHECK, DEL, DEL_2]),
        gateway("a gateway in two subnets of one family", two_subnets()).with("forceAddress", json!(true)),
    ]
}

fn versions() -> Vec<Row> {
    let row = || Row::bridge("dual stack default gateway", json!({"isDefaultGateway": true, "ipam": dual()}));
    let mut rows: Vec<Row> = VERSIONS.iter().map(|version| row().version(version)).collect();
    rows.push(row().with("cniVersion", Value::Null).steps(&NO_CHECK));
    rows
}

const ROUTE: &str = "a prefix is written as people write it, and the kernel says why it refuses the route";
const ROUTE_TEXTS: &[&str] = &[
    r#"- *: answer.msg="failed to add route '{192.168.0.0 ffff0000} via *"#,
    r#"+ *: answer.msg="failed to add route '192.168.0.0/16 via *"#,
];

fn routes() -> Vec<Row> {
    let routes = |name: &str, routes: Value| {
        let mut ipam = dual();
        ipam["routes"] = routes;
        Row::bridge(name, json!({"isGateway": true, "ipam": ipam}))
    };
    vec![
        routes("default routes", json!([{"dst": "0.0.0.0/0"}, {"dst": "::/0"}])),
        routes("a route with a gateway", json!([{"dst": "192.168.0.0/16", "gw": "10.1.0.9"}])),
        routes("routes by the gateway of the range", json!([{"dst": "192.168.0.0/16"}, {"dst": "fd99::/64"}])).differs(
            "the peer compares a route without a gateway with the gateway that it has set itself",
            &[
                "- *: answer.code=999",
                "- *: answer.msg=\"Expected Route *",
                "- *: succeeded=false",
                "+ *: succeeded=true",
            ],
        ),
        routes("a route that is there twice", json!([{"dst": "192.168.0.0/16"}, {"dst": "192.168.0.0/16"}]))
            .rolls_back()
            .differs(ROUTE, ROUTE_TEXTS),
        routes("a route by an unreachable gateway", json!([{"dst": "192.168.0.0/16", "gw": "172.16.0.1"}]))
            .steps(&NO_CHECK)
            .rolls_back()
            .differs(ROUTE, ROUTE_TEXTS),
        routes("a default route by hand and by flag", json!([{"dst": "0.0.0.0/0", "gw": "10.1.0.9"}]))
            .with("isDefaultGateway", json!(true)),
    ]
}

pub(crate) fn encounters() -> Vec<Row> {
    let gateway = || json!({"isGateway": true, "ipam": dual()});
    let without_netns = [ADD, Step::Blind("DEL"), DEL];
    vec![
        Row::bridge("a bridge that is there", gateway())
            .prepare("ip link add br0 mtu 1400 type bridge; ip link set br0 up"),
        Row::bridge("a bridge with the gateway's address", gateway())
            .prepare("ip link add br0 type bridge; ip link set br0 up; ip address add 10.1.0.1/24 dev br0"),
        Row::bridge("a bridge with another address", gateway())
            .prepare("ip link add br0 type bridge; ip link set br0 up; ip address add 10.9.0.1/24 dev br0")
            .steps(&NO_CHECK)
            .rolls_back(),
        Row::bridge("a bridge with another address, by force", gateway())
            .with("forceAddress", json!(true))
            .prepare("ip link add br0 type bridge; ip link set br0 up; ip address add 10.9.0.1/24 dev br0"),
        Row::bridge("a bridge with an overlapping address, by force", gateway())
            .with("forceAddress", json!(true))
            .prepare("ip link add br0 type bridge; ip link set br0 up; ip address add fd00:1::9/64 dev br0 nodad"),
        Row::bridge("a name of another kind", gateway())
            .prepare("ip link add br0 type veth peer name br1")
            .steps(&NO_CHECK),
        Row::bridge("the loopback as bridge", gateway()).with("bridge", json!("lo")).steps(&NO_CHECK),
        Row::bridge("an interface that is there", gateway())
            .prepare("ip -n c1 link add eth0 type veth peer name other")
            .steps(&[ADD])
            .refused_first(),
        Row::bridge("an interface that is there, in layer 2", json!({}))
            .prepare("ip -n c1 link add eth0 type veth peer name other")
            .steps(&[ADD])
            .refused_first(),
        Row::bridge("ADD twice", gateway()).steps(&[ADD, ADD, DEL]),
        Row::bridge("a used pool", json!({"ipam": {"type": "host-local", "subnet": "10.1.0.0/30"}}))
            .steps(&[ADD, ADD_2, DEL_2, DEL, ADD_2, DEL_2])
            .rolls_back(),
        Row::bridge("DEL with an empty netns", gateway()).steps(&without_netns).deletes_blindly(),
        Row::bridge("DEL with a lost netns", gateway()).steps(&[ADD, Step::Lost("DEL"), DEL]).deletes_blindly(),
        Row::bridge("DEL of nothing", gateway()).steps(&[DEL, Step::Blind("DEL"), Step::Lost("DEL")]),
        Row::bridge("DEL of a link that has gone", gateway()).steps(&[
            ADD,
            Step::Shell("ip -n c1 link delete eth0"),
            DEL,
        ]),
        Row::bridge("disabled IPv6", gateway()).prepare(WITHOUT_IPV6),
        Row::bridge("disabled IPv6 and IPv4", json!({"isGateway": true, "ipam": v4()})).prepare(WITHOUT_IPV6),
        Row::bridge("forwarding is on", gateway())
            .prepare("cd /proc/sys/net; echo 1 >ipv4/ip_forward; echo 1 >ipv6/conf/all/forwarding"),
    ]
}

const WITHOUT_IPV6: &str =
    "ip netns exec c1 sh -c 'cd /proc/sys/net/ipv6/conf; for i in all default; do echo 1 >$i/disable_ipv6; done'";

pub(crate) fn masquerade() -> Vec<Row> {
    let masquerade = |name: &str, ipam: Value| {
        Row::bridge(name, json!({"isDefaultGateway": true, "ipMasq": true, "ipMasqBackend": "iptables", "ipam": ipam}))
    };
    vec![
        masquerade("masquerade IPv4", v4()),
        masquerade("masquerade IPv6", v6()),
        masquerade("masquerade both", dual()),
        masquerade("masquerade both", dual()).version("0.2.0"),
        masquerade("masquerade two containers", dual()).steps(&[ADD, ADD_2, DEL, DEL_2]),
        masquerade("masquerade with strange names", dual())
            .with("name", json!("a_b-c.d"))
            .env("CNI_CONTAINERID", "x.y_z-0"),
    ]
}

pub(crate) fn check() -> Vec<Row> {
    [damages(), unanswerable()].into_iter().flatten().collect()
}

fn damages() -> Vec<Row> {
    let after = |name: &str, script: &'static str| {
        let config = json!({"isDefaultGateway": true, "ipam": dual()});
        Row::bridge(&format!("CHECK {name}"), config).steps(&[ADD, Step::Shell(script), CHECK, DEL])
    };
    vec![
        after("without an address", "ip -n c1 address delete 10.1.0.2/24 dev eth0"),
        after("without an IPv6 address", "ip -n c1 address delete fd00:1::2/64 dev eth0"),
        after("without a default route", "ip -n c1 route delete default"),
        after("without the interface", "ip -n c1 link delete eth0"),
        after("without the bridge", "ip link delete br0"),
        after("without the port", "ip link set $(ip -br link show master br0 | cut -d@ -f1) nomaster"),
        after("of another MAC inside", "ip -n c1 link set eth0 address 0a:58:00:00:00:09"),
        after("of another MAC of the bridge", "ip link set br0 address 0a:58:00:00:00:09"),
        after("of a promiscuous bridge", "ip link set br0 promisc on"),
        after("without the leases", "cd /var/lib/cni/networks/net; rm 10.1.0.2 fd00:1::2"),
    ]
}

fn unanswerable() -> Vec<Row> {
    let row = |name: &str| Row::bridge(name, json!({"ipam": v4()}));
    let old = json!({"cniVersion": "0.3.1", "ips": []});
    vec![
        row("CHECK without prevResult").steps(&[CHECK]),
        row("CHECK of what was never there").with("prevResult", json!({"cniVersion": "1.0.0"})).steps(&[CHECK]),
        row("CHECK in an old version").version("0.3.1").steps(&[ADD, CHECK, DEL]),
        row("CHECK with a lost netns").steps(&[ADD, Step::Lost("CHECK"), DEL]),
        row("prevResult of another version").with("prevResult", old).steps(&[CHECK]),
        row("prevResult of a wrong type").with("prevResult", json!("x")).steps(&[CHECK]).wrong_type(),
        Row::bridge("CHECK in layer 2", json!({})).steps(&[ADD, CHECK, DEL]).differs(
            "without IPAM there is no IPAM plugin to ask",
            &[
                r#"- 2 Call("CHECK", "c1"): succeeded=false"#,
                r#"- 2 Call("CHECK", "c1"): answer.code=*"#,
                r#"- 2 Call("CHECK", "c1"): answer.msg="no plugin name provided""#,
                r#"+ 2 Call("CHECK", "c1"): succeeded=true"#,
            ],
        ),
    ]
}
