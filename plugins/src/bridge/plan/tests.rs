//! The plans as a person reads them.

use cni::plugin::Call;

use super::*;

const NETWORK: &str = r#""cniVersion": "1.0.0", "name": "n1", "type": "bridge", "bridge": "br0""#;

pub(super) fn config(keys: &str) -> Config {
    let (stderr, _) = cni::plugin::Stderr::buffered();
    let document = format!("{{{NETWORK}, {keys}}}").into_bytes();
    Config::load_network(&Call::new(document, Vec::new(), stderr).unwrap()).unwrap()
}

pub(super) fn owner() -> Owner {
    Owner::new("n1".parse().unwrap(), "cid1".parse().unwrap(), "eth0".parse().unwrap())
}

pub(super) fn names(mtu: Option<u32>) -> Links {
    let end = |name: &str, last| NewEnd { name: name.into(), mac: Mac::new([2, 0, 0, 0, 0, last]), mtu };
    Links { bridge_mac: Mac::new([2, 0, 0, 0, 0, 1]), ends: Ends { host: end("veth1", 2), container: end("eth0", 3) } }
}

/// What IPAM says: one address of each family.
pub(super) fn answer() -> AddResult {
    let ip = |address: &str| IpConfig { interface: Some(2), address: address.parse().unwrap(), gateway: None };
    let named = |name: &str| cni::result::Interface { name: name.into(), ..Default::default() };
    let interfaces = ["br0", "veth1", "eth0"].map(named).to_vec();
    AddResult { interfaces, ips: vec![ip("10.1.0.2/24"), ip("fd00::2/64")], ..AddResult::default() }
}

#[test]
fn a_container_with_everything() {
    let config = config(
        r#""isDefaultGateway": true, "ipMasq": true, "hairpinMode": true, "portIsolation": true, "macspoofchk": true,
           "mtu": 1400, "ipam": {"type": "host-local"}"#,
    );
    let mut result = answer();
    complete(&config, &mut result);
    let names = names(config.mtu().unwrap());
    let mut whole = links(&config, &owner(), &names);
    whole.extend(addresses(&config, &owner(), &names, &result).unwrap());
    whole.extend(running(&config, &names, &result.ips));
    insta::assert_snapshot!(whole.to_string());
}

#[test]
fn vlans_come_with_a_gateway_of_their_own() {
    let config = config(r#""isGateway": true, "vlan": 100, "vlanTrunk": [{"id": 7}], "ipam": {"type": "host-local"}"#);
    let mut result = answer();
    complete(&config, &mut result);
    let mut whole = links(&config, &owner(), &names(None));
    whole.extend(gateway(&config, None, &result.ips));
    insta::assert_snapshot!(whole.to_string());
}

#[test]
fn without_addresses_only_the_link_goes_up() {
    let plan = layer_two(&config(r#""mtu": 0"#), &names(None));
    assert_eq!(plan.to_string(), "[container] ip link set eth0 up\n");
    let plan = layer_two(&config(r#""disableContainerInterface": true"#), &names(None));
    assert_eq!(plan.to_string(), "");
}

#[test]
fn a_default_route_with_a_gateway_is_enough_and_one_without_is_not() {
    let config = config(r#""isDefaultGateway": true, "ipam": {"type": "host-local"}"#);
    let default: IpNetwork = "0.0.0.0/0".parse().unwrap();
    for (gw, expected) in [(Some("10.1.0.9"), vec!["10.1.0.9"]), (None, vec!["", "10.1.0.1"])] {
        let mut result = answer();
        result.ips.truncate(1);
        result.routes.push(Route::new(default, gw.map(|gw| gw.parse().unwrap())));
        complete(&config, &mut result);
        let gateways: Vec<String> =
            result.routes.iter().map(|route| route.gw.map_or_else(String::new, |gw| gw.to_string())).collect();
        assert_eq!(gateways, expected);
        assert!(result.routes.iter().all(|route| route.dst == default));
    }
}

#[test]
fn a_gateway_is_the_first_address_unless_ipam_says_otherwise() {
    let config = config(r#""isGateway": true, "ipam": {"type": "host-local"}"#);
    let mut result = answer();
    result.ips[1].gateway = Some("fd00::9".parse().unwrap());
    complete(&config, &mut result);
    let gateways: Vec<String> = result.ips.iter().filter_map(|ip| ip.gateway).map(|ip| ip.to_string()).collect();
    assert_eq!(gateways, ["10.1.0.1", "fd00::9"]);
}

#[test]
fn a_hardware_address_that_derives_is_set_before_the_link_goes_up() {
    let derives = r#""macFromIP": true, "ipam": {"type": "host-local"}"#;
    let plan = addresses(&config(derives), &owner(), &names(None), &answer()).unwrap().to_string();
    assert!(plan.starts_with("[container] ip link set eth0 address 02:42:0a:01:00:"), "{plan}");
    let asked = format!(r#"{derives}, "runtimeConfig": {{"mac": "02:00:00:00:00:01"}}"#);
    let plan = addresses(&config(&asked), &owner(), &names(None), &answer()).unwrap().to_string();
    assert!(!plan.contains("address 02:42"), "{plan}");
    let both = config(&format!(r#"{derives}, "macspoofchk": true"#));
    assert!(both.refuse_contradictions().is_err());
}
