//! Network devices of the host, lent to containers.

#![allow(clippy::unwrap_used, reason = "what fails to unwrap fails the test")]

mod node;
mod sandbox;

use std::path::Path;

use node::{end, ip, node, xnet};
use sandbox::{Sandbox, kill};

const STAY: &str = "echo up; exec sleep 1000";

/// A device with addresses, whose other end is a neighbour at 192.0.2.9.
fn device() -> Sandbox {
    let sandbox = node();
    ip("netns add far");
    ip("link add lent type veth peer name eth0 netns far");
    ip("-n far addr add 192.0.2.9/24 dev eth0");
    ip("-n far link set eth0 up");
    ip("addr add 192.0.2.1/24 dev lent");
    ip("-6 addr add 2001:db8::1/64 dev lent nodad");
    ip("link set lent up");
    sandbox
}

fn is_at_home() -> bool {
    Path::new("/proc/thread-self/net/dev").exists()
        && std::fs::read_to_string("/proc/thread-self/net/dev").unwrap().contains("lent:")
}

/// As it was: under its name, with its addresses, switched on.
fn assert_home() {
    let shown = ip("-o addr show dev lent scope global");
    assert!(shown.contains("192.0.2.1/24") && shown.contains("2001:db8::1/64"), "{shown}");
    assert!(ip("-o link show dev lent").contains(",UP"), "it is switched off");
}

/// Requirement: F-netdev.
#[test]
fn a_device_moves_in_and_comes_home() {
    let sandbox = device();
    let look =
        "ip -o addr show dev wan scope global | awk '{print $4}'; ping -c1 -W2 192.0.2.9 >/dev/null && echo reached";
    let running = sandbox.start(&["--net=none", "--netdev=lent:wan", "--name=web"], STAY);
    assert!(!is_at_home());
    let inside = sandbox.run(&["--net=container:web"], &["sh", "-c", look]);
    inside.expect(0, "192.0.2.1/24\n2001:db8::1/64\nreached");
    // Somebody else's, for now.
    sandbox
        .run(&["--net=none", "--netdev=lent"], &["true"])
        .expect_refusal(125, "this host has no network device lent");
    end(running);
    assert_home();
    // Beside networks, and with a new name that the container has given it.
    let rename = "ip link set eth1 down && ip link set eth1 name mine; ls /sys/class/net";
    let options = ["--netdev=lent:eth1", "--cap-add=NET_ADMIN"];
    sandbox.run(&options, &["sh", "-c", rename]).expect(0, "eth0\nlo\nmine");
    assert_home();
    sandbox.assert_clean();
}

/// Requirement: F-netdev, P-35.
#[test]
fn a_device_comes_home_whatever_happens() {
    let sandbox = device();
    let options = ["--net=none", "--netdev=lent:wan", "--name=web"];
    sandbox.run(&options, &["/nowhere"]).expect_refusal(127, "/nowhere");
    assert_home();
    let id = sandbox.detach(&options, &["sleep", "1000"]);
    let info = sandbox.info(&id);
    kill(&info["monitor"]["pid"]);
    kill(&info["pid"]);
    assert!(!is_at_home());
    sandbox.gc().expect(0, &id);
    assert_home();
    xnet(&sandbox, &["start", "web"]).expect(0, "web");
    assert!(!is_at_home());
    xnet(&sandbox, &["rm", "-f", "web"]).expect(0, "web");
    assert_home();
    sandbox.assert_clean();
}

/// Requirement: F-netdev.
#[test]
fn devices_that_cannot_be_lent_are_refused_before_anything_is_touched() {
    let sandbox = device();
    let refused = |options: &[&str], text: &str| sandbox.run(options, &["echo", "ran"]).expect_refusal(125, text);
    refused(&["--net=none", "--netdev=eth77"], "this host has no network device eth77");
    refused(&["--net=none", "--netdev=lent:wan", "--netdev=lent:wan"], "has another interface wan");
    refused(&["--netdev=lent:eth0"], "--netdev lent:NAME");
    refused(&["--net=host", "--netdev=lent"], "cannot be used with --net host");
    for text in ["lo", "a/b", "lent:", "sixteen-letters0"] {
        let ended = sandbox.run(&["--net=none", "--netdev", text], &["echo", "ran"]);
        assert!(ended.code == 125 && ended.stderr.contains("invalid network device"), "{}", ended.stderr);
    }
    assert_home();
    sandbox.assert_clean();
}
