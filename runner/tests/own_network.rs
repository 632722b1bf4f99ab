//! Bridge mode with nothing given: the built-in network, by the plugins inside the binary.

#![allow(clippy::unwrap_used, reason = "what fails to unwrap fails the test")]

mod sandbox;

use std::collections::HashSet;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use nix::mount::{MsFlags, mount};
use nix::sys::signal::Signal;
use sandbox::{Ended, Sandbox};

const LEASES: &str = "/var/lib/cni/networks/bridge";

/// A sandbox without leases of the host.
fn node() -> Sandbox {
    let sandbox = Sandbox::new();
    mount(Some("tmpfs"), "/var/lib", Some("tmpfs"), MsFlags::empty(), None::<&str>).unwrap();
    sandbox
}

fn ip(args: &str) -> String {
    let ended = Ended::of(Command::new("ip").args(args.split(' ')));
    assert_eq!(ended.code, 0, "ip {args}: {}", ended.stderr);
    ended.stdout
}

fn leases() -> Vec<PathBuf> {
    let entries = fs::read_dir(LEASES).into_iter().flatten().flatten();
    let address = |path: &PathBuf| {
        path.file_name().is_some_and(|n| n.to_string_lossy().replace('_', ":").parse::<std::net::IpAddr>().is_ok())
    };
    entries.map(|e| e.path()).filter(address).collect()
}

/// Nothing of any container is left in the host's namespace, nor anywhere else.
fn assert_clean(sandbox: &Sandbox) {
    sandbox.assert_clean();
    assert_eq!(leases(), Vec::<PathBuf>::new());
    let rules = Ended::of(Command::new("nft").args(["list", "ruleset"])).stdout;
    assert!(!rules.contains("elements") && !rules.contains("10.213.0.2"), "{rules}");
    // The kernel takes the links of a dropped namespace away in its own time.
    let gone = (0..200).any(|_| {
        let ports = ip("-o link show type veth");
        ports.is_empty() || {
            std::thread::sleep(std::time::Duration::from_millis(10));
            false
        }
    });
    assert!(gone, "{}", ip("-o link show type veth"));
}

/// Requirement: NET-B, S0-V5.
#[test]
fn it_needs_no_configuration() {
    let sandbox = node();
    let script = "ip -o -4 addr show eth0 | awk '{print $4}'; ip -o -6 addr show eth0 scope global | awk '{print $4}'; \
                  ip route show default | sed 's/ *$//'; ping -c1 -W2 10.213.0.1 >/dev/null && echo four; \
                  ping -c1 -W2 fd5c:7ae1:90b3::1 >/dev/null && echo six; grep -c \"$(hostname)\" /etc/hosts";
    let expected = "10.213.0.2/16\nfd5c:7ae1:90b3::2/64\ndefault via 10.213.0.1 dev eth0\nfour\nsix\n2";
    sandbox.run(&[], &["sh", "-c", script]).expect(0, expected);
    assert_clean(&sandbox);
    assert!(ip("-o link show xnet0").contains("xnet0"), "the bridge is shared, and stays");
}

#[test]
fn it_has_the_mtu_of_the_way_out() {
    let sandbox = node();
    ip("link add out type veth peer name far");
    ip("link set out mtu 1400 up");
    ip("addr add 192.0.2.2/24 dev out");
    ip("route add default via 192.0.2.1 dev out");
    let running = sandbox.start(&[], "cat /sys/class/net/eth0/mtu; exec sleep 1000");
    assert_eq!(running.first, "1400");
    assert!(ip("-o link show xnet0").contains("mtu 1400"));
}

/// Requirement: NET-B.
#[test]
fn containers_meet_on_the_bridge() {
    let sandbox = node();
    let server = sandbox.start(&["--name=web"], "ip -o -4 addr show eth0 | awk '{print $4}'; exec sleep 1000");
    let address = server.first.split('/').next().unwrap().to_owned();
    sandbox.run(&[], &["sh", "-c", &format!("ping -c1 -W2 {address} >/dev/null")]).expect(0, "");
    let joined = sandbox.run(&["--net=container:web"], &["sh", "-c", "ip -o -4 addr show eth0 | awk '{print $4}'"]);
    joined.expect(0, &server.first);
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait(), 143);
    assert_clean(&sandbox);
}

/// Requirement: S4-4, N-11.
#[test]
fn twenty_first_runs_at_once_get_twenty_addresses() {
    let sandbox = node();
    let script = "ip -o -4 addr show eth0 | awk '{print $4}'; read x; true";
    let start = |_| {
        let mut command = sandbox.run_command(&[], &["sh", "-c", script]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()
    };
    let all: Vec<_> = (0..20).map(start).collect();
    let ended: Vec<_> = all.into_iter().map(|child| child.wait_with_output().unwrap()).collect();
    let addresses: HashSet<_> = ended.iter().map(|e| String::from_utf8_lossy(&e.stdout).into_owned()).collect();
    assert!(ended.iter().all(|e| e.status.success()));
    assert_eq!(addresses.len(), 20, "{addresses:?}");
    assert_clean(&sandbox);
}

/// Requirement: P-35, N-14.
#[test]
fn a_runner_killed_at_any_step_leaves_nothing_after_gc() {
    let sandbox = node();
    for name in ["log-netns", "pin-netns", "log-network", "network", "publish", "undo-netns", "undo-network"] {
        let mut command = sandbox.run_command(&[], &["true"]);
        let status = command.env("XNET_CRASH_AT", name).stdout(Stdio::null()).status().unwrap();
        assert!(!status.success(), "{name}");
        sandbox.await_release();
        let ended = sandbox.gc();
        assert_eq!((ended.code, ended.stdout.trim().len()), (0, 64), "{name}: {}", ended.stderr);
        assert_clean(&sandbox);
    }
}

/// Requirement: N-7, S3-8.
#[test]
fn a_failure_after_the_wiring_undoes_it() {
    let sandbox = node();
    for name in ["network", "publish", "files", "privileges"] {
        let mut command = sandbox.run_command(&[], &["echo", "ran"]);
        Ended::of(command.env("XNET_FAIL_AT", name)).expect_refusal(125, name);
        assert_clean(&sandbox);
    }
}

#[test]
fn one_operation_can_be_run_by_hand() {
    let sandbox = node();
    let running = sandbox.start(&["--net=none"], "echo ready; exec sleep 1000");
    let netns = fs::read_dir(sandbox.path("netns")).unwrap().flatten().next().unwrap().path();
    let netns = netns.to_str().unwrap();
    let conf = sandbox.path("hand.conflist");
    fs::write(&conf, runner::net::default::CONFLIST).unwrap();
    let cni = |verb: &str| {
        let mut command = sandbox.command(&["cni", verb, conf.to_str().unwrap(), netns]);
        command.env_remove("CNI_PATH").env_remove("CNI_ARGS").env_remove("CNI_IFNAME").env_remove("CAP_ARGS");
        Ended::of(&mut command)
    };
    cni("status").expect(0, "");
    let added = cni("add");
    assert_eq!(added.code, 0, "{}", added.stderr);
    let answer: serde_json::Value = serde_json::from_str(&added.stdout).unwrap();
    assert_eq!(answer["ips"][0]["address"], "10.213.0.2/16");
    cni("check").expect(0, "");
    Ended::of(Command::new("nsenter").arg(format!("--net={netns}")).args(["ip", "link", "del", "eth0"])).expect(0, "");
    assert_ne!(cni("check").code, 0);
    cni("del").expect(0, "");
    cni("del").expect(0, "");
    assert_eq!(cni("add").code, 0);
    cni("gc").expect(0, "");
    assert_eq!(leases(), Vec::<PathBuf>::new());
    drop(running);
}
