//! The documents to the byte.

use super::*;

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

/// One interface and one route with every field.
fn short() -> AddResult {
    let mut result = full();
    result.interfaces.drain(..2);
    result.ips.clear();
    result.routes.pop();
    result
}

#[test]
fn every_field_has_its_place_in_1_1_0() {
    insta::assert_snapshot!(short().to_json(V1_1_0).unwrap(), @r#"
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
}

#[test]
fn every_field_has_its_place_in_0_3_1() {
    insta::assert_snapshot!(short().to_json(V0_3_1).unwrap(), @r#"
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
