mod conversion;
mod documents;
mod layout;

use serde_json::{Value, json};

use super::*;
use crate::address::parse_cidr;
use crate::error::{Code, Error};
use crate::version::Version;

use Version::{V0_1_0, V0_2_0, V0_3_0, V0_3_1, V0_4_0, V1_0_0, V1_1_0};

fn ip(text: &str) -> Option<IpAddr> {
    Some(text.parse().unwrap())
}

fn address(interface: Option<usize>, address: &str, gateway: &str) -> IpConfig {
    IpConfig { interface, address: parse_cidr(address).unwrap(), gateway: ip(gateway) }
}

fn interface(name: &str, mac: &str, sandbox: &str) -> Interface {
    Interface { name: name.into(), mac: mac.into(), sandbox: sandbox.into(), ..Interface::default() }
}

/// One dual-stack attachment of a bridge.
fn bridge() -> AddResult {
    AddResult {
        interfaces: vec![
            interface("br9", "6a:28:39:40:d5:c0", ""),
            interface("veth1997507e", "c6:c8:52:10:ea:29", ""),
            interface("eth0", "c6:22:ad:9f:3a:ae", "/run/netns/c1"),
        ],
        ips: vec![address(Some(2), "10.77.0.2/24", "10.77.0.1"), address(Some(2), "fd77::2/64", "fd77::1")],
        routes: vec![
            Route::new(parse_cidr("0.0.0.0/0").unwrap(), ip("10.77.0.1")),
            Route::new(parse_cidr("::/0").unwrap(), ip("fd77::1")),
        ],
        dns: Dns::default(),
    }
}

/// Every field of every kind is set.
fn full() -> AddResult {
    let mut result = bridge();
    result.interfaces[2].mtu = Some(1500);
    result.interfaces[2].socket_path = "/run/<s>".into();
    result.interfaces[2].pci_id = "0000:00:1f.6".into();
    let route = &mut result.routes[0];
    (route.mtu, route.advmss, route.priority) = (Some(1400), Some(1360), Some(100));
    (route.table, route.scope) = (Some(0), Some(0));
    result.dns = Dns {
        nameservers: vec!["10.1.0.1".into()],
        domain: "example.com".into(),
        search: vec!["a".into()],
        options: vec!["ndots:2".into()],
    };
    result
}

fn parse(document: &str, version: Version) -> Result<AddResult, Error> {
    AddResult::parse(&serde_json::from_str(document).unwrap(), version)
}
