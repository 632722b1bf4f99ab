//! What survives the way from one version to another.

use proptest::prelude::*;

use super::*;

/// What a version's document keeps of a result.
fn as_held_by(version: Version, mut result: AddResult) -> AddResult {
    if version < V1_0_0 {
        for interface in &mut result.interfaces {
            *interface = self::interface(&interface.name, &interface.mac, &interface.sandbox);
        }
    }
    if version < V0_3_0 {
        let first = |wanted: fn(&IpNetwork) -> bool| result.ips.iter().find(|ip| wanted(&ip.address)).cloned();
        let ips: Vec<IpConfig> = [first(IpNetwork::is_ipv4), first(IpNetwork::is_ipv6)].into_iter().flatten().collect();
        let routes = |ip: &IpConfig| {
            let of_family = result.routes.iter().filter(|route| route.dst.is_ipv4() == ip.address.is_ipv4());
            of_family.map(|route| Route::new(route.dst, route.gw)).collect::<Vec<_>>()
        };
        result.routes = ips.iter().flat_map(routes).collect();
        result.ips = ips.into_iter().map(|ip| IpConfig { interface: None, ..ip }).collect();
        result.interfaces.clear();
    }
    result
}

#[test]
fn conversion_between_all_versions() {
    for &from in Version::ALL {
        let held = parse(&full().to_json(from).unwrap(), from).unwrap();
        assert_eq!(held, as_held_by(from, full()), "{from}");
        for &to in Version::ALL {
            let converted = parse(&held.to_json(to).unwrap(), to).unwrap();
            assert_eq!(converted, as_held_by(from.min(to), full()), "{from} to {to}");
        }
    }
}

fn any_network() -> impl Strategy<Value = IpNetwork> {
    let v4 = (any::<[u8; 4]>(), 0..=32_u8).prop_map(|(ip, prefix)| IpNetwork::new(ip.into(), prefix).unwrap());
    let v6 = (any::<[u8; 16]>(), 0..=128_u8).prop_map(|(ip, prefix)| IpNetwork::new(ip.into(), prefix).unwrap());
    prop_oneof![v4, v6.prop_map(crate::address::canonical)]
}

fn any_ip() -> impl Strategy<Value = Option<IpAddr>> {
    prop::option::of(any_network().prop_map(|net| net.ip()))
}

fn number() -> impl Strategy<Value = Option<u32>> {
    prop::option::of(1..u32::MAX)
}

fn any_result() -> impl Strategy<Value = AddResult> {
    let interface = ("\\PC*", "\\PC*", number(), "\\PC*", "\\PC*", "\\PC*").prop_map(
        |(name, mac, mtu, sandbox, socket_path, pci_id)| Interface { name, mac, mtu, sandbox, socket_path, pci_id },
    );
    let ip = (prop::option::of(0..9_usize), any_network(), any_ip())
        .prop_map(|(interface, address, gateway)| IpConfig { interface, address, gateway });
    let scope = prop::option::of(any::<u8>());
    let route =
        (any_network(), any_ip(), number(), number(), number(), prop::option::of(any::<u32>()), scope).prop_map(
            |(dst, gw, mtu, advmss, priority, table, scope)| Route { dst, gw, mtu, advmss, priority, table, scope },
        );
    let words = || prop::collection::vec("\\PC*", 0..3);
    let dns = (words(), "\\PC*", words(), words()).prop_map(|(nameservers, domain, search, options)| Dns {
        nameservers,
        domain,
        search,
        options,
    });
    let list = 0..4;
    (
        prop::collection::vec(interface, list.clone()),
        prop::collection::vec(ip, list.clone()),
        prop::collection::vec(route, list),
        dns,
    )
        .prop_map(|(interfaces, ips, routes, dns)| AddResult { interfaces, ips, routes, dns })
}

proptest! {
    #[test]
    fn a_document_holds_what_its_version_can(result in any_result(), version in prop::sample::select(Version::ALL)) {
        match result.to_json(version) {
            Ok(document) => prop_assert_eq!(parse(&document, version).unwrap(), as_held_by(version, result)),
            Err(_) => prop_assert!(version < V0_3_0 && result.ips.is_empty()),
        }
    }
}
