use proptest::prelude::*;
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

#[test]
fn layout_of_1_1_0() {
    let expected = r#"{
    "cniVersion": "1.1.0",
    "interfaces": [
        {
            "mac": "6a:28:39:40:d5:c0",
            "name": "br9"
        },
        {
            "mac": "c6:c8:52:10:ea:29",
            "name": "veth1997507e"
        },
        {
            "mac": "c6:22:ad:9f:3a:ae",
            "name": "eth0",
            "sandbox": "/run/netns/c1"
        }
    ],
    "ips": [
        {
            "address": "10.77.0.2/24",
            "gateway": "10.77.0.1",
            "interface": 2
        },
        {
            "address": "fd77::2/64",
            "gateway": "fd77::1",
            "interface": 2
        }
    ],
    "routes": [
        {
            "dst": "0.0.0.0/0",
            "gw": "10.77.0.1"
        },
        {
            "dst": "::/0",
            "gw": "fd77::1"
        }
    ]
}"#;
    assert_eq!(bridge().to_json(V1_1_0).unwrap(), expected);
    assert_eq!(bridge().to_json(V1_0_0).unwrap(), expected.replace("1.1.0", "1.0.0"));
}

#[test]
fn layout_of_0_4_0() {
    let expected = r#"{
    "cniVersion": "0.4.0",
    "interfaces": [
        {
            "name": "br9",
            "mac": "6a:28:39:40:d5:c0"
        },
        {
            "name": "veth1997507e",
            "mac": "c6:c8:52:10:ea:29"
        },
        {
            "name": "eth0",
            "mac": "c6:22:ad:9f:3a:ae",
            "sandbox": "/run/netns/c1"
        }
    ],
    "ips": [
        {
            "version": "4",
            "interface": 2,
            "address": "10.77.0.2/24",
            "gateway": "10.77.0.1"
        },
        {
            "version": "6",
            "interface": 2,
            "address": "fd77::2/64",
            "gateway": "fd77::1"
        }
    ],
    "routes": [
        {
            "dst": "0.0.0.0/0",
            "gw": "10.77.0.1"
        },
        {
            "dst": "::/0",
            "gw": "fd77::1"
        }
    ],
    "dns": {}
}"#;
    for version in [V0_3_0, V0_3_1, V0_4_0] {
        assert_eq!(bridge().to_json(version).unwrap(), expected.replace("0.4.0", version.as_str()));
    }
}

#[test]
fn layout_of_0_2_0() {
    let expected = r#"{
    "cniVersion": "0.2.0",
    "ip4": {
        "ip": "10.77.0.2/24",
        "gateway": "10.77.0.1",
        "routes": [
            {
                "dst": "0.0.0.0/0",
                "gw": "10.77.0.1"
            }
        ]
    },
    "ip6": {
        "ip": "fd77::2/64",
        "gateway": "fd77::1",
        "routes": [
            {
                "dst": "::/0",
                "gw": "fd77::1"
            }
        ]
    },
    "dns": {}
}"#;
    for version in [V0_1_0, V0_2_0] {
        assert_eq!(bridge().to_json(version).unwrap(), expected.replace("0.2.0", version.as_str()));
    }
}

#[test]
fn every_field_has_its_place() {
    let mut result = full();
    result.interfaces.drain(..2);
    result.ips.clear();
    result.routes.pop();
    insta::assert_snapshot!(result.to_json(V1_1_0).unwrap(), @r#"
    {
        "cniVersion": "1.1.0",
        "dns": {
            "domain": "example.com",
            "nameservers": [
                "10.1.0.1"
            ],
            "options": [
                "ndots:2"
            ],
            "search": [
                "a"
            ]
        },
        "interfaces": [
            {
                "mac": "c6:22:ad:9f:3a:ae",
                "mtu": 1500,
                "name": "eth0",
                "pciID": "0000:00:1f.6",
                "sandbox": "/run/netns/c1",
                "socketPath": "/run/\u003cs\u003e"
            }
        ],
        "routes": [
            {
                "advmss": 1360,
                "dst": "0.0.0.0/0",
                "gw": "10.77.0.1",
                "mtu": 1400,
                "priority": 100,
                "scope": 0,
                "table": 0
            }
        ]
    }
    "#);
    insta::assert_snapshot!(result.to_json(V0_3_1).unwrap(), @r#"
    {
        "cniVersion": "0.3.1",
        "interfaces": [
            {
                "name": "eth0",
                "mac": "c6:22:ad:9f:3a:ae",
                "sandbox": "/run/netns/c1"
            }
        ],
        "routes": [
            {
                "dst": "0.0.0.0/0",
                "gw": "10.77.0.1",
                "mtu": 1400,
                "advmss": 1360,
                "priority": 100,
                "table": 0,
                "scope": 0
            }
        ],
        "dns": {
            "nameservers": [
                "10.1.0.1"
            ],
            "domain": "example.com",
            "search": [
                "a"
            ],
            "options": [
                "ndots:2"
            ]
        }
    }
    "#);
}

#[test]
fn an_empty_result() {
    let empty = AddResult::default();
    assert_eq!(empty.to_json(V1_1_0).unwrap(), "{\n    \"cniVersion\": \"1.1.0\"\n}");
    assert_eq!(empty.to_json(V0_4_0).unwrap(), "{\n    \"cniVersion\": \"0.4.0\",\n    \"dns\": {}\n}");
    for version in [V0_1_0, V0_2_0] {
        assert_eq!(empty.to_json(version).unwrap_err(), Error::new(Code(999), "cannot convert: no valid IP addresses"));
    }
}

#[test]
fn old_documents_hold_the_first_address_of_each_family() {
    let mut result = bridge();
    result.ips.push(address(None, "10.78.0.2/24", "10.78.0.1"));
    result.ips.remove(1);
    result.routes.push(Route { mtu: Some(1400), ..Route::new(parse_cidr("10.9.0.0/16").unwrap(), None) });
    let document: Value = serde_json::from_str(&result.to_json(V0_2_0).unwrap()).unwrap();
    let routes = json!([{"dst": "0.0.0.0/0", "gw": "10.77.0.1"}, {"dst": "10.9.0.0/16"}]);
    let ip4 = json!({"ip": "10.77.0.2/24", "gateway": "10.77.0.1", "routes": routes});
    assert_eq!(document, json!({"cniVersion": "0.2.0", "ip4": ip4, "dns": {}}));
}

#[test]
fn mapped_addresses_print_as_ipv4() {
    let result = AddResult { ips: vec![address(None, "10.0.0.1/8", "::ffff:10.0.0.9")], ..AddResult::default() };
    let mapped = IpNetwork::new("::ffff:10.0.0.1".parse().unwrap(), 104).unwrap();
    let result = AddResult { ips: vec![IpConfig { address: mapped, ..result.ips[0].clone() }], ..result };
    let document: Value = serde_json::from_str(&result.to_json(V0_4_0).unwrap()).unwrap();
    assert_eq!(document["ips"], json!([{"version": "4", "address": "10.0.0.1/8", "gateway": "10.0.0.9"}]));
}

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

#[test]
fn a_document_of_another_format_is_refused() {
    for (stated, version, expected) in [
        ("0.4.0", V1_0_0, r#"result type supports [1.0.0 1.1.0] but unmarshalled CNIVersion is "0.4.0""#),
        ("1.0.0", V0_3_1, r#"result type supports [0.3.0 0.3.1 0.4.0] but unmarshalled CNIVersion is "1.0.0""#),
        ("0.3.0", V0_2_0, r#"result type supports [ 0.1.0 0.2.0] but unmarshalled CNIVersion is "0.3.0""#),
        ("", V1_1_0, r#"result type supports [1.0.0 1.1.0] but unmarshalled CNIVersion is """#),
        ("9.9.9", V1_1_0, r#"result type supports [1.0.0 1.1.0] but unmarshalled CNIVersion is "9.9.9""#),
    ] {
        let error = AddResult::parse(&json!({"cniVersion": stated}), version).unwrap_err();
        assert_eq!(error, Error::new(Code(999), expected));
    }
    assert_eq!(AddResult::parse(&json!({}), V0_1_0), Ok(AddResult::default()));
    assert_eq!(AddResult::parse(&json!({"cniVersion": "1.0.0"}), V1_1_0), Ok(AddResult::default()));
}

#[test]
fn an_answer_goes_by_its_own_version() {
    let answer = |text: &str| AddResult::parse_answer(text.as_bytes(), V1_0_0);
    let ips = vec![IpConfig { interface: None, address: parse_cidr("10.0.0.2/8").unwrap(), gateway: None }];
    let expected = AddResult { ips, ..AddResult::default() };
    for text in [
        r#"{"ips": [{"address": "10.0.0.2/8"}]}"#,
        r#"{"cniVersion": "", "IPs": [{"Address": "10.0.0.2/8", "gateway": ""}]}"#,
        r#"{"cniVersion": "1.1.0", "ips": [{"address": "10.0.0.2/8"}]}"#,
        r#"{"cniVersion": "0.3.1", "ips": [{"version": "4", "address": "10.0.0.2/8"}], "dns": {}}"#,
        r#"{"cniVersion": "0.2.0", "ip4": {"ip": "10.0.0.2/8"}}"#,
    ] {
        assert_eq!(answer(text).unwrap(), expected, "{text}");
    }
    assert_eq!(answer("null"), Ok(AddResult::default()));
}

#[test]
fn answers_that_make_no_sense() {
    let error = |text: &str| AddResult::parse_answer(text.as_bytes(), V1_0_0).unwrap_err().to_string();
    assert_eq!(error(""), "failed to unmarshal raw result: unexpected end of JSON input");
    assert_eq!(error("hello"), "failed to unmarshal raw result: expected value at line 1 column 1");
    assert_eq!(error("[]"), "failed to unmarshal raw result: invalid type: sequence, expected a map");
    assert_eq!(error(r#"{"cniVersion": "2.0.0"}"#), r#"unsupported CNI result version "2.0.0""#);
    assert_eq!(error(r#"{"ips": [{"address": "bogus"}]}"#), "ips[0].address: invalid CIDR address: bogus");
    assert_eq!(error(r#"{"ips": [{}]}"#), "ips[0]: missing field `address`");
    assert_eq!(
        error(r#"{"ips": [{"address": "10.0.0.1/8", "interface": -1}]}"#),
        "ips[0].interface: invalid value: integer `-1`, expected usize"
    );
}

/// The examples of each version of the specification, shortened by nothing but comments.
#[test]
fn examples_of_the_specification() {
    for (version, document) in [
        (
            V1_1_0,
            json!({
                "cniVersion": "1.1.0",
                "ips": [{"address": "10.1.0.5/16", "gateway": "10.1.0.1", "interface": 2}],
                "routes": [{"dst": "0.0.0.0/0"}],
                "interfaces": [
                    {"name": "cni0", "mac": "00:11:22:33:44:55"},
                    {"name": "veth3243", "mac": "55:44:33:22:11:11"},
                    {"name": "eth0", "mac": "99:88:77:66:55:44", "sandbox": "/var/run/netns/blue"}
                ],
                "dns": {"nameservers": ["10.1.0.1"]}
            }),
        ),
        (
            V0_4_0,
            json!({
                "cniVersion": "0.4.0",
                "ips": [{"version": "4", "address": "10.1.0.5/16", "gateway": "10.1.0.1", "interface": 2}],
                "routes": [{"dst": "0.0.0.0/0"}],
                "interfaces": [
                    {"name": "cni0", "mac": "00:11:22:33:44:55"},
                    {"name": "veth3243", "mac": "55:44:33:22:11:11"},
                    {"name": "eth0", "mac": "99:88:77:66:55:44", "sandbox": "/var/run/netns/blue"}
                ],
                "dns": {"nameservers": ["10.1.0.1"]}
            }),
        ),
        (
            V0_3_1,
            json!({
                "cniVersion": "0.3.1",
                "interfaces": [{"name": "eth0", "mac": "00:11:22:33:44:66", "sandbox": "/proc/3553/ns/net"}],
                "ips": [
                    {"version": "4", "address": "192.168.1.3/24", "interface": 0},
                    {"version": "6", "address": "fd00::3/64", "gateway": "fd00::1"}
                ],
                "routes": [{"dst": "15.5.6.0/24", "gw": "15.5.6.1"}],
                "dns": {"nameservers": ["8.8.8.8"], "domain": "bar.com", "search": ["foo.com"], "options": ["debug"]}
            }),
        ),
        (
            V0_2_0,
            json!({
                "cniVersion": "0.2.0",
                "ip4": {"ip": "10.0.0.5/16", "gateway": "10.0.0.1", "routes": [{"dst": "0.0.0.0/0", "gw": "10.0.0.1"}]},
                "ip6": {"ip": "fd00::5/64", "gateway": "fd00::1", "routes": [{"dst": "::/0"}]},
                "dns": {"nameservers": ["1.1.1.1"], "domain": "x", "search": ["y"], "options": ["z"]}
            }),
        ),
    ] {
        let printed = AddResult::parse(&document, version).unwrap().to_json(version).unwrap();
        assert_eq!(serde_json::from_str::<Value>(&printed).unwrap(), document);
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
