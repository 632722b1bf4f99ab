//! Networks: made, listed, removed; several for one container; connected and disconnected.

#![allow(clippy::unwrap_used, reason = "what fails to unwrap fails the test")]

mod node;
mod sandbox;

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use node::{SERVER, ask, end, ip, lan, node, xnet};
use sandbox::{Ended, Sandbox};
use serde_json::Value;

const ADDRESS: &str = "ip -o -4 addr show scope global | awk '{print $2, $4}'";
const STAY: &str = "echo up; exec sleep 1000";

fn inspect(sandbox: &Sandbox, name: &str) -> Value {
    let ended = xnet(sandbox, &["network", "inspect", name]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    serde_json::from_str::<Value>(&ended.stdout).unwrap()[0].clone()
}

fn create(sandbox: &Sandbox, options: &[&str], name: &str) {
    xnet(sandbox, &[&["network", "create"], options, &[name]].concat()).expect(0, name);
}

/// Requirement: NET-X.
#[test]
fn a_network_is_made_used_and_removed() {
    let sandbox = node();
    ip("link add out type veth peer name far");
    ip("link set out up");
    ip("addr add 10.214.0.9/24 dev out");
    create(&sandbox, &["--label=a=b"], "front");
    let network = inspect(&sandbox, "front");
    // The first free subnet: the one before is a route of this host.
    assert_eq!(network["IPAM"]["Config"][0]["Subnet"], "10.214.1.0/24");
    assert_eq!((network["Driver"].as_str(), network["Labels"]["a"].as_str()), (Some("bridge"), Some("b")));
    let running = sandbox.start(&["--net=front", "--name=web"], &format!("{ADDRESS}; exec sleep 1000"));
    assert_eq!(running.first, "eth0 10.214.1.2/24");
    let member = inspect(&sandbox, "front")["Containers"].as_object().unwrap().values().next().unwrap().clone();
    assert_eq!((member["Name"].as_str(), member["IPv4Address"].as_str()), (Some("web"), Some("10.214.1.2/24")));
    assert_eq!(member["MacAddress"], "02:42:0a:d6:01:02");
    xnet(&sandbox, &["network", "rm", "front"]).code_is_not(0);
    end(running);
    assert!(ip("-o link").contains("xn-front"));
    xnet(&sandbox, &["network", "rm", "front"]).expect(0, "front");
    assert!(!ip("-o link").contains("xn-front"), "the bridge of a removed network is still there");
    sandbox.run(&["--net=front"], &["true"]).expect_refusal(125, "no network is called front");
    sandbox.assert_clean();
}

#[test]
fn what_cannot_be_a_network_is_refused() {
    let sandbox = node();
    create(&sandbox, &["--subnet=10.9.0.0/24"], "a");
    let refused = |options: &[&str], text: &str| {
        xnet(&sandbox, &[&["network", "create"], options].concat()).expect_refusal(1, text);
    };
    refused(&["a"], "a network called a exists already");
    refused(&["host"], "has a meaning already");
    refused(&["--subnet=10.9.0.128/25", "b"], "overlaps with that of network a");
    refused(&["--subnet=10.213.7.0/24", "b"], "overlaps with that of network bridge");
    refused(&["--subnet=10.8.0.1/24", "b"], "is 10.8.0.0/24 meant?");
    refused(&["--subnet=10.8.0.0/24", "--gateway=10.7.0.1", "b"], "the gateway 10.7.0.1 is in no subnet");
    refused(&["--subnet=10.8.0.0/24", "--ip-range=10.7.0.0/28", "b"], "is in no subnet of the network");
    refused(&["-o", "color=red", "b"], "has no option \"color\"");
    refused(&["-d", "macvlan", "--subnet=10.8.0.0/24", "b"], "-o parent=LINK");
    xnet(&sandbox, &["network", "rm", "bridge"]).code_is_not(0);
    let names = xnet(&sandbox, &["network", "ls", "-q"]).stdout;
    assert_eq!(names.lines().collect::<Vec<_>>(), ["a", "bridge", "host", "none"]);
    xnet(&sandbox, &["network", "prune"]).expect(0, "a");
}

#[test]
fn subnets_gateways_ranges_and_families() {
    let sandbox = node();
    let options = ["--subnet=10.9.0.0/24", "--gateway=10.9.0.254", "--ip-range=10.9.0.64/28", "--ipv6"];
    create(&sandbox, &options, "a");
    let script = "ip -o -4 addr show eth0 | awk '{print $4}'; ip route show default | sed 's/ *$//'; \
                  ip -o -6 addr show eth0 scope global | awk '{print $4}'";
    let expected = "10.9.0.64/24\ndefault via 10.9.0.254 dev eth0\nfd5c:7ae1:90b3:1::2/64";
    sandbox.run(&["--net=a"], &["sh", "-c", script]).expect(0, expected);
    create(&sandbox, &["--internal"], "inner");
    sandbox.run(&["--net=inner"], &["sh", "-c", "ip route show default"]).expect(0, "");
}

/// Requirement: NET-X.
#[test]
fn nobody_leaves_or_enters_an_internal_network() {
    let sandbox = node();
    lan();
    create(&sandbox, &["--internal", "--subnet=10.9.0.0/24", "--ipv6"], "inner");
    create(&sandbox, &["--subnet=10.8.0.0/24", "--ipv6"], "open");
    for (net, name) in [("--net=inner", "--name=a"), ("--net=inner", "--name=b"), ("--net=open", "--name=c")] {
        sandbox.detach(&[net, name, "--cap-add=NET_ADMIN"], &["sleep", "1000"]);
    }
    // Whoever may, gives itself routes; whoever is outside has some.
    xnet(&sandbox, &["exec", "a", "ip", "route", "add", "default", "via", "10.9.0.1"]).expect(0, "");
    ip("-n lan route add 10.9.0.0/24 via 192.0.2.1");
    ip("-n lan route add 10.8.0.0/24 via 192.0.2.1");
    let from_lan = |address: &str| answered(Command::new("ip").args(["netns", "exec", "lan"]).args(knock(address)));
    let from = |name: &str, address: &str| answered(sandbox.command(&["exec", name]).args(knock(address)));
    // So that what is missing below is missing for want of a way.
    assert!(from_lan("10.8.0.2") && from("c", "192.0.2.9"), "the open network is not open");
    assert!(from("b", "10.9.0.2") && from("a", "10.9.0.1"), "neighbours and the host are reached");
    assert!(!from_lan("10.9.0.2"), "it was entered from outside");
    assert!(!from("c", "10.9.0.2"), "it was entered from another network");
    assert!(!from("a", "192.0.2.9"), "it was left");
    assert!(!from("a", "10.8.0.2"), "it was left for another network");
    sandbox.run(&["--net=inner", "-p", "8080:80"], &["true"]).expect_refusal(125, "ports cannot be published");
    assert_eq!(xnet(&sandbox, &["rm", "-f", "a", "b", "c"]).code, 0);
    xnet(&sandbox, &["network", "rm", "inner", "open"]).expect(0, "inner\nopen");
    let rules = Ended::of(Command::new("nft").args(["list", "table", "inet", "xnet_internal"])).stdout;
    assert!(rules.contains("chain forward") && !rules.contains("elements"), "{rules}");
    sandbox.assert_clean();
}

/// A ping, which needs nobody to listen, that waits for its answer for a second at most.
fn knock(address: &str) -> [&str; 7] {
    ["busybox", "ping", "-c", "1", "-W", "1", address]
}

fn answered(command: &mut Command) -> bool {
    Ended::of(command).code == 0
}

/// Requirement: NET-X.
#[test]
fn macvlan_puts_a_container_on_the_hosts_own_wire() {
    let sandbox = node();
    ip("link add out type veth peer name far");
    ip("link set out up");
    ip("link set far up");
    create(&sandbox, &["-d", "macvlan", "--subnet=192.0.2.0/24", "-o", "parent=out"], "wire");
    sandbox.run(&["--net=wire"], &["sh", "-c", ADDRESS]).expect(0, "eth0 192.0.2.2/24");
    sandbox.assert_clean();
}

/// Requirement: NET-X.
#[test]
fn several_networks_are_interfaces_in_order() {
    let sandbox = node();
    create(&sandbox, &[], "a");
    create(&sandbox, &[], "b");
    let script = format!("{ADDRESS}; ip route show default | sed 's/ *$//'");
    let expected = "eth0 10.214.1.2/24\neth1 10.214.0.2/24\ndefault via 10.214.1.1 dev eth0";
    sandbox.run(&["--net=b", "--net=a"], &["sh", "-c", &script]).expect(0, expected);
    sandbox.run(&["--net=b,a"], &["sh", "-c", &script]).expect(0, &expected.replace(".2/", ".3/"));
    sandbox.run(&["--net=a", "--net=host"], &["true"]).expect_refusal(125, "cannot be combined");
    sandbox.run(&["--net=a", "--net=missing"], &["true"]).expect_refusal(125, "no network is called missing");
    sandbox.assert_clean();
}

/// Requirement: NET-X.
#[test]
fn a_list_of_the_hosts_engines_is_a_network_too() {
    let sandbox = node();
    fs::create_dir_all("/etc/cni/net.d").unwrap();
    let list = r#"{"cniVersion": "1.0.0", "name": "engine", "plugins": [{"type": "bridge", "bridge": "eng0",
        "ipam": {"type": "host-local", "subnet": "10.99.0.0/24"}}]}"#;
    fs::write("/etc/cni/net.d/10-engine.conflist", list).unwrap();
    sandbox.run(&["--net=engine"], &["sh", "-c", ADDRESS]).expect(0, "eth0 10.99.0.2/24");
    xnet(&sandbox, &["network", "rm", "engine"]).code_is_not(0);
    assert!(Path::new("/etc/cni/net.d/10-engine.conflist").exists());
}

/// Requirement: S0-V3, S0-J3.
#[test]
fn the_default_bridge_comes_from_a_file_if_there_is_one() {
    let sandbox = node();
    fs::create_dir_all(sandbox.path("data/networks")).unwrap();
    let list = r#"{"cniVersion": "1.0.0", "name": "bridge", "plugins": [{"type": "bridge", "bridge": "newnet0",
        "isGateway": true, "ipam": {"type": "host-local", "subnet": "172.10.100.0/24"}}]}"#;
    fs::write(sandbox.path("data/networks/bridge.conflist"), list).unwrap();
    sandbox.run(&[], &["sh", "-c", ADDRESS]).expect(0, "eth0 172.10.100.2/24");
    assert!(ip("-o addr show newnet0").contains("172.10.100.1/24"));
}

#[test]
fn a_running_container_is_connected_and_disconnected() {
    let sandbox = node();
    create(&sandbox, &[], "a");
    create(&sandbox, &[], "b");
    let web = sandbox.start(&["--net=a", "--name=web"], STAY);
    let peer = sandbox.start(&["--net=b", "--name=peer"], STAY);
    xnet(&sandbox, &["network", "connect", "--ip=10.214.1.77", "--alias=www", "b", "web"]).expect(0, "");
    xnet(&sandbox, &["network", "connect", "b", "web"]).expect_refusal(1, "is on network b already");
    let inside = |name: &str, script: &str| sandbox.run(&[&format!("--net=container:{name}")], &["sh", "-c", script]);
    inside("web", ADDRESS).expect(0, "eth0 10.214.0.2/24\neth1 10.214.1.77/24");
    inside("peer", "grep -c www /etc/hosts; ping -c1 -W2 10.214.1.77 >/dev/null && echo reached")
        .expect(0, "1\nreached");
    inside("web", "grep -cw peer /etc/hosts").expect(0, "1");
    xnet(&sandbox, &["network", "rm", "b"]).code_is_not(0);
    xnet(&sandbox, &["network", "disconnect", "b", "web"]).expect(0, "");
    inside("web", ADDRESS).expect(0, "eth0 10.214.0.2/24");
    inside("web", "grep -cw peer /etc/hosts").expect(1, "0");
    inside("peer", "grep -c www /etc/hosts").expect(1, "0");
    xnet(&sandbox, &["network", "disconnect", "b", "web"]).expect_refusal(1, "is not on network b");
    xnet(&sandbox, &["network", "connect", "b", "web"]).expect(0, "");
    inside("web", ADDRESS).expect(0, "eth0 10.214.0.2/24\neth1 10.214.1.78/24");
    // What was connected later goes with the container all the same.
    end(web);
    end(peer);
    sandbox.assert_clean();
    xnet(&sandbox, &["network", "rm", "a", "b"]).expect(0, "a\nb");
    let left: Vec<_> = fs::read_dir("/var/lib/cni/networks/b").into_iter().flatten().flatten().collect();
    assert!(left.iter().all(|e| !e.file_name().to_string_lossy().starts_with("10.")), "{left:?}");
}

/// Requirement: NET-X, S4-5, F-ports.
#[test]
fn what_leads_out_and_in_is_handed_over_to_the_next_network() {
    let sandbox = node();
    create(&sandbox, &["--ipv6"], "a");
    create(&sandbox, &["--internal"], "inner");
    create(&sandbox, &["--ipv6"], "b");
    let web = sandbox.start(&["--net=a", "-p", "8080:80", "--name=web"], SERVER);
    for network in ["inner", "b"] {
        xnet(&sandbox, &["network", "connect", network, "web"]).expect(0, "");
    }
    let routes = "for f in -4 -6; do ip $f route show default | sed 's/ metric.*//; s/ *$//'; done";
    let ways = || sandbox.run(&["--net=container:web"], &["sh", "-c", routes]).stdout;
    let ports = || xnet(&sandbox, &["port", "web"]).stdout;
    let published = "80/tcp -> 0.0.0.0:8080\n80/tcp -> [::]:8080\n";
    assert_eq!(ways(), "default via 10.214.0.1 dev eth0\ndefault via fd5c:7ae1:90b3:1::1 dev eth0\n");
    assert_eq!((ask("127.0.0.1:8080"), ports()), ("hello".into(), published.into()));
    // To the one that leads out, and not to the one that comes first.
    xnet(&sandbox, &["network", "disconnect", "a", "web"]).expect(0, "");
    assert_eq!(ways(), "default via 10.214.2.1 dev eth2\ndefault via fd5c:7ae1:90b3:2::1 dev eth2\n");
    assert_eq!((ask("127.0.0.1:8080"), ports()), ("hello".into(), published.into()));
    let networks = xnet(&sandbox, &["inspect", "-f", "{{.NetworkSettings.Gateway}}", "web"]);
    networks.expect(0, "10.214.2.1");
    // Nobody is left to take over; nobody else gets the port.
    xnet(&sandbox, &["network", "disconnect", "b", "web"]).expect(0, "");
    assert_eq!((ways(), ports()), (String::new(), String::new()));
    assert!(TcpListener::bind("0.0.0.0:8080").is_err(), "somebody else can have the port of a container");
    xnet(&sandbox, &["network", "connect", "a", "web"]).expect(0, "");
    assert_eq!(ways(), "default via 10.214.0.1 dev eth0\ndefault via fd5c:7ae1:90b3:1::1 dev eth0\n");
    assert_eq!((ask("127.0.0.1:8080"), ports()), ("hello".into(), published.into()));
    end(web);
    sandbox.assert_clean();
    let rules = Ended::of(Command::new("nft").args(["list", "table", "inet", "xnet_portmap"])).stdout;
    assert!(!rules.contains("elements"), "{rules}");
}

/// Requirement: NET-X.
#[test]
fn neighbours_hear_of_a_new_name_at_once() {
    let sandbox = node();
    create(&sandbox, &[], "a");
    let web = sandbox.start(&["--net=a", "--name=web"], STAY);
    let peer = sandbox.start(&["--net=a", "--name=peer"], STAY);
    let known = |name: &str| {
        sandbox.run(&["--net=container:peer"], &["sh", "-c", &format!("grep -cw {name} /etc/hosts")]).stdout
    };
    assert_eq!((known("web"), known("shop")), ("1\n".into(), "0\n".into()));
    xnet(&sandbox, &["rename", "web", "shop"]).expect(0, "");
    assert_eq!((known("web"), known("shop")), ("0\n".into(), "1\n".into()));
    // One that comes later knows it by the new name, too.
    sandbox.run(&["--net=a"], &["sh", "-c", "grep -cw shop /etc/hosts"]).expect(0, "1");
    end(web);
    end(peer);
    sandbox.assert_clean();
}

#[test]
fn what_has_no_network_of_its_own_is_connected_to_none() {
    let sandbox = node();
    create(&sandbox, &[], "a");
    let host = sandbox.start(&["--net=host", "--name=h"], STAY);
    let web = sandbox.start(&["--net=none", "--name=web"], STAY);
    let side = sandbox.start(&["--net=container:web", "--name=side"], STAY);
    xnet(&sandbox, &["network", "connect", "a", "h"]).expect_refusal(1, "is in the host's network");
    xnet(&sandbox, &["network", "connect", "a", "side"]).expect_refusal(1, "shares the network of container");
    xnet(&sandbox, &["network", "connect", "a", "nobody"]).expect_refusal(1, "no such container");
    // One that was isolated gets its first interface.
    xnet(&sandbox, &["network", "connect", "a", "web"]).expect(0, "");
    sandbox.run(&["--net=container:side"], &["sh", "-c", ADDRESS]).expect(0, "eth0 10.214.0.2/24");
    for running in [side, web, host] {
        end(running);
    }
    sandbox.assert_clean();
}

/// Requirement: S0-V6.
#[test]
fn addresses_can_be_asked_for() {
    let sandbox = node();
    let script = "cat /sys/class/net/eth0/address; ip -o addr show eth0 scope global | awk '{print $4}'";
    let plain = sandbox.run(&[], &["sh", "-c", script]);
    plain.expect(0, "02:42:0a:d5:00:02\n10.213.0.2/16\nfd5c:7ae1:90b3::2/64");
    let options = ["--ip=10.213.9.9", "--ip6=fd5c:7ae1:90b3::99", "--mac-address=02:00:00:00:00:07"];
    let asked = sandbox.run(&options, &["sh", "-c", script]);
    asked.expect(0, "02:00:00:00:00:07\n10.213.9.9/16\nfd5c:7ae1:90b3::99/64");
    sandbox.run(&["--ip=10.1.2.3"], &["echo", "ran"]).expect_refusal(125, "10.1.2.3");
    let first = sandbox.start(&["--ip=10.213.9.9"], STAY);
    sandbox.run(&["--ip=10.213.9.9"], &["echo", "ran"]).expect_refusal(125, "10.213.9.9");
    end(first);
    sandbox.assert_clean();
}

/// Requirement: NET-C3, NET-X.
#[test]
fn flags_that_contradict_the_mode_are_all_named() {
    let sandbox = node();
    let web = sandbox.start(&["--net=none", "--name=web"], STAY);
    let flags = [
        "--hostname=x",
        "--domainname=y",
        "-p=80",
        "-P",
        "--expose=80",
        "--dns=9.9.9.9",
        "--dns-search=z",
        "--dns-option=ndots:1",
        "--add-host=a:1.2.3.4",
        "--ip=10.0.0.1",
        "--ip6=fd00::1",
        "--mac-address=02:00:00:00:00:01",
        "--network-alias=n",
    ];
    let all = "--hostname, --domainname, --publish, --publish-all, --expose, --dns, --dns-search, --dns-option, \
               --add-host, --ip, --ip6, --mac-address, --network-alias cannot be used with --net container:web";
    sandbox.run(&[&["--net=container:web"], &flags[..]].concat(), &["echo", "ran"]).expect_refusal(125, all);
    for mode in ["host", "none"] {
        let text = format!("--ip, --mac-address cannot be used with --net {mode}");
        let net = format!("--net={mode}");
        let options = [&net, "--ip=10.0.0.1", "--mac-address=02:00:00:00:00:01"];
        sandbox.run(&options, &["echo", "ran"]).expect_refusal(125, &text);
    }
    end(web);
}

/// Requirement: NET-X.
#[test]
fn a_namespace_by_path_is_joined_after_a_look_at_it() {
    let sandbox = node();
    ip("netns add lab");
    ip("-n lab link add probe type veth peer name other");
    let run = |path: &str| sandbox.run(&[&format!("--net=ns:{path}")], &["ls", "/sys/class/net"]);
    run("/run/netns/lab").expect(0, "lo\nother\nprobe");
    run("/proc/self/ns/pid").expect_refusal(125, "is not a network namespace");
    run("/etc/passwd").expect_refusal(125, "is not a network namespace");
    run("/run/netns/missing").expect_refusal(125, "open the network namespace /run/netns/missing: No such file");
    run("lab").code_is_not(0);
    assert!(ip("netns list").contains("lab"), "a namespace of somebody else was removed");
    sandbox.assert_clean();
}
