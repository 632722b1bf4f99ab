//! Bad input of chained plugins is refused with the text that callers know, before anything is touched.

use harness::{Chain, Node, Plugin, short_chain, with};
use serde_json::{Value, json};

/// A plugin's configuration that is refused, and how.
struct Case {
    plugin: &'static str,
    members: Value,
    code: u64,
    msg: &'static str,
}

fn case(plugin: &'static str, members: Value, code: u64, msg: &'static str) -> Case {
    Case { plugin, members, code, msg }
}

/// All after bridge, on one node, which stays as it is.
fn refused(cases: Vec<Case>) {
    Node::run(|node| {
        let container = node.netns("c1");
        let bridge = Chain::new(&short_chain("net", "nftables", &["bridge"]), &Value::Null);
        let result = bridge.add(&container, "c1");
        let before = node.state();
        for Case { plugin, members, code, msg } in cases {
            let config = json!({"cniVersion": "1.0.0", "name": "net", "type": plugin, "prevResult": result});
            let answer = Plugin::new(plugin).config(&with(config, members)).netns(&container).add();
            answer.assert_failed(code, msg);
            assert_eq!(before.difference(&node.state()), [] as [&str; 0], "touched by\n{answer}");
        }
        bridge.del(&container, "c1", &result);
    });
}

fn mapped(mapping: Value, code: u64, msg: &'static str) -> Case {
    let good = json!({"hostPort": 8080, "containerPort": 80, "protocol": "tcp"});
    case("portmap", json!({"runtimeConfig": {"portMappings": [with(good, mapping)]}}), code, msg)
}

#[test]
fn ports() {
    refused(vec![
        mapped(json!({"hostPort": 0}), 999, "failed to parse config: Invalid host port number: 0"),
        mapped(json!({"hostPort": 65536}), 999, "failed to parse config: Invalid host port number: 65536"),
        mapped(json!({"hostPort": -1}), 999, "failed to parse config: Invalid host port number: -1"),
        mapped(json!({"containerPort": 0}), 999, "failed to parse config: Invalid container port number: 0"),
        mapped(json!({"containerPort": 65536}), 999, "failed to parse config: Invalid container port number: 65536"),
        mapped(json!({"protocol": "zork"}), 7, "failed to parse config: unknown protocol \"zork\" *"),
        mapped(json!({"protocol": null}), 7, "failed to parse config: unknown protocol \"\" *"),
        mapped(json!({"hostIP": "zork"}), 7, "failed to parse config: invalid hostIP \"zork\" *"),
        mapped(json!({"hostIP": "192.0.2.1/24"}), 7, "failed to parse config: invalid hostIP \"192.0.2.1/24\" *"),
        mapped(json!({"hostIP": "192.0.2.256"}), 7, "failed to parse config: invalid hostIP \"192.0.2.256\" *"),
    ]);
}

#[test]
fn mappings_that_contradict() {
    let two = |one: Value, two: Value| json!({"runtimeConfig": {"portMappings": [one, two]}});
    let to = |port: u16| json!({"hostPort": 8080, "containerPort": port, "protocol": "tcp"});
    let at = |port: u16, ip: &str| with(to(port), json!({"hostIP": ip}));
    let both = "failed to parse config: host port 8080/tcp is mapped to both container port 80 and 81";
    refused(vec![
        case("portmap", two(to(80), to(81)), 7, both),
        case("portmap", two(at(80, "192.0.2.1"), at(81, "192.0.2.1")), 7, both),
        case("portmap", two(at(80, "0.0.0.0"), at(81, "0.0.0.0")), 7, both),
        case("portmap", two(at(80, "2001:db8::1"), at(81, "2001:DB8:0::1")), 7, both),
    ]);
}

/// An address of a family that the container does not have.
#[test]
fn an_address_of_another_family() {
    Node::run(|node| {
        let container = node.netns("c1");
        let mut list = short_chain("net", "nftables", &["bridge"]);
        list["plugins"][0]["ipam"] = json!({"type": "host-local", "subnet": "10.1.0.0/24"});
        let bridge = Chain::new(&list, &Value::Null);
        let result = bridge.add(&container, "c1");
        let before = node.state();
        let mapping = json!({"hostPort": 8080, "containerPort": 80, "protocol": "tcp", "hostIP": "2001:db8::1"});
        let config = json!({"cniVersion": "1.0.0", "name": "net", "type": "portmap", "prevResult": result,
            "runtimeConfig": {"portMappings": [mapping]}});
        let answer = Plugin::new("portmap").config(&config).netns(&container).add();
        assert!(!answer.succeeded() && answer.failure().msg.contains("2001:db8::1"), "{answer}");
        assert_eq!(before.difference(&node.state()), [] as [&str; 0], "touched by\n{answer}");
        bridge.del(&container, "c1", &result);
    });
}

#[test]
fn options_of_portmap() {
    let mapped = |members: Value| {
        let mapping = json!([{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]);
        with(json!({"runtimeConfig": {"portMappings": mapping}}), members)
    };
    let range = "failed to parse config: MasqMarkBit must be between 0 and 31";
    let wrong =
        "failed to parse config: nftables backend was requested but configuration contains iptables-specific options ";
    let options = [
        (json!({"markMasqBit": 32}), range.to_owned()),
        (json!({"markMasqBit": -1}), range.to_owned()),
        (
            json!({"markMasqBit": 13, "externalSetMarkChain": "ZORK"}),
            "failed to parse config: Cannot specify externalSetMarkChain and markMasqBit".to_owned(),
        ),
        (json!({"backend": "zz"}), "failed to parse config: unrecognized backend \"zz\"".to_owned()),
        (json!({"backend": "nftables", "conditionsV4": ["-s", "1.2.3.4"]}), format!("{wrong}[conditionsV4]")),
        (json!({"backend": "nftables", "externalSetMarkChain": "Z"}), format!("{wrong}[externalSetMarkChain]")),
        (json!({"conditionsV4": ["zork", "saddr", "1.2.3.4"]}), "*".to_owned()),
        (json!({"conditionsV4": ["ip", "saddr", "zork"]}), "*".to_owned()),
    ];
    Node::run(|node| {
        let container = node.netns("c1");
        let bridge = Chain::new(&short_chain("net", "nftables", &["bridge"]), &Value::Null);
        let result = bridge.add(&container, "c1");
        let before = node.state();
        for (members, msg) in options {
            let config = json!({"cniVersion": "1.0.0", "name": "net", "type": "portmap", "prevResult": result});
            let answer = Plugin::new("portmap").config(&with(config, mapped(members))).netns(&container).add();
            let failure = answer.failure();
            assert!(msg == "*" || failure.msg == msg, "{answer}");
            assert_eq!(before.difference(&node.state()), [] as [&str; 0], "touched by\n{answer}");
        }
        bridge.del(&container, "c1", &result);
    });
}

#[test]
fn rates() {
    let rate = "if rate is set, burst must also be set";
    let burst = "if burst is set, rate must also be set";
    let large = "burst cannot be more than 4GB";
    refused(vec![
        case("bandwidth", json!({"ingressRate": 8}), 999, rate),
        case("bandwidth", json!({"egressRate": 8}), 999, rate),
        case("bandwidth", json!({"ingressBurst": 8}), 999, burst),
        case("bandwidth", json!({"egressBurst": 8}), 999, burst),
        case("bandwidth", json!({"runtimeConfig": {"bandwidth": {"egressRate": 8}}}), 999, rate),
        case("bandwidth", json!({"ingressRate": 8, "ingressBurst": 34_359_738_360_u64}), 999, large),
        case("bandwidth", json!({"egressRate": 8, "egressBurst": u64::MAX}), 999, large),
    ]);
}

#[test]
fn sysctls() {
    let tuned = |sysctl: Value, msg| case("tuning", json!({"sysctl": sysctl}), 999, msg);
    refused(vec![
        tuned(json!({"kernel.pid_max": "1"}), "invalid net sysctl key: \"kernel/pid_max\""),
        tuned(
            json!({"net.core.somaxconn": "500", "kernel.pid_max": "1"}),
            "invalid net sysctl key: \"kernel/pid_max\"",
        ),
        // Dots are slashes, so nobody gets out by them.
        tuned(json!({"net/../kernel/pid_max": "1"}), "*"),
        tuned(json!({"net.../kernel/pid_max": "1"}), "*"),
        tuned(json!({"../sys/kernel/pid_max": "1"}), "*"),
        case("tuning", json!({"mac": "zz"}), 999, "invalid args zz for MAC addr: address zz: invalid MAC address"),
    ]);
}

/// One JSON object with a key twice, in any spelling of it, which no JSON library keeps.
#[test]
fn a_sysctl_that_is_there_twice() {
    Node::run(|node| {
        let container = node.netns("c1");
        let bridge = Chain::new(&short_chain("net", "nftables", &["bridge"]), &Value::Null);
        let result = bridge.add(&container, "c1");
        let before = node.state();
        let text = format!(
            r#"{{"cniVersion": "1.0.0", "name": "net", "type": "tuning", "prevResult": {result},
                "sysctl": {{"net.core.somaxconn": "1", "net.core.somaxconn": "2"}}}}"#
        );
        let plugin = Plugin::new("tuning").stdin(text).netns(&container);
        plugin.add().assert_failed(999, "duplicated sysctl keys are not allowed");
        plugin.check().assert_failed(999, "duplicated sysctl keys are not allowed");
        assert_eq!(before.difference(&node.state()), [] as [&str; 0]);
        bridge.del(&container, "c1", &result);
    });
}

#[test]
fn a_sysctl_that_is_not_allowed() {
    Node::run(|node| {
        let container = node.netns("c1");
        let list = short_chain("net", "nftables", &["bridge"]);
        let bridge = Chain::new(&list, &Value::Null);
        let result = bridge.add(&container, "c1");
        harness::sh("mkdir -p /etc/cni/tuning; echo '^net.core.somaxconn$' >/etc/cni/tuning/allowlist.conf");
        let before = node.state();
        let config = json!({"cniVersion": "1.0.0", "name": "net", "type": "tuning", "prevResult": result});
        let tuned = |sysctl: Value| {
            Plugin::new("tuning").config(&with(config.clone(), json!({"sysctl": sysctl}))).netns(&container)
        };
        let msg = "Sysctl net.ipv4.tcp_syncookies is not allowed. Only the following sysctls are allowed: [^net.core.somaxconn$]";
        tuned(json!({"net.core.somaxconn": "500", "net.ipv4.tcp_syncookies": "2"})).add().assert_failed(999, msg);
        assert_eq!(before.difference(&node.state()), [] as [&str; 0]);
        let allowed = tuned(json!({"net.core.somaxconn": "500"}));
        allowed.add().ok();
        allowed.del().ok();
        bridge.del(&container, "c1", &result);
    });
}

#[test]
fn tables_gateways_and_policies() {
    let many = "gateways list cannot contain more than 2 entries (one IPv4, one IPv6)";
    let routed = |gateways: Value, msg| case("sbr", json!({"gateways": gateways}), 999, msg);
    refused(vec![
        routed(json!(["10.1.0.8", "10.1.0.9", "fd00:1::9"]), many),
        routed(
            json!(["10.1.0.8", "10.1.0.9"]),
            "gateways list contains multiple IPv4 addresses: 10.1.0.8 and 10.1.0.9",
        ),
        routed(json!(["fd00::8", "fd00::9"]), "gateways list contains multiple IPv6 addresses: fd00::8 and fd00::9"),
        routed(json!(["zork"]), "invalid static gateway IP address: zork"),
        case("sbr", json!({"table": -1}), 999, "*"),
        case("sbr", json!({"table": "main"}), 999, "*"),
        case("vrf", json!({}), 999, "configuration is expected to have a valid vrf name"),
        case("firewall", json!({"ingressPolicy": "zork"}), 999, "unknown ingress policy: \"zork\""),
    ]);
}

/// Nobody comes before them in the chain: an error, whatever the version, and never a crash.
#[test]
fn no_previous_result() {
    let chained = |plugin, members, msg| (case(plugin, members, 999, msg), ["1.0.0", "0.4.0"]);
    let rates = json!({"ingressRate": 8_000, "ingressBurst": 8_000});
    let mapping =
        json!({"runtimeConfig": {"portMappings": [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]}});
    let cases = vec![
        chained("portmap", mapping, "must be called as chained plugin"),
        chained("portmap", json!({}), "must be called as chained plugin"),
        chained("firewall", json!({}), "missing prevResult from earlier plugin"),
        chained("bandwidth", rates, "must be called as chained plugin"),
        chained("bandwidth", json!({}), "must be called as chained plugin"),
        chained("tuning", json!({}), "Required prevResult missing"),
        chained(
            "tuning",
            json!({"args": {"cni": {"sysctl": {"net.core.somaxconn": "1"}}}}),
            "Required prevResult missing",
        ),
        chained("sbr", json!({}), "This plugin must be called as chained plugin"),
        chained("vrf", json!({"vrfname": "blue"}), "missing prevResult from earlier plugin"),
    ];
    Node::run(|node| {
        let container = node.netns("c1");
        let before = node.state();
        for (Case { plugin, members, code, msg }, versions) in cases {
            for version in versions {
                let config = json!({"cniVersion": version, "name": "net", "type": plugin});
                let call = Plugin::new(plugin).config(&with(config, members.clone())).netns(&container);
                call.add().assert_failed(code, msg);
                let checked = call.check();
                assert!(checked.succeeded() || checked.failure().code > 0, "{checked}");
                call.del().ok();
            }
        }
        assert_eq!(before.difference(&node.state()), [] as [&str; 0]);
    });
}
