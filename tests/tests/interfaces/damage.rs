//! CHECK after tampering: each damage is found, and named.

use std::fs;

use serde_json::json;

use crate::kinds::{EVERYWHERE, IPVLAN, Kind, PTP, STOCK, Stage};

/// What is done in the container, and what CHECK says of it.
const DAMAGES: [(&str, &str); 7] = [
    ("ip address delete 10.1.0.2/24 dev eth0", "Failed to match addr 10.1.0.2/24 on interface eth0"),
    ("ip address delete fd00:1::2/64 dev eth0", "Failed to match addr fd00:1::2/64 on interface eth0"),
    ("ip link set eth0 down", "Interface eth0 is down"),
    ("ip link set eth0 address 02:00:00:00:00:99", "*nterface eth0 Mac * doesn't match container Mac: *"),
    ("ip route delete 192.0.2.128/25", "Expected Route {Dst:{IP:192.0.2.128 *} not found in routing table"),
    ("ip link delete eth0; ip link add eth0 type ifb", "*rror: Container interface eth0 not of type *"),
    ("ip link delete eth0", "* eth0*"),
];

/// An attachment that is damaged. Its addresses are the first of their pools, whatever was there before.
fn found(stage: &Stage<'_>, damage: &str, expected: &str) {
    let result = stage.plugin().add().ok();
    let check = stage.plugin_with(json!({"prevResult": result}));
    check.check().ok();
    stage.c1.sh(damage);
    let failure = check.check().failure();
    assert!(matches(expected, &failure.msg), "{}: after {damage}: {failure:?}", stage.kind.plugin);
    stage.plugin().del().ok();
    fs::remove_dir_all("/var/lib/cni/networks").expect("forget the leases");
}

/// Whether the text is what the pattern says, where `*` is any text.
fn matches(pattern: &str, text: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(text) = text.strip_prefix(start) else { return false };
    text.char_indices().map(|(at, _)| at).chain([text.len()]).any(|at| matches(rest, &text[at..]))
}

fn every_damage(kind: Kind) {
    // A device of the host's may be of any kind, and an ipvlan has no address of its own.
    let (device, ipvlan) = (kind.plugin == "host-device", kind.plugin == "ipvlan");
    let can_be = |damage: &str| !(device && damage.contains("link add") || ipvlan && damage.contains("eth0 address"));
    Stage::play_messy(kind, |stage| {
        let damages = DAMAGES.into_iter().filter(|(damage, _)| can_be(damage));
        damages.for_each(|(damage, expected)| found(stage, damage, expected));
    });
}

#[test]
fn is_found_and_named() {
    EVERYWHERE.into_iter().for_each(every_damage);
}

/// Its end in the host is part of the attachment.
#[test]
fn to_ptp_in_the_host_is_found() {
    let name = "$(ip -br link show type veth | grep -o '^veth[0-9a-f]*')";
    for (damage, expected) in [
        (format!("ip address delete 10.1.0.1/32 dev {name}"), "*10.1.0.1/32*"),
        ("ip route delete 10.1.0.2".to_owned(), "Expected Route {Dst:{IP:10.1.0.2 *"),
        (format!("ip link set {name} down"), "*is down"),
        ("ip -n c1 route delete 10.1.0.0/24".to_owned(), "Failed to find Gateway 10.1.0.1 for interface eth0"),
        ("ip -n c1 -6 route delete fd00:1::1".to_owned(), "Failed to find Gateway fd00:1::1 for interface eth0"),
    ] {
        Stage::play_messy(PTP, |stage| {
            let result = stage.plugin().add().ok();
            let check = stage.plugin_with(json!({"prevResult": result}));
            harness::sh(&damage);
            let failure = check.check().failure();
            assert!(matches(expected, &failure.msg), "after {damage}: {failure:?}");
        });
    }
}

#[test]
#[ignore = "needs the virtual machine: make test-vm"]
fn is_found_and_named_on_a_stock_kernel() {
    STOCK.into_iter().for_each(every_damage);
    let (mode, expected) =
        ("ip link set eth0 type ipvlan mode l3", "Container IPVlan mode l3 does not match expected value: l2");
    Stage::play_messy(IPVLAN, |stage| found(stage, mode, expected));
}
