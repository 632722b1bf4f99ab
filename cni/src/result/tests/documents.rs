//! Documents that others wrote.

use super::*;

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
