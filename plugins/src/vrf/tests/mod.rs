//! In private namespaces. What takes a kernel with VRFs is in `stock`.

mod stock;

use std::ffi::OsString;

use cni::plugin::{Stderr, World};
use serde_json::Value;

use super::*;
use crate::masquerade::tests::{namespace, shell};

/// Calls the plugin for `net1` in `/run/netns/pod` as its process would be called: whether it succeeded, and what it
/// printed.
fn call(verb: &str, json: &str) -> (bool, Value) {
    call_for("net1", verb, json)
}

fn call_for(ifname: &str, verb: &str, json: &str) -> (bool, Value) {
    let env = [
        ("CNI_COMMAND", verb),
        ("CNI_CONTAINERID", "cid1"),
        ("CNI_IFNAME", ifname),
        ("CNI_NETNS", "/run/netns/pod"),
        ("CNI_PATH", "/nowhere"),
    ];
    let env: Vec<(OsString, OsString)> = env.iter().map(|(name, value)| (name.into(), value.into())).collect();
    let mut stdout = Vec::new();
    let world = World {
        env,
        stdin: Box::new(json.as_bytes()),
        stdout: Some(Box::new(&mut stdout)),
        stderr: Stderr::buffered().0,
    };
    let ok = cni::plugin::run(&Vrf, world) == 0;
    (ok, if stdout.is_empty() { Value::Null } else { serde_json::from_slice(&stdout).unwrap() })
}

/// The text of a refusal.
#[track_caller]
fn refusal(verb: &str, json: &str) -> String {
    let (ok, answer) = call(verb, json);
    assert!(!ok, "{verb} succeeded: {answer}");
    answer["msg"].as_str().unwrap().to_owned()
}

#[track_caller]
fn success(verb: &str, json: &str) -> Value {
    let (ok, answer) = call(verb, json);
    assert!(ok, "{verb}: {answer}");
    answer
}

/// A configuration with further keys, without and with the result of the plugin before.
fn unchained(keys: &str) -> String {
    format!(r#"{{"cniVersion": "1.1.0", "name": "n1", "type": "vrf"{keys}}}"#)
}

const RESULT: &str = r#"{"cniVersion": "1.1.0",
    "interfaces": [{"name": "veth1"}, {"name": "net1", "mac": "02:00:00:00:00:01", "sandbox": "/run/netns/pod"}],
    "ips": [{"interface": 1, "address": "10.1.0.2/24", "gateway": "10.1.0.1"},
            {"interface": 1, "address": "fd01::2/64", "gateway": "fd01::1"}],
    "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0", "gw": "fd01::1"}],
    "dns": {"nameservers": ["10.1.0.53"]}}"#;

fn chained(keys: &str) -> String {
    unchained(&format!(r#"{keys}, "prevResult": {RESULT}"#))
}

const BLUE: &str = r#", "vrfname": "blue""#;

/// A pod whose `net1` leads to a router, as a plugin before this one leaves it. Few processes, because a virtual machine
/// without help of the processor takes a while for each.
const POD: &str = "
    ip -batch - <<END
netns add pod
netns add router
link add eth0 netns router type veth peer name net1 netns pod
END
    ip -n router -batch - <<END
link set eth0 up
addr add 10.1.0.1/24 dev eth0
addr add fd01::1/64 dev eth0 nodad
END
    ip netns exec pod sh -c 'echo 0 >/proc/sys/net/ipv6/conf/net1/accept_dad'
    ip -n pod -batch - <<END
link set net1 addrgenmode none
link set net1 up
addr add 10.1.0.2/24 dev net1
addr add fd01::2/64 dev net1 nodad
route add default via 10.1.0.1
route add default via fd01::1
END
";

/// Links, addresses, rules and routes of the pod. The rule that makes VRFs work comes with the first and stays.
fn state() -> String {
    let script = r"
        printf 'addr show\nlink show type vrf\n' | ip -n pod -o -batch -
        for family in -4 -6; do printf 'rule\nroute show table all\n' | ip -n pod -o $family -batch -; done";
    let all = shell(script);
    let tidy =
        |line: &str| line.split(" valid_lft").next().unwrap_or(line).split_whitespace().collect::<Vec<_>>().join(" ");
    let mut lines: Vec<String> = all.lines().filter(|line| !line.contains("l3mdev-table")).map(tidy).collect();
    lines.sort();
    lines.join("\n")
}

#[test]
fn a_configuration_needs_a_name_that_a_link_can_have() {
    let no_name = "configuration is expected to have a valid vrf name";
    for verb in ["ADD", "DEL", "CHECK"] {
        assert_eq!(refusal(verb, &chained("")), no_name);
        assert_eq!(refusal(verb, &chained(r#", "vrfname": null, "table": 5"#)), no_name);
    }
    for (name, why) in [
        ("a-name-of-16-byt", "interface name is too long"),
        ("a/b", "interface name contains / or : or whitespace characters"),
        ("..", "interface name is . or .."),
        ("vrf%d", "interface name contains %"),
    ] {
        assert_eq!(refusal("ADD", &chained(&format!(r#", "vrfname": "{name}""#))), format!("{no_name}: {why}"));
    }
}

#[test]
fn a_table_is_a_number_of_32_bits() {
    for table in ["-1", "4294967296", "1.5", "\"7\""] {
        let text = refusal("ADD", &chained(&format!(r#"{BLUE}, "table": {table}"#)));
        assert!(text.starts_with("failed to load netconf: table: invalid "), "{text}");
    }
}

#[test]
fn it_comes_after_another_plugin() {
    for verb in ["ADD", "CHECK"] {
        assert_eq!(refusal(verb, &unchained(BLUE)), "missing prevResult from earlier plugin");
    }
    let old = unchained(&format!(r#"{BLUE}, "prevResult": {{"cniVersion": "0.4.0"}}"#));
    assert!(refusal("ADD", &old).starts_with("could not parse prevResult: "));
}

#[test]
fn del_of_what_is_not_there_succeeds() {
    namespace(|| {
        success("DEL", &unchained(BLUE)); // no namespace
        shell(POD);
        let before = state();
        success("DEL", &unchained(BLUE)); // no VRF
        shell("ip -n pod link add blue type bridge");
        success("DEL", &unchained(BLUE)); // a link that is none
        shell("ip -n pod link del blue");
        assert_eq!(state(), before);
    });
}

#[test]
fn what_can_be_refused_is_refused_before_anything_is_touched() {
    namespace(|| {
        assert!(refusal("ADD", &chained(BLUE)).starts_with("cmdAdd failed: failed to Statfs \"/run/netns/pod\": "));
        shell(POD);
        let before = state();
        let (_, missing) = call_for("net9", "ADD", &chained(BLUE));
        assert_eq!(missing["msg"], "cmdAdd failed: could not get link by name net9");
        assert_eq!(refusal("ADD", &chained(r#", "vrfname": "net1""#)), "cmdAdd failed: Netlink net1 is not a VRF");
        assert_eq!(state(), before);
        shell("ip -n pod link add br0 type bridge && ip -n pod link set net1 master br0");
        let before = state();
        let taken = "cmdAdd failed: interface net1 has already a master set: br0";
        assert_eq!(refusal("ADD", &chained(BLUE)), taken);
        assert_eq!(state(), before);
    });
}

#[test]
fn check_tells_what_is_missing() {
    namespace(|| {
        shell(POD);
        assert_eq!(refusal("CHECK", &chained(BLUE)), "Link not found");
        assert_eq!(refusal("CHECK", &chained(r#", "vrfname": "net1""#)), "Netlink net1 is not a VRF");
    });
}

/// STATUS makes nothing, and says what ADD then finds. An ADD that fails leaves nothing.
#[test]
fn status_tells_the_truth() {
    namespace(|| {
        shell(POD);
        let (links, before) = (shell("ip -brief link"), state());
        let (has_vrfs, status) = call("STATUS", &unchained(BLUE));
        assert_eq!(shell("ip -brief link"), links);
        let (added, answer) = call("ADD", &chained(BLUE));
        assert_eq!(has_vrfs, added, "{status} {answer}");
        if !has_vrfs {
            assert_eq!(status["code"], 50);
            let text = answer["msg"].as_str().unwrap();
            assert!(text.starts_with("cmdAdd failed: could not add VRF blue: operation not supported"), "{text}");
            assert_eq!(state(), before);
        }
    });
}

#[test]
fn gc_has_nothing_to_do() {
    success("GC", &unchained(&format!(r#"{BLUE}, "cni.dev/valid-attachments": []"#)));
}

/// The plan of an ADD in a pod with `POD` and what `script` adds.
fn plan(script: &'static str, keys: &str) -> String {
    let json = chained(keys);
    namespace(|| {
        shell(POD);
        shell(script);
        let call = Call::new(json.into_bytes(), Vec::new(), Stderr::buffered().0).unwrap();
        let netns = kernel::netns::NetNs::open("/run/netns/pod").unwrap();
        let mut machine = Machine::with_container(netns).unwrap();
        survey(&mut machine, &Config::read(&call).unwrap(), "net1").unwrap().unwrap().to_string()
    })
}

#[test]
fn the_plan_of_an_interface_with_routes() {
    let script = "ip -n pod -batch - <<END
route add 10.9.0.0/16 via 10.1.0.1 metric 7 mtu 1300 src 10.1.0.2
route add 10.8.0.0/16 dev net1 table 100
addr add fd02::2/64 dev net1 nodad
route append default via fd01::9 dev net1
END";
    insta::assert_snapshot!(plan(script, BLUE), @"
    [container] ip link add blue up type vrf table 1
    [container] ip link set net1 master blue
    [container] ip address add fd02::2/64 dev net1
    [container] ip address add fd01::2/64 dev net1
    [container] ip route add 10.8.0.0/16 table 100 scope 253 dev net1
    [container] ip route add default via fd01::1 metric 1024 table 1 scope 0 dev net1
    [container] ip route add default via fd01::9 metric 1024 table 1 scope 0 dev net1
    [container] ip route add 10.9.0.0/16 via 10.1.0.1 src 10.1.0.2 metric 7 table 1 scope 0 mtu 1300 dev net1
    [container] ip route add default via 10.1.0.1 table 1 scope 0 dev net1
    ");
}

#[test]
fn the_plan_of_a_table_that_was_asked_for() {
    let plan = plan("", r#", "VRFName": "red", "table": 300"#);
    assert!(plan.starts_with("[container] ip link add red up type vrf table 300\n"), "{plan}");
    assert!(plan.contains("[container] ip route add default via 10.1.0.1 table 300"), "{plan}");
}
