//! What a plugin can ask of its call.

use serde::Deserialize;

use super::*;
use crate::result::Interface;

fn make(config: &Value) -> Call {
    let env = [("CNI_PATH", "/a:/b"), ("X", "1"), ("X", "2")].map(|(name, value)| (name.into(), value.into()));
    Call::new(config.to_string().into_bytes(), env.into(), Stderr::buffered().0).unwrap()
}

fn prev_result(version: &str, document: Value) -> Result<Option<AddResult>, String> {
    let call = make(&json!({"cniVersion": version, "name": "n1", "prevResult": document}));
    call.prev_result().map_err(|error| {
        assert_eq!(error.code, Code(999));
        error.to_string()
    })
}

#[test]
fn the_surroundings() {
    let call = make(&config());
    assert_eq!(call.path, ["/a", "/b"].map(std::path::PathBuf::from));
    assert_eq!(call.env("X").unwrap(), "1");
    assert_eq!(call.env.len(), 2);
    assert_eq!(call.env("Y"), None);
}

#[test]
fn the_configuration_in_the_plugins_type() {
    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "camelCase", default)]
    #[derive(Default)]
    struct Conf {
        vlan: u16,
        #[serde(rename = "type")]
        kind: String,
    }
    let conf: Conf = make(&json!({"name": "n1", "VLAN": 7, "Type": "fake"})).config().unwrap();
    assert_eq!((conf.vlan, conf.kind.as_str()), (7, "fake"));
    let error = make(&json!({"name": "n1", "vlan": "x"})).config::<Conf>().unwrap_err();
    assert_eq!(error, Error::internal(r#"vlan: invalid type: string "x", expected u16"#));
}

#[test]
fn the_type_of_the_ipam_plugin() {
    let kind = |ipam: Value| make(&json!({"name": "n1", "ipam": ipam})).ipam_type().map_err(|error| error.msg);
    assert_eq!(kind(json!({"type": "host-local", "ranges": 5})), Ok("host-local".to_owned()));
    assert_eq!(kind(json!({})), Ok(String::new()));
    assert_eq!(kind(Value::Null), Ok(String::new()));
    assert_eq!(kind(json!("x")), Err(r#"ipam: invalid type: string "x", expected an object"#.to_owned()));
}

#[test]
fn a_previous_result_is_read_in_the_configurations_version() {
    let interfaces = vec![Interface { name: "eth0".into(), ..Interface::default() }];
    let expected = Ok(Some(AddResult { interfaces, ..AddResult::default() }));
    let eth0 = json!([{"name": "eth0"}]);
    for (version, document) in [
        ("1.0.0", json!({"cniVersion": "1.0.0", "interfaces": eth0})),
        ("1.0.0", json!({"cniVersion": "1.1.0", "interfaces": eth0})),
        ("0.4.0", json!({"cniVersion": "0.3.1", "interfaces": eth0})),
        ("1.1.0", json!({"interfaces": eth0})),
        ("1.1.0", json!({"CNIVersion": "", "Interfaces": eth0})),
        ("1.1.0", json!({"CNIVersion": "1.0.0", "cniVersion": null, "interfaces": eth0})),
        // Keys are sorted before they are decoded, and the last counts.
        ("1.1.0", json!({"cniVersion": "1.1.0", "CNIVersion": "0.3.0", "interfaces": eth0})),
    ] {
        assert_eq!(prev_result(version, document.clone()), expected, "{version} {document}");
    }
}

#[test]
fn absence_of_a_previous_result() {
    assert_eq!(make(&config()).prev_result(), Ok(None));
    assert_eq!(prev_result("1.1.0", Value::Null), Ok(None));
    assert_eq!(prev_result("1.1.0", json!({})), Ok(Some(AddResult::default())));
    assert_eq!(
        make(&json!({"name": "n1", "PREVRESULT": {"ip4": {"ip": "10.0.0.2/24"}}})).prev_result(),
        Ok(Some(one_address()))
    );
}

#[test]
fn a_previous_result_of_another_version() {
    let error = |version, document| prev_result(version, document).unwrap_err();
    assert_eq!(
        error("1.0.0", json!({"cniVersion": "0.4.0"})),
        r#"could not parse prevResult: result type supports [1.0.0 1.1.0] but unmarshalled CNIVersion is "0.4.0""#
    );
    assert_eq!(
        error("0.3.1", json!({"cniVersion": "1.0.0"})),
        r#"could not parse prevResult: result type supports [0.3.0 0.3.1 0.4.0] but unmarshalled CNIVersion is "1.0.0""#
    );
    assert_eq!(
        error("1.0.0", json!({"cniVersion": ""})),
        r#"could not parse prevResult: result type supports [1.0.0 1.1.0] but unmarshalled CNIVersion is """#
    );
}

#[test]
fn a_previous_result_that_is_none() {
    let error = |document| prev_result("1.1.0", document).unwrap_err();
    assert_eq!(error(json!("x")), r#"prevResult: invalid type: string "x", expected a map"#);
    assert_eq!(
        error(json!({"ips": [{"address": "bogus"}]})),
        "could not parse prevResult: ips[0].address: invalid CIDR address: bogus"
    );
    assert_eq!(
        error(json!({"cniVersion": 1})),
        "could not parse prevResult: cniVersion: invalid type: integer `1`, expected a string"
    );
}

fn valid(config: &Value) -> Result<ValidAttachments, Error> {
    make(config).valid_attachments()
}

fn with_list(key: &str, list: Value) -> Value {
    let mut config = config();
    config[key] = list;
    config
}

#[test]
fn the_valid_attachments() {
    for key in ["cni.dev/valid-attachments", "cni.dev/attachments"] {
        let list = json!([{"containerID": "b", "ifname": "eth0"}, {"containerID": "a", "ifname": "net1"}]);
        let valid = valid(&with_list(key, list)).unwrap();
        assert!(valid.is_specified());
        assert_eq!(valid.iter().collect::<Vec<_>>(), [("a", "net1"), ("b", "eth0")]);
        assert!(valid.contains("b", "eth0") && !valid.contains("b", "net1") && !valid.contains("c", "eth0"));
        assert!(valid.contains_id("a") && !valid.contains_id("c"));
    }
}

#[test]
fn the_specifications_key_counts_before_the_old_one() {
    let mut config = with_list("cni.dev/attachments", json!([{"containerID": "old", "ifname": "eth0"}]));
    config["cni.dev/valid-attachments"] = json!([{"containerID": "new", "ifname": "eth0"}]);
    assert_eq!(valid(&config).unwrap(), ValidAttachments::new([("new", "eth0")]));
}

#[test]
fn an_empty_list_is_not_a_missing_one() {
    for list in [json!([]), Value::Null] {
        let valid = valid(&with_list("cni.dev/valid-attachments", list)).unwrap();
        assert!(valid.is_specified() && !valid.contains("a", "eth0") && !valid.contains_id("a"));
    }
    let valid = valid(&config()).unwrap();
    assert!(!valid.is_specified() && valid.contains("a", "eth0") && valid.contains_id("a"));
    assert_eq!(valid.iter().count(), 0);
}

#[test]
fn gc_without_a_list_says_so() {
    let plugin = Fake::default();
    let seen = call_json(&plugin, &env("GC"), &config());
    assert_eq!(*plugin.calls.borrow(), ["GC false "]);
    assert!(seen.stderr.starts_with("GC without cni.dev/valid-attachments"), "{seen:?}");
    let listed = with_list("cni.dev/valid-attachments", json!([{"containerID": "a", "ifname": "eth0"}]));
    let seen = call_json(&plugin, &env("GC"), &listed);
    assert_eq!(plugin.calls.borrow()[1], "GC true a/eth0");
    assert_eq!(seen.stderr, "");
}

#[test]
fn gc_with_a_broken_list_removes_nothing() {
    for (list, msg) in [
        (json!("x"), r#"invalid cni.dev/valid-attachments: invalid type: string "x", expected a sequence"#),
        (json!([{"containerID": "a"}]), "invalid cni.dev/valid-attachments: [0]: missing field `ifname`"),
    ] {
        let plugin = Fake::default();
        let seen = call_json(&plugin, &env("GC"), &with_list("cni.dev/valid-attachments", list));
        assert_eq!(seen.error(), Error::new(Code(6), msg));
        assert!(plugin.calls.borrow().is_empty());
    }
}
