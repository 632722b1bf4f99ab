//! Limits as steps, against the real kernel in namespaces of their own.

use std::process::Command;
use std::sync::mpsc;

use super::*;
use crate::mac::Mac;
use crate::plan::{Applied, Plan, SetUp};
use crate::sandbox::alone;

const BUCKET: Bucket = Bucket { rate: 1_000_000, burst: 100_000, latency: 25 };

fn sh(script: &str) -> String {
    let output = Command::new("sh").args(["-euc", script]).output().unwrap();
    assert!(output.status.success(), "{script}: {output:?}");
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}

fn ensure() -> EnsureIfb {
    let ifb = NewIfb { name: "bwp0".into(), mac: Mac::new([2, 0, 0, 0, 0, 9]), mtu: 1400 };
    EnsureIfb { ifb, alias: "somebody's".into(), adopted: None }
}

fn limit(link: &str) -> Limit {
    Limit { link: link.into(), bucket: BUCKET, attempt: "create qdisc" }
}

/// Both ways.
fn everything() -> Plan {
    let mut plan = Plan::new();
    plan.push(ensure());
    plan.push(SetAlias { link: "bwp0".into(), alias: "somebody's".into() });
    plan.push(limit("bwp0"));
    plan.push(SetUp { side: Side::Host, link: "bwp0".into() });
    plan.push(limit("veth0"));
    plan.push(Ingress { link: "veth0".into() });
    plan.push(Redirect { from: "veth0".into(), to: "bwp0".into() });
    plan
}

/// A machine with a veth pair.
fn machine() -> Machine {
    sh("ip link add veth0 type veth peer name veth1; ip link set veth1 up; ip link set veth0 up");
    Machine::host_only()
}

/// What the steps could leave, without the numbers of links and actions.
fn traces() -> String {
    sh(r"(ip -d link show type ifb; tc qdisc show; tc filter show dev veth0 parent ffff:) |
        sed -e 's/^[0-9]*: //' -e 's/index [0-9]* //'")
}

#[test]
fn prints_the_lines_that_a_person_would_type() {
    insta::assert_snapshot!(everything().to_string(), @r#"
    ip link add bwp0 address 02:00:00:00:00:09 mtu 1400 txqueuelen 0 type ifb
    ip link set bwp0 alias "somebody's"
    tc qdisc add dev bwp0 root handle 1: tbf rate 1000000bps burst 100000 latency 25ms
    ip link set bwp0 up
    tc qdisc add dev veth0 root handle 1: tbf rate 1000000bps burst 100000 latency 25ms
    tc qdisc add dev veth0 ingress
    tc filter replace dev veth0 parent ffff: handle 800::800 protocol all prio 1 u32 match u32 0 0 flowid 1:1 action mirred egress redirect dev bwp0
    "#);
}

/// Whoever types the lines gets the same as from the steps.
#[test]
fn the_lines_do_what_the_steps_do() {
    let (sender, by_steps) = mpsc::channel();
    alone(move || {
        everything().apply(&mut machine(), &mut Applied::default()).unwrap();
        sender.send(traces()).unwrap();
    });
    let by_steps = by_steps.recv().unwrap();
    alone(move || {
        let _ = machine();
        sh(&everything().to_string());
        assert_eq!(traces(), by_steps);
    });
}

#[test]
fn applied_it_holds_and_undone_it_leaves_nothing() {
    alone(|| {
        let mut machine = machine();
        let before = traces();
        let mut done = Applied::default();
        everything().apply(&mut machine, &mut done).unwrap();
        everything().check(&mut Machine::host_only()).unwrap();
        let link = machine.host().unwrap().link("bwp0").unwrap().unwrap();
        assert_eq!((link.alias.as_deref(), link.up, link.mtu), (Some("somebody's"), true, 1400));

        // Once more, by a process that knows nothing of the first.
        let applied = traces();
        let mut again = Machine::host_only();
        everything().apply(&mut again, &mut Applied::default()).unwrap();
        assert_eq!(traces(), applied);

        assert_eq!(done.undo(&mut machine), []);
        assert_eq!(traces(), before);
        let mut done = Applied::default();
        everything().apply(&mut machine, &mut done).unwrap();
        sh("ip link del bwp0; ip link del veth0");
        assert_eq!(done.undo(&mut machine), []);
    });
}

#[test]
fn a_link_of_others_is_refused_and_unharmed() {
    let others = [
        "ip link add bwp0 type ifb",
        "ip link add bwp0 mtu 1300 type ifb; ip link set bwp0 alias another",
        "ip link add bwp0 address 02:00:00:00:00:09 type ifb; ip link set bwp0 alias another",
        "ip link add bwp0 address 02:00:00:00:00:09 type veth",
    ];
    for other in others {
        alone(move || {
            let mut machine = machine();
            sh(other);
            let before = traces();
            let mut done = Applied::default();
            let failure = everything().apply(&mut machine, &mut done).unwrap_err();
            assert_eq!(failure.text, "adding link: file exists", "{other}");
            assert_eq!(done.undo(&mut machine), []);
            assert_eq!(traces(), before, "{other}");
        });
    }
}

#[test]
fn ones_own_link_is_known_by_alias_address_or_index() {
    let table = [
        ("ip link add bwp0 type ifb; ip link set bwp0 alias \"somebody's\"", None),
        ("ip link add bwp0 address 02:00:00:00:00:09 type ifb", None),
        ("ip link add bwp0 index 77 type ifb", Some(77)),
    ];
    for (made, adopted) in table {
        alone(move || {
            let mut machine = machine();
            sh(made);
            EnsureIfb { adopted, ..ensure() }.apply(&mut machine).unwrap();
            assert_eq!(machine.host().unwrap().link("bwp0").unwrap().unwrap().mtu, 1400);
        });
    }
}

#[test]
fn every_kind_of_damage_is_found() {
    let damage = [
        ("ip link del bwp0", "link bwp0 is missing"),
        ("ip link del bwp0; ip link add bwp0 type veth", "link bwp0 is not of type ifb"),
        ("ip link set bwp0 alias x", "missing: ip link set bwp0 alias \"somebody's\""),
        (
            "tc qdisc del dev bwp0 root",
            "missing: tc qdisc add dev bwp0 root handle 1: tbf rate 1000000bps burst 100000 latency 25ms",
        ),
        ("ip link set bwp0 down", "link bwp0 is down"),
        (
            "tc qdisc change dev veth0 root handle 1: tbf rate 16mbit burst 100000 limit 125000",
            "missing: tc qdisc add dev veth0 root handle 1: tbf rate 1000000bps burst 100000 latency 25ms",
        ),
        ("tc qdisc del dev veth0 ingress", "missing: tc filter replace dev veth0 parent ffff: handle 800::800 *"),
        (
            "ip link add ifb9 type ifb; tc filter replace dev veth0 parent ffff: handle 800::800 protocol all prio 1 \
             u32 match u32 0 0 action mirred egress redirect dev ifb9",
            "missing: tc filter replace dev veth0 parent ffff: handle 800::800 *",
        ),
    ];
    for (command, expected) in damage {
        alone(move || {
            everything().apply(&mut machine(), &mut Applied::default()).unwrap();
            sh(command);
            let found = everything().check(&mut Machine::host_only()).unwrap_err().to_string();
            let holds = expected.strip_suffix('*').map_or(found == expected, |start| found.starts_with(start));
            assert!(holds, "{command}: {found}");
        });
    }
}

#[test]
fn what_differs_is_told() {
    alone(|| {
        let mut machine = machine();
        let compare = |machine: &mut Machine| limit("veth0").compare(machine).unwrap();
        assert_eq!(compare(&mut machine), Some(Unlimited::Absent(Some("noqueue".into()))));
        sh("tc qdisc add dev veth0 root handle 1: htb");
        assert_eq!(compare(&mut machine), Some(Unlimited::Absent(Some("htb".into()))));
        sh("tc qdisc replace dev veth0 root handle 5: tbf rate 16mbit burst 100000 limit 125000");
        assert_eq!(compare(&mut machine), Some(Unlimited::Other(Mismatch::Rate(1_000_000, 2_000_000))));
        sh("tc qdisc replace dev veth0 root handle 5: tbf rate 8mbit burst 100000 latency 25ms");
        assert_eq!(compare(&mut machine), None);
        assert!(limit("nosuch").compare(&mut machine).unwrap_err().is_not_found());
    });
}
