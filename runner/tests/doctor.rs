//! `xnet doctor`: what is broken is named, with a command that puts it right; what is whole is let be.

#![allow(clippy::unwrap_used, reason = "what fails to unwrap fails the test")]

mod node;
mod person;
mod sandbox;

use std::fs;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use node::{ip, lan, node, xnet};
use person::Person;
use sandbox::{Ended, Sandbox, eventually};
use serde_json::Value;

/// What was found: verdict, check, what was seen, fix.
type Line = [String; 4];

fn examine(sandbox: &Sandbox, args: &[&str]) -> (i32, Vec<Line>) {
    let ended = xnet(sandbox, &[&["doctor", "--format=json"], args].concat());
    let line = |line: &str| {
        let row: Value = serde_json::from_str(line).unwrap();
        ["Verdict", "Check", "Seen", "Fix"].map(|key| row[key].as_str().unwrap().to_owned())
    };
    let lines: Vec<Line> = ended.stdout.lines().map(line).collect();
    assert!(!lines.is_empty(), "{}", ended.stderr);
    (ended.code, lines)
}

/// Only what is not as it should be.
fn trouble(sandbox: &Sandbox, args: &[&str]) -> Vec<Line> {
    let (code, mut lines) = examine(sandbox, args);
    lines.retain(|[verdict, ..]| verdict == "bad" || verdict == "warn");
    assert_eq!(code, i32::from(lines.iter().any(|[verdict, ..]| verdict == "bad")), "{lines:?}");
    lines
}

/// A container on the default network of a host that has a way out.
fn patient(options: &[&str]) -> (Sandbox, String) {
    let sandbox = node();
    lan();
    ip("route add default via 192.0.2.9");
    let id = sandbox.detach(&[&["--name=web", "--dns=192.0.2.9"], options].concat(), &["sleep", "1000"]);
    (sandbox, id)
}

fn connected(sandbox: &Sandbox, id: &str) -> Value {
    let path = sandbox.path("state").join(id).join("net.json");
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn address(sandbox: &Sandbox, id: &str) -> Ipv4Addr {
    connected(sandbox, id)["endpoints"][0]["addresses"][0]["address"].as_str().unwrap().parse().unwrap()
}

/// Types `command`, which begins with `xnet` or is one of the host's.
fn typed(sandbox: &Sandbox, command: &str) {
    let mut shell = Command::new("sh");
    let bin = std::path::Path::new(env!("CARGO_BIN_EXE_xnet"));
    let path = format!("{}:{}", bin.parent().unwrap().display(), std::env::var("PATH").unwrap_or_default());
    shell.args(["-c", command]).env("PATH", path);
    shell.envs(sandbox.command(&[]).get_envs().filter_map(|(key, value)| Some((key, value?))));
    let ended = Ended::of(&mut shell);
    assert_eq!(ended.code, 0, "{command}: {}", ended.stderr);
}

/// The host's end of the only pair on the bridge.
fn host_end() -> String {
    let ports = ip("-o link show master xnet0");
    ports.split(": ").nth(1).unwrap().split('@').next().unwrap().to_owned()
}

/// Requirement: T15.
#[test]
fn whole_hosts_and_containers_are_let_be() {
    let sandbox = node();
    let (code, lines) = examine(&sandbox, &[]);
    assert_eq!((code, lines.iter().any(|[verdict, ..]| verdict == "bad")), (0, false), "{lines:?}");
    assert!(lines.iter().any(|[_, check, ..]| check == "rcu_expedited"), "{lines:?}");
    assert!(!sandbox.path("state").exists() && !sandbox.path("data").exists(), "a look has made something");
    drop(sandbox);
    let (sandbox, id) = patient(&["-p", "8080:80"]);
    let _taken = node::inside(&node::netns(&connected(&sandbox, &id)), || TcpListener::bind("0.0.0.0:80").unwrap())
        .join()
        .unwrap();
    let (code, lines) = examine(&sandbox, &["web"]);
    assert!(code == 0 && lines.iter().all(|[verdict, ..]| verdict == "ok"), "{lines:?}");
    for check in ["lo", "eth0", "bridge", "gateway", "neighbour", "forwarding", "masquerading", "MTU", "port 80/tcp"] {
        assert!(lines.iter().any(|[_, each, ..]| each == check), "{check}: {lines:?}");
    }
    let text = xnet(&sandbox, &["doctor", &id[..8]]);
    assert!(text.code == 0 && text.stdout.starts_with("ok    running"), "{text:?}");
    assert_eq!(trouble(&sandbox, &[]), Vec::<Line>::new());
}

/// One thing is broken at a time, and what is then read is typed.
#[test]
fn what_is_broken_on_the_way_is_named_and_its_fix_works() {
    let (sandbox, id) = patient(&[]);
    let (end, own) = (host_end(), address(&sandbox, &id));
    let n = "xnet netns exec web";
    let broken = [
        (format!("{n} ip link set lo down"), "lo", "down"),
        (format!("{n} ip link set eth0 down"), "eth0", "down"),
        (format!("ip link set {end} down"), "host end", "is down"),
        (format!("ip link set {end} nomaster"), "host end", "no port of bridge xnet0"),
        ("ip link set xnet0 down".to_owned(), "bridge", "xnet0 is down"),
        (format!("ip link set {end} mtu 1300"), "host end", "MTU 1300, and eth0 inside 1500"),
        (format!("{n} ip address del {own}/16 dev eth0"), "eth0 address", "which it was given, is not there"),
        (format!("{n} ip route del default"), "gateway", "it was to lead to 10.213.0.1"),
        (
            format!("{n} ip route replace default via 172.16.0.1 dev eth0 onlink"),
            "gateway",
            "Nexthop has invalid gateway",
        ),
        (
            format!("{n} ip neighbour replace 10.213.0.1 lladdr 02:00:00:00:00:99 dev eth0 nud permanent"),
            "neighbour",
            "the container sends to 02:00:00:00:00:99",
        ),
        (format!("ip route add {own}/32 dev out"), "way back", "to out, and the container is at xnet0"),
        ("echo 0 >/proc/sys/net/ipv4/ip_forward".to_owned(), "forwarding", "net.ipv4.ip_forward is 0"),
        ("iptables -P FORWARD DROP".to_owned(), "filter", "FORWARD is DROP, and no rule accepts anything"),
    ];
    for (command, check, seen) in broken {
        typed(&sandbox, &command);
        let found = trouble(&sandbox, &["web"]);
        let [verdict, named, text, _] = &found[0];
        assert!(found.len() == 1 && verdict == "bad" && named == check && text.contains(seen), "{command}: {found:?}");
        heal(&sandbox, found);
    }
}

/// Does what it is told until nothing is bad any more. A link that is switched off forgets more than one thing.
fn heal(sandbox: &Sandbox, mut found: Vec<Line>) {
    let mut rounds = 0;
    while !found.is_empty() && rounds < 4 {
        rounds += 1;
        found.iter().for_each(|line| typed(sandbox, &line[3]));
        found = trouble(sandbox, &["web"]);
        found.retain(|[verdict, ..]| verdict == "bad");
    }
    assert_eq!(found, Vec::<Line>::new(), "the fixes do not help");
}

#[test]
fn names_that_were_chosen_inside_are_no_commands() {
    let (sandbox, _) = patient(&[]);
    typed(
        &sandbox,
        "xnet netns exec web ip link set eth0 down && xnet netns exec web ip link set eth0 name '$(touch)'",
    );
    let found = trouble(&sandbox, &["web"]);
    assert!(found.len() == 2 && found[0][1] == "eth0" && found[0][2].contains("it is gone"), "{found:?}");
    assert_eq!(found[1][3], "xnet netns exec web ip link set '$(touch)' up");
    typed(&sandbox, &found[1][3]);
}

#[test]
fn a_gateway_that_nobody_has_and_an_address_that_two_have_are_found_by_asking() {
    let (sandbox, id) = patient(&[]);
    let own = address(&sandbox, &id);
    typed(&sandbox, "xnet netns exec web ip route replace default via 10.213.0.99");
    let found = trouble(&sandbox, &["web"]);
    assert!(found.len() == 1 && found[0][2].contains("nobody answers for the gateway 10.213.0.99"), "{found:?}");
    assert!(found[0][3].ends_with("ip route replace default via 10.213.0.1 dev eth0"), "{found:?}");
    heal(&sandbox, found);
    sandbox.detach(&["--name=other", "--net=none"], &["sleep", "1000"]);
    typed(&sandbox, &format!("xnet netns attach other --ip {own}/16"));
    let found = trouble(&sandbox, &["web"]);
    assert!(found.len() == 1 && found[0][2].contains("is somebody else's, too"), "{found:?}");
    assert_eq!(found[0][3], format!("xnet netns exec other ip address del {own}/16 dev eth0"));
    typed(&sandbox, &found[0][3]);
    assert_eq!(trouble(&sandbox, &["web"]), Vec::<Line>::new());
    // Another machine on the bridge's wire, of which nothing is known here.
    ip("netns add far");
    ip("link add wire type veth peer name eth0 netns far");
    ip("link set wire master xnet0 up");
    ip("-n far link set eth0 up");
    typed(
        &sandbox,
        "ip netns exec far sh -c 'ip link add br0 type bridge && ip link set br0 up && ip link set eth0 master br0'",
    );
    ip(&format!("-n far addr add {own}/16 dev br0"));
    let found = trouble(&sandbox, &["web"]);
    assert!(found.len() == 1 && found[0][2].contains("answers for it"), "{found:?}");
    ip("link del wire");
    assert_eq!(trouble(&sandbox, &["web"]), Vec::<Line>::new());
}

#[test]
fn packets_that_are_too_big_for_the_way_out_are_foreseen() {
    let (sandbox, _) = patient(&[]);
    ip("link set out mtu 1400");
    let found = trouble(&sandbox, &["web"]);
    assert!(found.len() == 1 && found[0][1] == "MTU" && found[0][0] == "warn", "{found:?}");
    assert!(found[0][3].ends_with("ip link set eth0 mtu 1400"), "{found:?}");
    let host = trouble(&sandbox, &[]);
    assert!(host.len() == 1 && host[0][3] == "ip link set xnet0 mtu 1400", "{host:?}");
    found.iter().chain(&host).for_each(|line| typed(&sandbox, &line[3]));
    assert_eq!((trouble(&sandbox, &["web"]), trouble(&sandbox, &[])), (vec![], vec![]));
}

#[test]
fn published_ports_that_nobody_takes_are_found() {
    let (sandbox, id) = patient(&["-p", "8080:80", "-p", "8081:81", "-p", "8053:53/udp", "-p", "8054:54/udp"]);
    let taken = node::inside(&node::netns(&connected(&sandbox, &id)), || {
        let udp = |at: &str| UdpSocket::bind(at).unwrap();
        (TcpListener::bind("127.0.0.1:80").unwrap(), udp("127.0.0.1:53"), udp("0.0.0.0:54"))
    });
    let _taken = taken.join().unwrap();
    let found = trouble(&sandbox, &["web"]);
    let checks: Vec<&str> = found.iter().map(|line| line[1].as_str()).collect();
    assert_eq!(checks, ["port 80/tcp", "port 81/tcp", "port 53/udp"], "{found:?}");
    assert!(found[0][2].contains("only 127.0.0.1:80 listens") && found[0][3].contains("listen at 0.0.0.0:80"));
    assert!(found[1][2].contains("nobody listens inside"), "{found:?}");
    typed(&sandbox, "nft delete table inet xnet_portmap");
    let found = trouble(&sandbox, &["web"]);
    assert!(found[0][1] == "port rules" && found[0][3] == "xnet restart web", "{found:?}");
}

#[test]
fn rules_that_somebody_has_flushed_are_missed() {
    let (sandbox, _) = patient(&["--stop-timeout=0"]);
    typed(&sandbox, "nft delete table inet xnet_masq");
    let found = trouble(&sandbox, &["web"]);
    assert!(found.len() == 1 && found[0][1] == "masquerading", "{found:?}");
    heal(&sandbox, found);
}

/// Requirement: P-38.
#[test]
fn orphans_that_nobody_reaps_are_counted() {
    let sandbox = node();
    // They end when process 1 is no shell any more, which might reap them while it waits for another.
    let orphan = "until grep -q sleep /proc/1/comm; do sleep 0.01; done";
    let orphans = format!("for i in 1 2 3; do (sh -c '{orphan}' &); done; exec sleep 1000");
    sandbox.detach(&["--name=web", "--net=none"], &["sh", "-c", &orphans]);
    eventually("three zombies are told", || {
        let found = trouble(&sandbox, &["web"]);
        found.len() == 1 && found[0][1] == "zombies" && found[0][2].starts_with("3 ") && found[0][2].contains("--init")
    });
    let brief = "for i in 1 2 3; do (true &); done; exec sleep 1000";
    sandbox.detach(&["--name=init", "--net=none", "--init"], &["sh", "-c", brief]);
    assert_eq!(trouble(&sandbox, &["init"]), Vec::<Line>::new());
}

/// Requirement: S1-O6.
#[test]
fn changes_behind_a_mounted_overlay_are_seen_and_ordinary_ones_are_not() {
    let sandbox = node();
    let script = "echo old >/kept; echo old >/file; exec 3</kept; cat /file /added; echo up; read x </dev/zero";
    let id = sandbox.detach(&["--name=web", "--net=none", "--stop-timeout=0"], &["sh", "-c", script]);
    let layer: PathBuf = sandbox.path("data/overlay").join(&id).join("diff");
    eventually("the container is up", || xnet(&sandbox, &["logs", "web"]).stdout.contains("up"));
    let none = Vec::<Line>::new();
    assert_eq!(trouble(&sandbox, &["web"]), none);
    // Whatever is done through the overlay is no news.
    xnet(&sandbox, &["exec", "web", "sh", "-c", "echo new >/n && mv /n /file && rm -rf /home && mkdir /home"])
        .expect(0, "");
    assert_eq!(trouble(&sandbox, &["web"]), none);
    let changed = |what: &str| {
        let found = trouble(&sandbox, &["web"]);
        assert!(found.len() == 1 && found[0][1] == "layer" && found[0][2].contains(what), "{found:?}");
        assert_eq!(found[0][3], "xnet restart web");
    };
    fs::write(layer.join("other"), "new").unwrap();
    fs::rename(layer.join("other"), layer.join("file")).unwrap();
    changed("/file was replaced there");
    fs::remove_file(layer.join("file")).unwrap();
    fs::write(layer.join("added"), "").unwrap();
    changed("/added is there, and does not show inside");
    fs::remove_file(layer.join("added")).unwrap();
    fs::remove_file(layer.join("kept")).unwrap();
    changed("/kept is deleted there");
    xnet(&sandbox, &["restart", "web"]).expect(0, "web");
    assert_eq!(trouble(&sandbox, &["web"]), none);
}

#[test]
fn a_connection_from_inside_says_how_it_ended() {
    let (sandbox, _) = patient(&["--dns=10.213.0.1", "--add-host=router:10.213.0.1"]);
    let to = |what: &str| {
        let (code, lines) = examine(&sandbox, &["web", "--to", what]);
        let [verdict, _, seen, fix] = lines.last().unwrap().clone();
        assert_eq!((code, verdict.as_str()), if code == 0 { (0, "ok") } else { (1, "bad") }, "{lines:?}");
        (seen, fix)
    };
    let listener = TcpListener::bind("10.213.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    assert!(to(&format!("router:{port}")).0.contains("answered from 10.213.0."));
    drop(listener);
    let (seen, fix) = to(&format!("10.213.0.1:{port}"));
    assert!(seen.contains("refuses") && fix == format!("ss -lnt 'sport = :{port}'"), "{seen} {fix}");
    ip("route add unreachable 203.0.113.0/24");
    assert!(to("203.0.113.1:80").0.contains("cannot be reached"));
    assert!(to("nobody.example:80").0.contains("is not known inside"));
    let dns = UdpSocket::bind("10.213.0.1:53").unwrap();
    std::thread::spawn(move || serve(&dns));
    assert!(to("name.example:1").0.contains("192.0.2.9:1 refuses"));
    for args in [&["--to", "x:1"][..], &["web", "--to", "x"], &["nobody"]] {
        assert_eq!(xnet(&sandbox, &[&["doctor"], args].concat()).code, 125);
    }
}

/// Answers every question for an address with 192.0.2.9.
fn serve(dns: &UdpSocket) {
    let mut question = [0; 512];
    while let Ok((length, from)) = dns.recv_from(&mut question) {
        let mut answer = question[..length].to_vec();
        let is_v4 = answer[length - 3] == 1;
        (answer[2], answer[7]) = (0x81, u8::from(is_v4));
        if is_v4 {
            answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 9]);
        }
        let _ = dns.send_to(&answer, from);
    }
}

#[test]
fn who_does_not_run_is_not_looked_into() {
    let sandbox = node();
    sandbox.detach(&["--name=web", "--net=none", "--stop-timeout=0"], &["sleep", "1000"]);
    xnet(&sandbox, &["pause", "web"]).expect(0, "web");
    let found = trouble(&sandbox, &["web"]);
    assert!(found.len() == 1 && found[0][3] == "xnet unpause web", "{found:?}");
    xnet(&sandbox, &["unpause", "web"]).expect(0, "web");
    xnet(&sandbox, &["stop", "web"]).expect(0, "web");
    let found = trouble(&sandbox, &["web"]);
    assert!(found.len() == 1 && found[0][3] == "xnet start web", "{found:?}");
}

#[test]
fn what_is_wrong_with_a_host_is_told() {
    let (sandbox, _) = patient(&[]);
    assert_eq!(trouble(&sandbox, &[]), Vec::<Line>::new());
    fs::write("/run/netns/foreign", "").unwrap();
    let networks = PathBuf::from("/etc/cni/net.d");
    fs::create_dir_all(&networks).unwrap();
    fs::set_permissions(&networks, fs::Permissions::from_mode(0o777)).unwrap();
    let seed = r#"{"cniVersion": "1.0.0", "name": "seed", "plugins": [{"type": "bridge", "bridge": "seed0", "ipam":
        {"type": "host-local", "subnet": "172.17.0.0/16", "gateway": "172.16.0.1"}}]}"#;
    fs::write(networks.join("seed.conflist"), seed).unwrap();
    fs::write("/proc/sys/net/ipv4/ip_forward", "0").unwrap();
    let found = trouble(&sandbox, &[]);
    let named: Vec<[&str; 2]> = found.iter().map(|line| [line[0].as_str(), line[1].as_str()]).collect();
    let expected = [["bad", "forwarding"], ["warn", "networks"], ["bad", "seed.conflist"], ["warn", "namespaces"]];
    assert_eq!(named, expected, "{found:?}");
    assert!(found[2][2].contains("172.16.0.1 is not in 172.17.0.0/16") && found[2][2].contains("Nexthop has invalid"));
    assert!(found[3][2].contains("/run/netns/foreign"), "{found:?}");
    found.iter().for_each(|line| typed(&sandbox, &line[3]));
    assert_eq!(trouble(&sandbox, &[]), Vec::<Line>::new());
    assert!(fs::read_to_string(networks.join("seed.conflist")).unwrap().contains("172.17.0.1"));
}

#[test]
fn a_network_that_has_lost_its_owner_is_told() {
    let (sandbox, _) = patient(&["--stop-timeout=0"]);
    sandbox.detach(&["--name=side", "--net=container:web", "--stop-timeout=0"], &["sleep", "1000"]);
    let (code, lines) = examine(&sandbox, &["side"]);
    assert!(code == 0 && lines.iter().any(|line| line[2] == "that of container web"), "{lines:?}");
    xnet(&sandbox, &["restart", "web"]).expect(0, "web");
    let found = trouble(&sandbox, &["side"]);
    assert!(found.len() == 1 && found[0][2].contains("has ended since"), "{found:?}");
    typed(&sandbox, &found[0][3]);
    assert_eq!(trouble(&sandbox, &["side"]), Vec::<Line>::new());
}

#[test]
fn those_without_root_see_what_is_theirs() {
    let person = Person::new();
    person.detach(&["--name=web", "--net=none"]);
    for args in [&["doctor", "web"][..], &["doctor"]] {
        let ended = person.xnet(args);
        assert!(ended.code == 0 && ended.stdout.contains("\nok  "), "{ended:?}");
    }
    assert!(person.xnet(&["doctor", "web"]).stdout.contains("none but lo"));
}
