//! Against the kernel and the Go suite, in private namespaces.

mod backups;
mod failure;
mod parity;
mod verbs;

use std::fs;

use serde_json::{Value, json};

use super::*;
use crate::sbr::tests::{Caller, namespace, shell};

const ETH0: Caller<'static> = Caller { id: "cid1", ifname: "eth0", netns: "/run/netns/pod", args: "" };

/// Where backups are kept by default, in a tmpfs of the test's own.
const BACKUP: &str = "/run/cni/tuning/cid1_eth0.json";

/// The hardware address that the link is born with.
const MAC: &str = "02:00:00:00:00:01";

/// Runs `test` in namespaces of its own, with a pod that has one interface.
fn pod<T: Send>(test: impl FnOnce() -> T + Send) -> T {
    namespace(|| {
        new_pod();
        test()
    })
}

fn new_pod() {
    shell(&format!(
        "ip netns add pod
         ip link add host0 address 02:00:00:00:00:02 type veth peer name eth0 address {MAC} netns pod
         ip -n pod link set eth0 addrgenmode none up"
    ));
}

/// The host's end does not wait for the kernel to take a namespace down, which it does in its own time.
fn lose_pod() {
    shell("ip link del host0; ip netns del pod");
}

/// The configuration, with more keys, behind a plugin that made the interface.
fn conf(keys: &str) -> String {
    conf_of("n1", keys)
}

fn conf_of(net: &str, keys: &str) -> String {
    format!(
        r#"{{"cniVersion": "1.0.0", "name": "{net}", "type": "tuning"{keys}, "prevResult": {{"cniVersion": "1.0.0",
            "interfaces": [{{"name": "host0", "mac": "02:00:00:00:00:02"}},
                {{"name": "eth0", "mac": "{MAC}", "sandbox": "/run/netns/pod"}}],
            "ips": [{{"interface": 1, "address": "10.1.0.2/24"}}]}}}}"#
    )
}

/// Every attribute of a link and two parameters, one of the link and one of the namespace.
const EVERYTHING: &str = r#", "mac": "02:00:00:00:00:99", "mtu": 1400, "promisc": true, "allmulti": true, "txQLen": 77,
    "sysctl": {"net.ipv4.conf.IFNAME.arp_filter": "1", "net/ipv4/ip_local_port_range": "20000 30000"}"#;

/// Whatever can be tuned in the pod: the link, but for its carrier, which follows in the kernel's own time, and all
/// parameters of the namespace.
fn state() -> String {
    let mut link = shell("ip -n pod -d link show eth0");
    for carrier in ["NO-CARRIER,", ",LOWER_UP", " state UNKNOWN", " state DOWN", " state UP"] {
        link = link.replace(carrier, "");
    }
    link + &shell("ip netns exec pod sh -c 'cd /proc/sys/net && grep -rs . . | sort'")
}

/// What is different now, for people.
fn changes(before: &str, after: &str) -> Vec<String> {
    let missing = |one: &str, other: &str| -> Vec<String> {
        let lines: Vec<&str> = other.lines().collect();
        one.lines().filter(|line| !lines.contains(line)).map(|line| line.trim().to_owned()).collect()
    };
    [missing(before, after), missing(after, before)].concat()
}

fn parameter(name: &str) -> String {
    shell(&format!("ip netns exec pod cat /proc/sys/{name}")).trim().to_owned()
}

/// The backup as it is on disk.
fn backup() -> Value {
    serde_json::from_slice(&fs::read(BACKUP).unwrap()).unwrap()
}

/// No backup, and no other file beside it.
fn nothing_is_kept() -> bool {
    fs::read_dir("/run/cni/tuning").is_ok_and(|mut files| files.next().is_none())
}
