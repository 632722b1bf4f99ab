//! The bridged network, step by step as the articles tell it.

#![allow(clippy::unwrap_used, reason = "what fails to unwrap fails the test")]

mod node;
mod sandbox;

use std::collections::HashSet;
use std::fs;
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use node::{address, connected, end, inside, ip, netns, node, xnet};
use sandbox::{Ended, Sandbox};
use serde_json::Value;

const STAY: &str = "echo up; exec sleep 1000";

fn json(args: &str) -> Value {
    serde_json::from_str(&ip(&format!("-j {args}"))).unwrap()
}

/// The host's ends of containers' pairs.
fn veths() -> Vec<Value> {
    json("link show type veth")
        .as_array()
        .unwrap()
        .iter()
        .filter(|link| !link.as_object().unwrap().is_empty())
        .cloned()
        .collect()
}

/// Requirement: S0-V1, NET-B, S0-N1.
#[test]
fn the_first_container_switches_forwarding_on_and_says_so_once() {
    let sandbox = node();
    let forwarding = || fs::read_to_string("/proc/sys/net/ipv4/ip_forward").unwrap();
    // A new namespace may have it from the host.
    fs::write("/proc/sys/net/ipv4/ip_forward", "0").unwrap();
    let script =
        "ls /sys/class/net; ip route show default | sed 's/ *$//'; tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' '";
    let first = sandbox.run(&[], &["sh", "-c", script]);
    assert!(first.stderr.contains("net.ipv4.ip_forward was 0 and is 1"), "{}", first.stderr);
    first.expect(0, "eth0\nlo\ndefault via 10.213.0.1 dev eth0\nlo\neth0");
    assert_eq!(forwarding().trim(), "1");
    assert_eq!(sandbox.run(&[], &["true"]).stderr, "");
}

/// Requirement: S0-V2, S0-V3, S0-V4, S4-4, S4-6.
#[test]
fn a_pair_joins_the_container_with_the_bridge() {
    let sandbox = node();
    let script = "cat /sys/class/net/eth0/ifindex /sys/class/net/eth0/iflink | tr '\\n' ' '; echo; exec sleep 1000";
    let running = sandbox.start(&[], script);
    let (own, other) = running.first.split_once(' ').unwrap();
    let links = veths();
    assert_eq!(links.len(), 1);
    let host = &links[0];
    assert_eq!(host["ifindex"].to_string(), other);
    assert_eq!(host["link_index"].to_string(), own);
    assert!(host.get("link_netnsid").is_some(), "{host}");
    assert_eq!((host["master"].as_str(), host["operstate"].as_str()), (Some("xnet0"), Some("UP")));
    let name = host["ifname"].as_str().unwrap();
    assert!(name.starts_with("veth") && name.len() <= 15);
    assert!(!json("link").as_array().unwrap().iter().any(|link| link["ifname"] == "eth0"));
    let pin = netns(&connected(&sandbox));
    let look = |args: &str| {
        let args: Vec<String> = args.split(' ').map(str::to_owned).collect();
        let output = inside(&pin, move || Ended::of(Command::new("ip").arg("-j").args(args))).join().unwrap();
        serde_json::from_str::<Value>(&output.stdout).unwrap()
    };
    let eth0 = look("addr show eth0")[0].clone();
    assert_eq!(eth0["address"], "02:42:0a:d5:00:02");
    assert_eq!(eth0["addr_info"][0]["local"], "10.213.0.2");
    let routes = look("route");
    let of = |n: usize, key: &str| routes[n][key].as_str().unwrap_or_default().to_owned();
    assert_eq!((of(0, "dst"), of(0, "gateway")), ("default".into(), "10.213.0.1".into()));
    assert_eq!(
        (of(1, "dst"), of(1, "protocol"), of(1, "prefsrc")),
        ("10.213.0.0/16".into(), "kernel".into(), "10.213.0.2".into())
    );
    assert_eq!(routes.as_array().unwrap().len(), 2);
    let second = sandbox.start(&[], STAY);
    assert_eq!(veths().len(), 2);
    assert!(veths().iter().any(|link| link["ifname"] == name), "the first one's link has changed");
    end(second);
    end(running);
}

/// Requirement: S0-V5, NET-B.
#[test]
fn containers_have_addresses_of_their_own_and_reach_each_other_and_the_host() {
    let sandbox = node();
    let web = sandbox.start(&["--name=web"], STAY);
    let other = address(&sandbox);
    let _host = TcpListener::bind("10.213.0.1:7000").unwrap();
    let script = format!(
        "ping -c1 -W2 {other} >/dev/null && echo reached; bash -c 'exec 3<>/dev/tcp/10.213.0.1/7000' && echo served; \
         ip -o -4 addr show eth0 | awk '{{print $4}}'"
    );
    sandbox.run(&[], &["sh", "-c", &script]).expect(0, "reached\nserved\n10.213.0.3/16");
    let ping = Ended::of(Command::new("ping").args(["-c1", "-W2", &other.to_string()]));
    assert!(ping.stdout.contains("ttl=64"), "{ping:?}");
    end(web);
}

/// Requirement: S0-V7.
#[test]
fn the_bridge_has_a_carrier_while_a_container_is_on_it() {
    let sandbox = node();
    sandbox.run(&[], &["true"]).expect(0, "");
    let state = || json("link show xnet0")[0]["operstate"].as_str().unwrap().to_owned();
    let soon = |wanted: &str| {
        (0..200).any(|_| {
            std::thread::sleep(Duration::from_millis(5));
            state() == wanted
        })
    };
    assert!(soon("DOWN"), "{}", state());
    assert!(ip("-o link show xnet0").contains("NO-CARRIER"));
    let running = sandbox.start(&[], STAY);
    assert_eq!(state(), "UP");
    end(running);
    assert!(soon("DOWN"), "{}", state());
}

/// Requirement: S0-V8, T4.
#[test]
fn nothing_of_a_container_is_left_when_its_runner_returns() {
    let sandbox = node();
    sandbox.run(&["-p", "8080:80"], &["true"]).expect(0, "");
    let ended = Instant::now();
    sandbox.assert_clean();
    let rules = Ended::of(Command::new("nft").args(["list", "ruleset"])).stdout;
    assert!(!rules.contains("elements"), "{rules}");
    let leases = fs::read_dir("/var/lib/cni/networks/bridge").unwrap().flatten();
    assert!(!leases.into_iter().any(|e| e.file_name().to_string_lossy().starts_with("10.")));
    while !veths().is_empty() {
        assert!(ended.elapsed() < Duration::from_secs(2), "the link is still there");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Requirement: S4-7, T7.
#[test]
fn ipv6_addresses_are_usable_at_once() {
    let sandbox = node();
    let script = "ip -o -6 addr show eth0 | grep -c tentative; ip -o -6 addr show eth0 scope link | grep -c fe80; \
                  cat /proc/sys/net/ipv6/conf/eth0/accept_dad; ping -c1 -W2 fd5c:7ae1:90b3::1 >/dev/null && echo reached";
    sandbox.run(&[], &["sh", "-c", script]).expect(0, "0\n1\n0\nreached");
}

/// Requirement: S0-N2, NET-H1.
#[test]
fn ports_are_a_containers_own_but_for_those_in_the_hosts_network() {
    let sandbox = node();
    let one = sandbox.start(&[], STAY);
    let first = netns(&connected(&sandbox));
    let _a = inside(&first, || TcpListener::bind("0.0.0.0:80").unwrap()).join().unwrap();
    let script = "busybox nc -l -p 80 </dev/null & sleep 0.1; kill -0 $! 2>/dev/null && echo listening; kill $!";
    sandbox.run(&[], &["sh", "-c", script]).expect(0, "listening");
    let _host = TcpListener::bind("0.0.0.0:81").unwrap();
    let ended = sandbox.run(&["--net=host"], &["timeout", "5", "busybox", "nc", "-l", "-p", "81"]);
    assert!(ended.code == 1 && ended.stderr.contains("in use"), "{ended:?}");
    end(one);
}

/// Requirement: NET-C1, NET-C2.
#[test]
fn who_joins_shares_addresses_and_ports_and_nothing_else() {
    let sandbox = node();
    let web = sandbox.start(&["--name=web"], STAY);
    let _held = inside(&netns(&connected(&sandbox)), || TcpListener::bind("127.0.0.1:5000").unwrap()).join().unwrap();
    let joined = |script: &str| sandbox.run(&["--net=container:web"], &["sh", "-c", script]);
    joined("ip -o -4 addr show eth0 | awk '{print $4}'; bash -c 'exec 3<>/dev/tcp/127.0.0.1/5000' && echo connected")
        .expect(0, "10.213.0.2/16\nconnected");
    let taken = joined("timeout 5 busybox nc -l -p 5000 </dev/null 2>&1");
    assert!(taken.stdout.contains("in use"), "{taken:?}");
    joined("ps ax | grep -c 'sleep 100[0]'").expect(1, "0");
    for kind in ["mnt", "pid", "uts", "ipc"] {
        let own = format!("readlink /proc/self/ns/{kind}");
        let theirs = inside_container(&sandbox, kind);
        assert_ne!(joined(&own).stdout.trim(), theirs, "{kind}");
    }
    end(web);
}

fn inside_container(sandbox: &Sandbox, kind: &str) -> String {
    let state = fs::read_dir(sandbox.path("state")).unwrap().flatten();
    let info = state.map(|e| e.path().join("info.json")).find(|path| path.exists()).unwrap();
    let info: Value = serde_json::from_slice(&fs::read(info).unwrap()).unwrap();
    fs::read_link(format!("/proc/{}/ns/{kind}", info["pid"])).unwrap().display().to_string()
}

/// Requirement: NET-C4.
#[test]
fn a_joined_namespace_outlives_its_container_and_restart_joins_the_new_one() {
    let sandbox = node();
    let run = |options: &[&str]| {
        let fixed = ["run", "-d", "--cgroup-parent", sandbox.cgroup()];
        xnet(&sandbox, &[&fixed, options, &["--", "sleep", "1000"]].concat())
    };
    assert_eq!(run(&["--name=web"]).code, 0);
    assert_eq!(run(&["--net=container:web", "--name=side"]).code, 0);
    let netns_of = |name: &str| xnet(&sandbox, &["netns", "exec", name, "readlink", "/proc/self/ns/net"]).stdout;
    let first = netns_of("web");
    assert_eq!(netns_of("side"), first);
    xnet(&sandbox, &["restart", "-t", "0", "web"]).expect(0, "web");
    let second = netns_of("web");
    assert_ne!(second, first);
    assert_eq!(netns_of("side"), first, "the one that has joined lost its namespace");
    // What the first run had of addresses is gone there: DEL has run.
    let left = xnet(&sandbox, &["netns", "exec", "side", "ip", "-o", "-4", "addr", "show", "scope", "global"]);
    left.expect(0, "");
    xnet(&sandbox, &["restart", "-t", "0", "side"]).expect(0, "side");
    assert_eq!(netns_of("side"), second);
    xnet(&sandbox, &["stop", "-t", "0", "web"]).expect(0, "web");
    assert_ne!(run(&["--net=container:web"]).code, 0);
    xnet(&sandbox, &["rm", "-f", "web", "side"]);
}

/// Requirement: S4-2.
#[test]
fn the_bridge_learns_where_containers_are() {
    let sandbox = node();
    let one = sandbox.start(&["--ip=10.213.0.5"], STAY);
    sandbox
        .run(&["--ip=10.213.0.6"], &["sh", "-c", "ping -c1 -W2 10.213.0.5 >/dev/null && echo reached"])
        .expect(0, "reached");
    let table = Ended::of(Command::new("bridge").args(["fdb", "show", "br", "xnet0"])).stdout;
    assert!(table.contains("02:42:0a:d5:00:05"), "{table}");
    end(one);
}

/// Requirement: N-11, S4-4.
#[test]
fn sixty_four_at_once_on_a_new_network_get_sixty_four_addresses() {
    let sandbox = node();
    xnet(&sandbox, &["network", "create", "crowd"]).expect(0, "crowd");
    let script = "ip -o -4 addr show eth0 | awk '{print $4}'; read x; ping -c1 -W5 10.214.0.1 >/dev/null || echo lost";
    let start = |_| {
        let mut command = sandbox.run_command(&["--net=crowd"], &["sh", "-c", script]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()
    };
    let all: Vec<_> = (0..64).map(start).collect();
    let ended: Vec<_> = all.into_iter().map(|child| child.wait_with_output().unwrap()).collect();
    assert!(ended.iter().all(|e| e.status.success()), "{ended:?}");
    let addresses: HashSet<_> = ended.iter().map(|e| String::from_utf8_lossy(&e.stdout).into_owned()).collect();
    assert_eq!(addresses.len(), 64);
    assert!(!addresses.iter().any(|text| text.contains("lost")), "{addresses:?}");
    sandbox.assert_clean();
}
