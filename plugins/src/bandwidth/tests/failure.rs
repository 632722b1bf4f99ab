//! ADDs that fail, at every step: nothing is left.

use kernel::link::NewIfb;
use kernel::plan::{Applied, EnsureIfb, Machine, Plan};
use kernel::tc::Bucket;

use super::*;
use crate::bandwidth::plan::plan;
use crate::injection::Refused;

fn everything() -> Plan {
    let bucket = Bucket { rate: 1_000_000, burst: 100_000, latency: 25 };
    let ifb = NewIfb { name: GO_NAME.into(), mac: [2, 0, 0, 0, 0, 9].into(), mtu: 1400 };
    let block = EnsureIfb { ifb, alias: owner("n1", "cid1", "eth0").tag(), adopted: None };
    plan("veth0", Some(bucket), Some((block, bucket)))
}

#[test]
fn nothing_is_left_whatever_step_fails() {
    let all = everything().into_steps().len();
    for failing in 0..=all {
        play(move |_| {
            let before = traces();
            let mut steps = everything().into_steps();
            steps.insert(failing, Box::new(Refused));
            let plan: Plan = steps.into_iter().collect();
            let (mut machine, mut done) = (Machine::host_only(), Applied::default());
            assert_eq!(plan.apply(&mut machine, &mut done).unwrap_err().text, "injected");
            if failing == all {
                assert_ne!(traces(), before);
            }
            assert_eq!(done.undo(&mut machine), []);
            assert_eq!(traces(), before, "after a failure at step {failing}");
        });
    }
}

/// What others have set on the pair makes each step of our own fail in turn.
#[test]
fn nothing_is_left_whatever_the_kernel_refuses() {
    let obstacles = [
        ("ip link add bwpca7a875c2b85 type veth; ip link add OWN type veth", "adding link: file exists"),
        ("tc qdisc add dev veth0 root handle 5: htb", "create qdisc: file exists"),
        ("tc qdisc add dev veth0 root handle 1: htb", "create qdisc: invalid argument"),
        ("tc qdisc add dev veth0 clsact", "create ingress qdisc: invalid argument"),
        (
            "tc qdisc add dev veth0 ingress; tc filter add dev veth0 parent ffff: protocol ip prio 1 u32 match u32 0 0 \
             flowid 1:1",
            "add filter: ",
        ),
    ];
    for (obstacle, expected) in obstacles {
        play(move |stage| {
            sh(&obstacle.replace("OWN", &crate::bandwidth::block::own_name(&"n1".parse().unwrap(), "cid1", "eth0")));
            let before = traces();
            let error = stage.add(&[INGRESS, EGRESS]).unwrap_err();
            assert!(error.msg.starts_with(expected), "{obstacle}: {error}");
            let after = traces();
            // A place for arriving packets that was there before goes with a failed ADD; nothing of ours may stay.
            if !obstacle.contains("veth0 ingress") {
                assert_eq!(after, before, "{obstacle}");
            }
            assert!(!after.contains("tbf") && !after.contains("mirred") && blocks().is_empty(), "{obstacle}: {after}");
        });
    }
}
