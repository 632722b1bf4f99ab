//! On a stock kernel, which has VRFs: `make test-vm`.

use std::time::{Duration, Instant};

use kernel::plan::Step;

use super::*;
use crate::injection::Refused;

/// What the table of VRF `blue` and the main one hold, without what the kernel makes by itself.
fn routes(family: &str, table: &str) -> Vec<String> {
    let all = shell(&format!("ip -n pod {family} route show {table}"));
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut lines: Vec<String> = all.lines().filter(|line| !line.contains("proto kernel")).map(words).collect();
    lines.retain(|line| !["local ", "broadcast ", "anycast ", "multicast "].iter().any(|kind| line.starts_with(kind)));
    lines
}

fn addresses() -> Vec<String> {
    let all = shell("ip -n pod -o addr show dev net1 scope global");
    let mut lines: Vec<String> =
        all.lines().map(|line| line.split_whitespace().skip(2).collect::<Vec<_>>().join(" ")).collect();
    lines.sort();
    lines
}

fn main_routes() -> Vec<String> {
    [routes("-4", "table main"), routes("-6", "table main")].concat()
}

fn blue_routes() -> Vec<String> {
    [routes("-4", "vrf blue"), routes("-6", "vrf blue")].concat()
}

/// The router and the pod reach each other, in both families.
fn assert_reachable() {
    for address in ["10.1.0.2", "fd01::2"] {
        shell(&format!("ip netns exec router ping -n -q -c 1 -W 5 {address}"));
    }
    for address in ["10.1.0.1", "fd01::1"] {
        shell(&format!("ip netns exec pod ping -n -q -c 1 -W 5 -I blue {address}"));
    }
}

/// Routes of every sort: with attributes, to a gateway that a route leads to, in a table of its own, and through two
/// links.
const ROUTES: &str = "ip -n pod -batch - <<END
route add 10.9.0.0/16 via 10.1.0.1 metric 7 mtu 1300 src 10.1.0.2
route add 192.0.2.1 dev net1 scope link
route add 10.7.0.0/16 via 192.0.2.1
route add 10.8.0.0/16 dev net1 table 100
route add fd09::/64 via fd01::1 metric 7 src fd01::2
link add net2 type veth peer name net3
link set net3 addrgenmode none
link set net2 addrgenmode none
link set net3 up
link set net2 up
addr add 10.2.0.2/24 dev net2
addr add fd02::2/64 dev net2 nodad
route add 10.6.0.0/16 nexthop via 10.1.0.1 nexthop via 10.2.0.1
route append default via fd02::1 dev net2
END";

#[test]
#[ignore = "needs the virtual machine: make test-vm"]
fn everything_goes_along() {
    namespace(|| {
        shell(POD);
        shell(ROUTES);
        let (before, table_100) = (addresses(), routes("-4", "table 100"));
        assert_eq!(success("ADD", &chained(BLUE)), serde_json::from_str::<Value>(RESULT).unwrap());
        assert_eq!(addresses(), before);
        assert_eq!(routes("-4", "table 100"), table_100);
        let blue = blue_routes();
        for route in [
            "default via 10.1.0.1 dev net1",
            "10.6.0.0/16 via 10.1.0.1 dev net1",
            "10.7.0.0/16 via 192.0.2.1 dev net1",
            "10.9.0.0/16 via 10.1.0.1 dev net1 src 10.1.0.2 metric 7 mtu 1300",
            "192.0.2.1 dev net1 scope link",
            "default via fd01::1 dev net1 metric 1024 pref medium",
            "fd09::/64 via fd01::1 dev net1 src fd01::2 metric 7 pref medium",
        ] {
            assert!(blue.iter().any(|line| line == route), "{route} in {blue:#?}");
        }
        assert_eq!(blue.len(), 7, "{blue:#?}");
        let main = main_routes();
        assert!(main.iter().all(|line| line.contains("dev net2")) && main.len() == 2, "{main:#?}");
        assert_reachable();
        success("CHECK", &chained(BLUE));
    });
}

#[test]
#[ignore = "needs the virtual machine: make test-vm"]
fn a_second_add_changes_nothing_and_a_second_del_neither() {
    namespace(|| {
        shell(POD);
        success("ADD", &chained(BLUE));
        let after = state();
        success("ADD", &chained(BLUE));
        assert_eq!(state(), after);
        success("DEL", &unchained(BLUE));
        assert!(!state().contains("blue"), "{}", state());
        success("DEL", &unchained(BLUE));
    });
}

#[test]
#[ignore = "needs the virtual machine: make test-vm"]
fn the_last_one_out_removes_the_vrf() {
    namespace(|| {
        shell(POD);
        shell("ip -n pod link add net2 type dummy; ip -n pod link set net2 up");
        success("ADD", &chained(BLUE));
        assert!(call_for("net2", "ADD", &chained(BLUE)).0);
        success("DEL", &unchained(BLUE));
        let left = state();
        assert!(left.contains("blue") && !left.contains("default via 10.1.0.1"), "{left}");
        // The interface of the second one has gone already.
        shell("ip -n pod link del net2");
        assert!(call_for("net2", "DEL", &unchained(BLUE)).0);
        assert!(!state().contains("blue"));
    });
}

#[test]
#[ignore = "needs the virtual machine: make test-vm"]
fn overlapping_networks_are_told_apart() {
    namespace(|| {
        shell(POD);
        shell(
            "ip -n pod link add net2 type dummy; ip -n pod link set net2 up; ip -n pod addr add 10.1.0.2/24 dev net2",
        );
        success("ADD", &chained(BLUE));
        assert!(call_for("net2", "ADD", &chained(r#", "vrfname": "red""#)).0);
        let tables = shell("ip -n pod -d link show type vrf | grep -o 'vrf table [0-9]*'");
        assert_eq!(tables, "vrf table 1\nvrf table 2\n");
        assert_reachable();
    });
}

#[test]
#[ignore = "needs the virtual machine: make test-vm"]
fn a_vrf_that_is_there_is_used_if_it_is_the_one_that_is_meant() {
    namespace(|| {
        shell(POD);
        shell("ip -n pod link add blue type vrf table 300; ip -n pod link set blue up");
        let before = state();
        let other = "cmdAdd failed: VRF blue already exist with different routing table 300";
        assert_eq!(refusal("ADD", &chained(r#", "vrfname": "blue", "table": 299"#)), other);
        assert_eq!(state(), before);
        success("ADD", &chained(r#", "vrfname": "blue", "table": 300"#));
        success("CHECK", &chained(BLUE));
        let other = "interface net1 has already a master set: blue";
        assert_eq!(refusal("ADD", &chained(r#", "vrfname": "red""#)), format!("cmdAdd failed: {other}"));
        assert!(!state().contains("red"));
    });
}

#[test]
#[ignore = "needs the virtual machine: make test-vm"]
fn check_finds_what_was_changed() {
    let lost = "failed to find net1 associated to vrf blue";
    let default = "Expected Route {Dst:{IP:0.0.0.0 Mask:00000000} GW:<nil> MTU:0 AdvMSS:0 Priority:0 Table:<nil> \
                   Scope:<nil>} not found in routing table";
    namespace(|| {
        shell(POD);
        success("ADD", &chained(BLUE));
        success("CHECK", &chained(BLUE));
        for (damage, text, repair) in [
            ("link set blue down", "link blue is down", "link set blue up"),
            ("route del default vrf blue", default, "route add default vrf blue via 10.1.0.1"),
            ("addr del 10.1.0.2/24 dev net1", "Failed to match addr 10.1.0.2/24 on interface net1", "link show"),
            ("addr add 10.1.0.2/24 dev net1", default, "route add default vrf blue via 10.1.0.1"),
            ("addr del fd01::2/64 dev net1", "Failed to match addr fd01::2/64 on interface net1", "link show"),
            ("link set net1 nomaster", lost, "link del net1"),
            ("link show", lost, "link del blue"),
            ("link show", "Link not found", "link show"),
        ] {
            shell(&format!("ip -n pod {damage}"));
            assert_eq!(refusal("CHECK", &chained(BLUE)), text, "{damage}");
            shell(&format!("ip -n pod {repair}"));
        }
    });
}

/// Duplicate address detection takes a second or two, and what needs the address has to wait for it.
#[test]
#[ignore = "needs the virtual machine: make test-vm"]
fn addresses_are_usable_when_add_has_answered() {
    namespace(|| {
        shell(POD);
        shell("ip netns exec pod sh -c 'echo 1 >/proc/sys/net/ipv6/conf/net1/accept_dad'");
        shell("ip -n pod -6 addr del fd01::2/64 dev net1; ip -n pod -6 addr add fd01::2/64 dev net1");
        shell("while ip -n pod -6 addr show dev net1 | grep -q tentative; do sleep 0.05; done");
        shell("ip -n pod -6 route add fd09::/64 via fd01::1 src fd01::2");
        success("ADD", &chained(BLUE));
        assert!(!state().contains("tentative"), "{}", state());
        assert!(blue_routes().iter().any(|line| line.starts_with("fd09::/64 via fd01::1 dev net1 src fd01::2")));
    });
}

/// Without a carrier there is no detection, and the address will settle when it comes.
#[test]
#[ignore = "needs the virtual machine: make test-vm"]
fn nobody_waits_for_a_carrier() {
    namespace(|| {
        shell(POD);
        shell("ip -n router link set eth0 down");
        let begun = Instant::now();
        success("ADD", &chained(BLUE));
        assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    });
}

/// The steps of an ADD in a pod with all sorts of routes, made to `test`.
fn with_steps<T: Send>(test: impl FnOnce(&mut Machine, Vec<Box<dyn Step>>) -> T + Send) -> T {
    namespace(|| {
        shell(POD);
        shell(ROUTES);
        let netns = kernel::netns::NetNs::open("/run/netns/pod").unwrap();
        let mut machine = Machine::with_container(netns).unwrap();
        let config = Config { vrf: "blue".into(), table: None };
        let steps = survey(&mut machine, &config, "net1").unwrap().unwrap().into_steps();
        test(&mut machine, steps)
    })
}

#[test]
#[ignore = "needs the virtual machine: make test-vm"]
fn nothing_is_left_whatever_step_fails() {
    for failing in 0..=with_steps(|_, steps| steps.len()) {
        with_steps(|machine, mut steps| {
            steps.insert(failing, Box::new(Refused));
            let (before, mut done) = (state(), Applied::default());
            let plan: Plan = steps.into_iter().collect();
            assert_eq!(plan.apply(machine, &mut done).unwrap_err().text, "injected");
            assert_eq!(done.undo(machine), []);
            assert_eq!(state(), before, "after a failure at step {failing}");
        });
    }
}

/// One that fails in the middle of a step takes back the half that was done: an address of another interface can be no
/// source in the VRF.
#[test]
#[ignore = "needs the virtual machine: make test-vm"]
fn nothing_is_left_when_a_route_is_refused() {
    namespace(|| {
        shell(POD);
        shell(ROUTES);
        shell("ip -n pod -6 route add fd05::/64 via fd01::1 src fd02::2");
        let before = state();
        let text = refusal("ADD", &chained(BLUE));
        assert!(text.starts_with("cmdAdd failed: could not add route 'fd05::/64 via fd01::1"), "{text}");
        assert_eq!(state(), before);
    });
}
