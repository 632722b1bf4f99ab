//! The plan as a person reads it, and with failures.

use cni::plugin::Call;
use cni::result::Interface;
use kernel::Mac;
use kernel::link::NewEnd;

use super::*;
use crate::injection;
use crate::lifecycle::Wiring as _;
use crate::ptp::NewPair;

fn config() -> Config {
    let (stderr, _) = cni::plugin::Stderr::buffered();
    let document = br#"{"cniVersion": "1.0.0", "name": "n1", "type": "ptp", "ipMasq": true, "mtu": 1400}"#;
    Config::load(&Call::new(document.to_vec(), Vec::new(), stderr).unwrap()).unwrap()
}

/// One address of each family, the IPv4 one with a default route.
fn answer() -> AddResult {
    let ip = |address: &str, gateway: &str| IpConfig {
        interface: Some(1),
        address: address.parse().unwrap(),
        gateway: gateway.parse().ok(),
    };
    let named = |name: &str| Interface { name: name.into(), ..Default::default() };
    AddResult {
        interfaces: ["veth1", "eth0"].map(named).to_vec(),
        ips: vec![ip("10.1.0.2/24", "10.1.0.1"), ip("fd00::2/64", "fd00::1")],
        routes: vec![cni::result::Route::new("0.0.0.0/0".parse().unwrap(), None)],
        ..AddResult::default()
    }
}

fn everything() -> Plan {
    let (config, result) = (config(), answer());
    let end = |name: &str, last| NewEnd { name: name.into(), mac: Mac::new([2, 0, 0, 0, 0, last]), mtu: Some(1400) };
    let ends = Ends { host: end("veth1", 2), container: end("eth0", 3) };
    let owner = Owner::new("n1".parse().unwrap(), "cid1".parse().unwrap(), "eth0".parse().unwrap());
    let pair = NewPair { config: &config, owner, ends, sandbox: "/run/netns/c1" };
    let mut whole = pair.links();
    whole.extend(pair.addresses(&result).unwrap());
    whole.extend(pair.ready(&result));
    whole
}

#[test]
fn a_container_with_both_families() {
    insta::assert_snapshot!(everything().to_string());
}

#[test]
fn nothing_of_the_attachment_is_left_whatever_step_fails() {
    injection::at_every_step(everything);
}

#[test]
fn the_traces_would_show_an_attachment() {
    injection::shows(everything, &["veth1", "eth0", "cid1", "default via 10.1.0.1", "10.1.0.2 dev veth1 scope host"]);
}

#[test]
fn an_address_without_gateway_is_refused() {
    let mut result = answer();
    result.ips[1].gateway = None;
    let refused = container::configure("eth0", &result, Dad::Off, Neighbours::BehindGateway).unwrap_err();
    assert_eq!(refused.msg, "the address fd00::2/64 needs a gateway, and IPAM gave none");
}

#[test]
fn a_gateway_of_two_addresses_is_given_once() {
    let mut result = answer();
    result.ips[1] = result.ips[0].clone();
    let plan = host("veth1", &result.ips).to_string();
    assert_eq!(plan.matches("ip address add 10.1.0.1/32").count(), 1, "{plan}");
}
