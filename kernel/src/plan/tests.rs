//! Plans against the real kernel, in namespaces of their own.

use super::*;
use crate::link::{NewBridge, NewEnd, Pair, Port};
use crate::sandbox::{alone, container};
use crate::vlan::Vlan;

const BRIDGE_MAC: Mac = Mac::new([2, 0, 0, 0, 0, 1]);
const NEAR_MAC: Mac = Mac::new([2, 0, 0, 0, 0, 2]);
const FAR_MAC: Mac = Mac::new([2, 0, 0, 0, 0, 3]);

fn bridge() -> EnsureBridge {
    let bridge = NewBridge { name: "br0".into(), mac: BRIDGE_MAC, mtu: Some(1400), vlan_filtering: false };
    EnsureBridge { bridge, promiscuous: false, recorded_mac: None }
}

fn end(name: &str, mac: Mac) -> NewEnd {
    NewEnd { name: name.into(), mac, mtu: Some(1400) }
}

fn veth() -> CreatePair {
    CreatePair {
        kind: Pair::Veth,
        near: end("vethx", NEAR_MAC),
        far: end("eth0", FAR_MAC),
        master: Some("br0".into()),
        port: Port { hairpin: true, isolated: true },
        alias: "somebody's".into(),
    }
}

fn address(text: &str) -> AddAddress {
    let address = text.parse().unwrap();
    AddAddress { side: Side::Container, link: "eth0".into(), address, nodad: true, noprefixroute: false }
}

fn route(dst: &str, via: &str) -> AddRoute {
    let route = Route { gateway: Some(via.parse().unwrap()), ..Route::to(dst.parse().unwrap()) };
    AddRoute { side: Side::Container, link: "eth0".into(), route }
}

/// A container with two addresses and two default routes on a bridge.
fn attachment() -> Plan {
    let mut plan = Plan::new();
    plan.push(bridge());
    plan.push(veth());
    let settings = ["accept_dad", "keep_addr_on_down"].map(|name| format!("net/ipv6/conf/eth0/{name}"));
    let settings = vec![Setting::wish(&settings[0], "0"), Setting::wish(&settings[1], "1")];
    plan.push(Sysctls { side: Side::Container, settings });
    plan.push(address("10.1.0.2/24"));
    plan.push(address("fd00::2/64"));
    plan.push(SetUp { side: Side::Container, link: "eth0".into() });
    plan.push(route("0.0.0.0/0", "10.1.0.1"));
    plan.push(route("::/0", "fd00::1"));
    plan.push(GatewayAddress { link: "br0".into(), address: "10.1.0.1/24".parse().unwrap(), force: false });
    plan.push(GatewayAddress { link: "br0".into(), address: "fd00::1/64".parse().unwrap(), force: false });
    plan.push(PortRunning { port: "vethx".into() });
    plan
}

fn machine() -> Machine {
    Machine::with_container(container()).unwrap()
}

#[test]
fn prints_the_lines_that_a_person_would_type() {
    insta::assert_snapshot!(attachment().to_string(), @r#"
    ip link add br0 address 02:00:00:00:00:01 mtu 1400 type bridge
    ip link set br0 up
    ip link add vethx address 02:00:00:00:00:02 mtu 1400 master br0 up type veth peer eth0 address 02:00:00:00:00:03 mtu 1400 netns [container]
    ip link set vethx alias "somebody's"
    ip link set vethx type bridge_slave hairpin on isolated on
    [container] sysctl -w net/ipv6/conf/eth0/accept_dad=0
    [container] sysctl -w net/ipv6/conf/eth0/keep_addr_on_down=1
    [container] ip address add 10.1.0.2/24 dev eth0
    [container] ip address add fd00::2/64 dev eth0 nodad
    [container] ip link set eth0 up
    [container] ip route add default via 10.1.0.1 dev eth0
    [container] ip -6 route add default via fd00::1 dev eth0
    ip address add 10.1.0.1/24 dev br0
    ip address add fd00::1/64 dev br0
    ip monitor link dev vethx
    "#);
}

#[test]
fn applied_it_holds_and_undone_it_leaves_only_what_is_shared() {
    alone(|| {
        let mut machine = machine();
        let mut done = Applied::default();
        attachment().apply(&mut machine, &mut done).unwrap();
        attachment().check(&mut machine).unwrap();

        let near = machine.host().unwrap().link("vethx").unwrap().unwrap();
        assert_eq!(near.alias.as_deref(), Some("somebody's"));
        assert_eq!(near.port, Some(Port { hairpin: true, isolated: true }));
        let eth0 = machine.side(Side::Container).unwrap().link("eth0").unwrap().unwrap();
        let addresses = machine.side(Side::Container).unwrap().addresses(eth0.index, true).unwrap();
        let mut ours = addresses.iter().filter(|address| address.is_global_unicast());
        assert!(ours.all(|address| !address.tentative), "{addresses:?}");

        assert_eq!(done.undo(&mut machine), []);
        assert_eq!(machine.host().unwrap().link("vethx").unwrap(), None);
        assert_eq!(machine.side(Side::Container).unwrap().link("eth0").unwrap(), None);
        let br0 = machine.host().unwrap().link("br0").unwrap().unwrap();
        assert_eq!((br0.mac, br0.up), (Some(BRIDGE_MAC), true));
    });
}

#[test]
fn a_refused_route_names_itself_and_the_kernels_reason() {
    alone(|| {
        let mut machine = machine();
        let mut done = Applied::default();
        let mut plan = Plan::new();
        plan.push(bridge());
        plan.push(veth());
        plan.push(address("10.1.0.2/24"));
        plan.push(SetUp { side: Side::Container, link: "eth0".into() });
        plan.push(route("10.9.0.0/16", "172.16.0.1"));
        let failure = plan.apply(&mut machine, &mut done).unwrap_err();
        assert_eq!(
            failure.text,
            "failed to add route '10.9.0.0/16 via 172.16.0.1 dev eth0': network is unreachable (Nexthop has invalid gateway)"
        );
        assert_eq!(failure.step, "[container] ip route add 10.9.0.0/16 via 172.16.0.1 dev eth0");
        assert_eq!(failure.errno, Some(nix::errno::Errno::ENETUNREACH));
        assert_eq!(done.undo(&mut machine), []);
        assert_eq!(machine.host().unwrap().link("vethx").unwrap(), None);
    });
}

#[test]
fn a_taken_name_is_refused_and_its_owner_unharmed() {
    alone(|| {
        let mut machine = machine();
        let mut done = Applied::default();
        attachment().apply(&mut machine, &mut done).unwrap();
        let mut again = Plan::new();
        again.push(CreatePair { near: end("vethy", NEAR_MAC), ..veth() });
        let mut nothing = Applied::default();
        let failure = again.apply(&mut machine, &mut nothing).unwrap_err();
        assert_eq!(failure.text, "container veth name (\"eth0\") peer provided (\"vethy\") already exists");
        assert_eq!(machine.host().unwrap().link("vethy").unwrap(), None);
        attachment().check(&mut machine).unwrap();
    });
}

#[test]
fn a_bridge_keeps_its_address_and_no_other_link_is_taken_for_one() {
    alone(|| {
        let mut machine = machine();
        let mut plan = Plan::new();
        plan.push(bridge());
        let other = NewBridge { mac: NEAR_MAC, ..bridge().bridge };
        plan.push(EnsureBridge { bridge: other, promiscuous: true, recorded_mac: None });
        plan.apply(&mut machine, &mut Applied::default()).unwrap();
        let br0 = machine.host().unwrap().link("br0").unwrap().unwrap();
        assert_eq!((br0.mac, br0.promiscuous), (Some(BRIDGE_MAC), true));

        let mut plan = Plan::new();
        plan.push(EnsureBridge { bridge: NewBridge { name: "lo".into(), ..bridge().bridge }, ..bridge() });
        let failure = plan.apply(&mut machine, &mut Applied::default()).unwrap_err();
        assert_eq!(failure.text, "failed to create bridge \"lo\": \"lo\" already exists but is not a bridge");
    });
}

#[test]
fn a_gateway_does_not_share_its_link_unless_forced() {
    alone(|| {
        let mut machine = machine();
        let mut apply = |step: GatewayAddress| {
            let mut plan = Plan::new();
            plan.push(bridge());
            plan.push(step);
            plan.apply(&mut machine, &mut Applied::default())
        };
        let gateway =
            |address: &str, force| GatewayAddress { link: "br0".into(), address: address.parse().unwrap(), force };
        apply(gateway("10.1.0.1/24", false)).unwrap();
        apply(gateway("10.1.0.1/24", false)).unwrap();
        apply(gateway("fd00::1/64", false)).unwrap();
        apply(gateway("fd01::1/64", false)).unwrap();
        let refused = apply(gateway("10.2.0.1/24", false)).unwrap_err().text;
        assert!(
            refused
                .starts_with("failed to set bridge addr: \"br0\" already has an IP address different from 10.2.0.1/24")
        );
        apply(gateway("10.2.0.1/24", true)).unwrap();
        let index = machine.index(Side::Host, "br0").unwrap();
        let found = machine.host().unwrap().addresses(index, false).unwrap();
        assert_eq!(found.iter().map(|address| address.network.to_string()).collect::<Vec<_>>(), ["10.2.0.1/24"]);
    });
}

#[test]
fn by_force_secondary_addresses_go_with_the_first() {
    alone(|| {
        let mut machine = machine();
        let mut plan = Plan::new();
        plan.push(bridge());
        plan.apply(&mut machine, &mut Applied::default()).unwrap();
        for address in ["10.1.0.5/24", "10.1.0.6/24"] {
            let words = ["address", "add", address, "dev", "br0"];
            assert!(std::process::Command::new("ip").args(words).status().unwrap().success());
        }
        let mut plan = Plan::new();
        plan.push(GatewayAddress { link: "br0".into(), address: "10.1.0.1/24".parse().unwrap(), force: true });
        plan.apply(&mut machine, &mut Applied::default()).unwrap();
        let index = machine.index(Side::Host, "br0").unwrap();
        let found = machine.host().unwrap().addresses(index, false).unwrap();
        assert_eq!(found.iter().map(|address| address.network.to_string()).collect::<Vec<_>>(), ["10.1.0.1/24"]);
    });
}

#[test]
fn every_kind_of_damage_is_found_and_named() {
    let damage: [(&[&str], &str); 7] = [
        (&["ip", "address", "del", "10.1.0.2/24", "dev", "eth0"], "link eth0 does not have the address 10.1.0.2/24"),
        (&["ip", "link", "set", "eth0", "down"], "link eth0 is down"),
        (&["ip", "route", "del", "default"], "route default via 10.1.0.1 is missing"),
        (
            &["ip", "link", "set", "eth0", "address", "02:00:00:00:00:09"],
            "link eth0 has the address 02:00:00:00:00:09, not 02:00:00:00:00:03",
        ),
        (&["ip", "link", "del", "eth0"], "link eth0 is missing"),
        (&["host", "ip", "link", "set", "vethx", "nomaster"], "link vethx is not a port of br0"),
        (
            &["host", "ip", "address", "del", "10.1.0.1/24", "dev", "br0"],
            "link br0 does not have the address 10.1.0.1/24",
        ),
    ];
    for (command, expected) in damage {
        alone(move || {
            let mut machine = machine();
            attachment().apply(&mut machine, &mut Applied::default()).unwrap();
            let run = |words: &[&str]| std::process::Command::new(words[0]).args(&words[1..]).status().unwrap();
            let status = match command {
                ["host", words @ ..] => run(words),
                words => machine.container_netns().unwrap().run(|| run(words)).unwrap(),
            };
            assert!(status.success());
            assert_eq!(attachment().check(&mut machine).unwrap_err().to_string(), expected);
        });
    }
}

/// The kernel of the build machine may lack VLAN filtering, so the bytes are what is tested here: `AF_BRIDGE`, the
/// port's index, and one `IFLA_BRIDGE_VLAN_INFO` a VLAN inside `IFLA_AF_SPEC`.
#[test]
fn port_vlans_are_one_message() {
    let request = crate::vlan::add(7, &[Vlan::access(100), Vlan::tagged(200)]);
    assert_eq!(request.kind, 19); // RTM_SETLINK
    let header = [7, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let access = [8, 0, 2, 0, 0x06, 0, 100, 0]; // PVID | UNTAGGED
    let tagged = [8, 0, 2, 0, 0x00, 0, 200, 0];
    let spec = [20, 0, 26, 0x80];
    let mut plain_spec = spec;
    plain_spec[3] = 0;
    let body = &request.payload[header.len()..];
    assert_eq!(request.payload[..header.len()], header);
    assert!(body[..4] == spec || body[..4] == plain_spec, "{body:?}");
    assert_eq!(body[4..], [access, tagged].concat());

    let request = crate::vlan::del(7, &[1]);
    assert_eq!(request.kind, 17); // RTM_DELLINK
    assert_eq!(request.payload[20..], [8, 0, 2, 0, 0, 0, 1, 0]);
}
