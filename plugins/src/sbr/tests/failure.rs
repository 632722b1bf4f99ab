//! Failure injected at every step: whatever was done before it is taken back.

use kernel::plan::{Plan, Step};

use super::*;
use crate::injection::Refused;

/// All that an ADD does, in a pod with routes of several kinds.
fn everything(machine: &mut Machine) -> Plan {
    let json: Value = serde_json::from_str(&conf(1, "")).unwrap();
    let previous = AddResult::parse(&json["prevResult"], cni::Version::V1_0_0).unwrap();
    let ips: Vec<&IpConfig> = plan::addresses(&previous, "net1").collect();
    let found = survey(machine, "net1").unwrap();
    let tables = found.tables(machine, &ips).unwrap();
    let mut plan = found.fill(&ips, &tables, Gateways::default());
    plan.extend(found.empty_main());
    plan
}

/// Runs `test` with a plan for everything in a new pod.
fn with_everything<T: Send>(test: impl FnOnce(&mut Machine, Vec<Box<dyn Step>>) -> T + Send) -> T {
    namespace(|| {
        shell(TOPOLOGY);
        attach(1);
        shell("ip -n pod route add 10.9.0.0/16 via 10.1.0.1 metric 7 mtu 1300");
        shell("ip -n pod -6 route add fd09::/64 via fd01::1 metric 7");
        let (mut machine, _lock) = enter(NetNs::open("/run/netns/pod").unwrap()).unwrap();
        let steps = everything(&mut machine).into_steps();
        test(&mut machine, steps)
    })
}

#[test]
fn nothing_is_left_whatever_step_fails() {
    let steps = with_everything(|_, steps| steps.len());
    assert!(steps > 15, "{steps}");
    for failing in 0..=steps {
        with_everything(|machine, mut steps| {
            let before = routing();
            steps.insert(failing, Box::new(Refused));
            let mut done = Applied::default();
            let plan: Plan = steps.into_iter().collect();
            assert_eq!(plan.apply(machine, &mut done).unwrap_err().text, "injected");
            assert!(failing == 0 || routing() != before, "step {failing} shows no traces");
            assert_eq!(done.undo(machine), []);
            assert_eq!(routing(), before, "after a failure at step {failing}");
        });
    }
}

#[test]
fn the_plan_reads_as_commands() {
    with_everything(|_, steps| {
        let plan: Plan = steps.into_iter().collect();
        insta::assert_snapshot!(plan.to_string(), @r"
        [container] ip rule add from 10.1.0.2/32 lookup 100
        [container] ip route replace 10.1.0.0/24 src 10.1.0.2 table 100 scope 253 dev net1
        [container] ip -6 route replace fd01::/64 metric 256 table 100 scope 0 dev net1
        [container] ip -6 route replace fe80::/64 metric 256 table 100 scope 0 dev net1
        [container] ip route add default via 10.1.0.1 table 100 dev net1
        [container] ip route replace default via 10.1.0.1 table 100 scope 0 dev net1
        [container] ip route replace 10.9.0.0/16 via 10.1.0.1 metric 7 table 100 scope 0 mtu 1300 dev net1
        [container] ip rule add from fd01::2/128 lookup 101
        [container] ip -6 route replace fd01::/64 metric 256 table 101 scope 0 dev net1
        [container] ip -6 route replace fe80::/64 metric 256 table 101 scope 0 dev net1
        [container] ip -6 route add default via fd01::1 table 101 dev net1
        [container] ip -6 route replace fd09::/64 via fd01::1 metric 7 table 101 scope 0 dev net1
        [container] ip -6 route replace default via fd01::1 metric 1024 table 101 scope 0 dev net1
        [container] ip route del default via 10.1.0.1 table 254 scope 0 dev net1
        [container] ip route del 10.9.0.0/16 via 10.1.0.1 metric 7 table 254 scope 0 mtu 1300 dev net1
        [container] ip -6 route del fd09::/64 via fd01::1 metric 7 table 254 scope 0 dev net1
        [container] ip -6 route del default via fd01::1 metric 1024 table 254 scope 0 dev net1
        [container] ip route del 10.1.0.0/24 src 10.1.0.2 table 254 scope 253 dev net1
        [container] ip -6 route del fd01::/64 metric 256 table 254 scope 0 dev net1
        [container] ip -6 route del fe80::/64 metric 256 table 254 scope 0 dev net1
        ");
    });
}
