//! Which addresses come out of which configuration.

use cni::plugin::Stderr;

use super::*;

fn call(version: &str, keys: &str) -> Call {
    let document = format!(r#"{{"cniVersion": "{version}", "name": "n1", "type": "bridge", {keys}}}"#);
    Call::new(document.into_bytes(), Vec::new(), Stderr::buffered().0).unwrap()
}

fn load(keys: &str, cni_args: &str) -> Result<Vec<String>, String> {
    let ips = Config::load(&call("1.0.0", keys), cni_args).map_err(|error| error.msg)?.ips;
    Ok(ips.iter().map(|ip| format!("{}{}", ip.address, ip.gateway.map_or("".into(), |gw| format!(" {gw}")))).collect())
}

const ONE: &str = r#""ipam": {"addresses": [{"address": "10.1.2.3/24", "gateway": "10.1.2.1"}]}"#;

#[test]
fn arguments_add_and_lists_replace() {
    let with = |keys: &str| format!("{ONE}, {keys}");
    let lists = r#""args": {"cni": {"ips": ["10.5.5.5/24", "fd00::7/64"]}}"#;
    let runtime = r#""runtimeConfig": {"ips": ["10.6.6.6/16"]}"#;
    let args = "IP=10.7.0.2/16,fd00::9/64;GATEWAY=10.7.0.1,10.1.2.9";
    for (keys, cni_args, expected) in [
        (ONE.to_owned(), "", vec!["10.1.2.3/24 10.1.2.1"]),
        (ONE.to_owned(), args, vec!["10.1.2.3/24 10.1.2.1", "10.7.0.2/16 10.7.0.1", "fd00::9/64"]),
        (with(lists), args, vec!["10.5.5.5/24", "fd00::7/64"]),
        (with(&format!("{lists}, {runtime}")), "", vec!["10.6.6.6/16"]),
        (with(r#""runtimeConfig": {"ips": []}"#), "", vec!["10.1.2.3/24 10.1.2.1"]),
        (r#""ipam": {}"#.to_owned(), "", vec![]),
    ] {
        assert_eq!(load(&keys, cni_args).unwrap(), expected, "{keys} {cni_args}");
    }
}

#[test]
fn what_is_no_address_is_named() {
    let one = |entry: &str| format!(r#""ipam": {{"addresses": [{entry}]}}"#);
    for (keys, cni_args, expected) in [
        (r#""x": 1"#.to_owned(), "", "IPAM config missing 'ipam' key"),
        (
            one(r#"{"address": "10.1.2.3"}"#),
            "",
            "the 'address' field is expected to be in CIDR notation, got: '10.1.2.3'",
        ),
        (one("{}"), "", "the 'address' field is expected to be in CIDR notation, got: ''"),
        (one(r#"{"address": "10.1.2.3/24", "gateway": "xx"}"#), "", "invalid IP address: xx"),
        (ONE.to_owned(), "IP=10.9.9.9", "the 'ip' field is expected to be in CIDR notation, got: '10.9.9.9'"),
        (ONE.to_owned(), "IP=10.9.9.9/24;GATEWAY=xx", "invalid gateway address: xx"),
        (
            format!(r#"{ONE}, "runtimeConfig": {{"ips": ["10.5.5.5"]}}"#),
            "",
            "an entry in the 'ips' field is NOT in CIDR notation, got: '10.5.5.5'",
        ),
    ] {
        assert_eq!(load(&keys, cni_args).unwrap_err(), expected, "{keys} {cni_args}");
    }
}

#[test]
fn old_documents_hold_one_address_a_family() {
    let two = r#""ipam": {"addresses": [{"address": "10.1.2.3/24"}, {"address": "10.1.2.4/24"}]}"#;
    let refused = Config::load(&call("0.2.0", two), "").unwrap_err().msg;
    assert_eq!(refused, "CNI version 0.2.0 does not support more than 1 address per family");
    assert!(Config::load(&call("0.3.0", two), "").is_ok());
    let mixed = r#""ipam": {"addresses": [{"address": "10.1.2.3/24"}, {"address": "fd00::4/64"}]}"#;
    assert!(Config::load(&call("0.2.0", mixed), "").is_ok());
}

#[test]
fn check_looks_at_address_prefix_and_gateway() {
    let previous =
        r#""prevResult": {"cniVersion": "1.0.0", "ips": [{"address": "10.1.2.3/24", "gateway": "10.1.2.1"}]}"#;
    let attachment = Attachment {
        container_id: "c1".parse().unwrap(),
        ifname: "eth0".parse().unwrap(),
        netns: "/run/netns/c1".into(),
        args: String::new(),
    };
    let check = |entry: &str| {
        let keys = format!(r#"{previous}, "ipam": {{"addresses": [{entry}]}}"#);
        Static.check(&call("1.0.0", &keys), &attachment).map_err(|error| error.msg)
    };
    assert_eq!(check(r#"{"address": "10.1.2.3/24", "gateway": "10.1.2.1"}"#), Ok(()));
    assert_eq!(check(r#"{"address": "10.1.2.3/24"}"#), Ok(()));
    let failed = |ip: &str| Err(format!("static: Failed to match addr {ip} on interface eth0"));
    assert_eq!(check(r#"{"address": "10.1.2.3/24", "gateway": "10.1.2.9"}"#), failed("10.1.2.3"));
    assert_eq!(check(r#"{"address": "10.1.2.3/16"}"#), failed("10.1.2.3"));
    assert_eq!(check(r#"{"address": "10.1.2.8/24"}"#), failed("10.1.2.8"));
    let none = Static.check(&call("1.0.0", ONE), &attachment).unwrap_err();
    assert_eq!(none.msg, "Required prevResult missing");
}
