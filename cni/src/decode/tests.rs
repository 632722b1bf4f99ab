use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::Deserialize;
use serde_json::json;

use super::*;
use crate::address;

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Conf {
    name: String,
    vlan: i32,
    mtu: Option<u32>,
    is_gateway: bool,
    ranges: Vec<Vec<Range>>,
    sysctl: BTreeMap<String, Option<String>>,
    mode: Mode,
    raw: Value,
    #[serde(deserialize_with = "address::ip")]
    gateway: Option<IpAddr>,
}

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
struct Range {
    subnet: String,
}

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Mode {
    #[default]
    Bridge,
    Private,
}

fn decode(value: &Value) -> Conf {
    from_value(value).unwrap()
}

fn error(value: &Value) -> String {
    from_value::<Conf>(value).unwrap_err().to_string()
}

#[test]
fn keys_of_structs_match_in_any_case() {
    let conf = decode(&json!({"NAME": "n", "isgateway": true, "RANGES": [[{"SubNet": "x"}]]}));
    assert_eq!((conf.name.as_str(), conf.is_gateway, conf.ranges[0][0].subnet.as_str()), ("n", true, "x"));
}

#[test]
fn the_last_spelling_counts() {
    assert_eq!(decode(&json!({"name": "a", "Name": "b"})).name, "b");
    assert_eq!(decode(&json!({"Name": "b", "name": "a"})).name, "a");
    assert_eq!(from_slice::<Conf>(br#"{"name": "a", "name": "b"}"#).unwrap().name, "b");
}

#[test]
fn null_is_absent() {
    let nulls =
        json!({"name": null, "vlan": null, "mtu": null, "ranges": null, "sysctl": null, "mode": null, "gateway": null});
    assert_eq!(decode(&nulls), Conf::default());
    assert_eq!(decode(&json!({"name": "a", "NAME": null})).name, "a");
    assert_eq!(decode(&Value::Null), Conf::default());
    assert_eq!(decode(&json!({"ranges": [[null]]})).ranges, [[Range::default()]]);
}

#[test]
fn keys_and_nulls_of_maps_and_values_stay() {
    let conf = decode(&json!({"sysctl": {"A": "1", "a": null}, "raw": {"Name": null}}));
    assert_eq!(conf.sysctl, BTreeMap::from([("A".to_owned(), Some("1".to_owned())), ("a".to_owned(), None)]));
    assert_eq!(conf.raw, json!({"Name": null}));
}

#[test]
fn unknown_keys_are_ignored() {
    assert_eq!(decode(&json!({"cniVersion": "1.0.0", "x": [{"y": 1}], "name": "n"})).name, "n");
}

#[test]
fn types_are_strict_and_errors_say_where() {
    for (value, expected) in [
        (json!({"vlan": "x"}), r#"vlan: invalid type: string "x", expected i32"#),
        (json!({"VLAN": "1"}), r#"vlan: invalid type: string "1", expected i32"#),
        (json!({"vlan": 1.5}), "vlan: invalid type: floating point `1.5`, expected i32"),
        (json!({"vlan": 3_000_000_000_u32}), "vlan: invalid value: integer `3000000000`, expected i32"),
        (json!({"mtu": -1}), "mtu: invalid value: integer `-1`, expected u32"),
        (json!({"isGateway": "true"}), r#"isGateway: invalid type: string "true", expected a boolean"#),
        (json!({"isGateway": 1}), "isGateway: invalid type: integer `1`, expected a boolean"),
        (json!({"name": ["n"]}), "name: invalid type: sequence, expected a string"),
        (json!({"ranges": {}}), "ranges: invalid type: map, expected a sequence"),
        (json!({"ranges": [[], [{"subnet": 5}]]}), "ranges[1][0].subnet: invalid type: integer `5`, expected a string"),
        (json!({"ranges": [[["x"]]]}), "ranges[0][0]: invalid type: sequence, expected an object"),
        (json!({"sysctl": {"net.x": 1}}), r#"sysctl.net.x: invalid type: integer `1`, expected a string"#),
        (json!({"mode": "vepa"}), "mode: unknown variant `vepa`, expected `bridge` or `private`"),
        (json!({"gateway": "bogus"}), "gateway: invalid IP address: bogus"),
        (json!([1]), "invalid type: sequence, expected an object"),
        (json!("x"), r#"invalid type: string "x", expected an object"#),
    ] {
        assert_eq!(error(&value), expected);
    }
}

#[derive(Debug, Deserialize)]
enum Shape {
    Named {
        #[expect(dead_code, reason = "only decoded")]
        mtu: u32,
    },
}

#[test]
fn errors_say_where_in_other_shapes() {
    let errors = [
        from_value::<Vec<Range>>(&json!([{}, {"subnet": 5}])).unwrap_err(),
        from_value::<BTreeMap<u8, bool>>(&json!({"x": true})).unwrap_err(),
        from_value::<BTreeMap<String, (u8, u8)>>(&json!({"a": [1, 2, 3]})).unwrap_err(),
        from_value::<Vec<Shape>>(&json!([{"Named": {"mtu": true}}])).unwrap_err(),
        from_value::<Shape>(&json!({})).unwrap_err(),
        from_value::<bool>(&Value::Null).unwrap_err(),
    ];
    let expected = [
        "[1].subnet: invalid type: integer `5`, expected a string",
        r#"x: invalid type: string "x", expected u8"#,
        "a: invalid length 3, expected 2 elements in sequence",
        "[0].Named.mtu: invalid type: boolean `true`, expected u32",
        "invalid value: map, expected map with a single key",
        "invalid type: null, expected a boolean",
    ];
    assert_eq!(errors.map(|error| error.to_string()), expected);
}

#[test]
fn the_path_can_be_asked_for() {
    assert_eq!(from_value::<Conf>(&json!({"vlan": "x"})).unwrap_err().path(), "vlan");
    assert_eq!(from_value::<Conf>(&json!(1)).unwrap_err().path(), "");
}

#[test]
fn an_error_becomes_a_plugins_own() {
    let error = from_value::<Conf>(&json!({"vlan": "x"})).unwrap_err().context("failed to load netconf");
    assert_eq!(error, CniError::internal(r#"failed to load netconf: vlan: invalid type: string "x", expected i32"#));
}

#[test]
fn empty_text_is_an_unset_address() {
    assert_eq!(decode(&json!({"gateway": ""})).gateway, None);
    assert_eq!(decode(&json!({"gateway": "10.0.0.1"})).gateway, Some("10.0.0.1".parse().unwrap()));
}

#[test]
fn invalid_utf8_is_replaced() {
    assert_eq!(from_slice::<Conf>(b"{\"name\": \"a\xff\"}").unwrap().name, "a\u{fffd}");
}

#[test]
fn what_is_no_json_is_refused() {
    for (text, expected) in [
        ("", "unexpected end of JSON input"),
        ("  \n", "unexpected end of JSON input"),
        ("{\"name\": \"n\"", "unexpected end of JSON input"),
        ("hello", "expected value at line 1 column 1"),
        ("{} {}", "trailing characters at line 1 column 4"),
        ("{'a': 1}", "key must be a string at line 1 column 2"),
    ] {
        assert_eq!(from_slice::<Conf>(text.as_bytes()).unwrap_err().to_string(), expected, "{text:?}");
    }
}

#[test]
fn deep_nesting_is_refused_wherever_it_is() {
    let deep = "[".repeat(10_000) + &"]".repeat(10_000);
    let objects = "{\"a\":".repeat(10_000) + "1" + &"}".repeat(10_000);
    for text in [deep.clone(), format!(r#"{{"name": "n", "unknown": {deep}}}"#), objects, "[".repeat(10_000_000)] {
        let error = document(text.as_bytes()).unwrap_err().to_string();
        assert!(error.starts_with("recursion limit exceeded"), "{error}");
    }
}

#[test]
fn nesting_of_real_configurations_is_fine() {
    let text = format!(r#"{{"name": "n", "unknown": {}{}}}"#, "[".repeat(100), "]".repeat(100));
    assert_eq!(from_slice::<Conf>(text.as_bytes()).unwrap().name, "n");
}
