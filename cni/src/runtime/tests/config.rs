//! What a plugin receives.

use serde_json::{Map, Value, json};

use super::{Node, conf, parse};
use crate::runtime::PluginConf;

fn request(plugin: &Value, additions: Vec<(&'static str, Value)>) -> String {
    let plugin = PluginConf::from_slice(plugin.to_string().as_bytes()).unwrap();
    String::from_utf8(plugin.request(additions).unwrap()).unwrap()
}

#[test]
fn additions_override_and_keys_are_sorted() {
    let plugin = json!({"type": "a", "name": "own", "cniVersion": "0.1.0", "z": {"y": 1.0, "b": "<&>"}, "Type": "A"});
    let additions =
        vec![("name", json!("n1")), ("cniVersion", json!("1.1.0")), ("prevResult", json!({"b": 1, "a": []}))];
    assert_eq!(
        request(&plugin, additions),
        concat!(
            r#"{"Type":"A","cniVersion":"1.1.0","name":"n1","prevResult":{"a":[],"b":1},"type":"a","#,
            r#""z":{"b":"\u003c\u0026\u003e","y":1}}"#
        )
    );
}

#[test]
fn capability_arguments_are_filtered_by_what_the_plugin_declares() {
    let args = json!({"mac": "aa:bb:cc:dd:ee:ff", "portMappings": [{"hostPort": 80}], "ips": ["10.0.0.9"]});
    let args: Map<String, Value> = args.as_object().unwrap().clone();
    for (capabilities, expected) in [
        (
            json!({"mac": true, "portMappings": true, "bandwidth": true}),
            json!({"mac": args["mac"], "portMappings": args["portMappings"]}),
        ),
        (json!({"mac": false, "ips": true}), json!({"ips": ["10.0.0.9"]})),
        (json!({"mac": false, "MAC": true}), Value::Null),
        (json!({}), Value::Null),
    ] {
        let plugin = json!({"type": "a", "capabilities": capabilities});
        let plugin = PluginConf::from_slice(plugin.to_string().as_bytes()).unwrap();
        assert_eq!(plugin.runtime_config(&args).unwrap_or_default(), expected, "{capabilities}");
    }
}

#[test]
fn a_plugin_is_given_the_list_s_identity_its_capabilities_and_its_own_runtime_config_otherwise() {
    let node = Node::new(&["a", "b"]);
    let list = parse(&json!({"name": "n1", "cniVersion": "1.1.0", "plugins": [
        {"type": "a", "capabilities": {"mac": true}, "runtimeConfig": {"ips": ["in the file"]}},
        {"type": "b", "capabilities": {"portMappings": true}, "runtimeConfig": {"ips": ["in the file"]}},
    ]}));
    let mut conf = conf();
    conf.capability_args.insert("mac".to_owned(), json!("aa:bb:cc:dd:ee:ff"));
    node.runtime.add(&list, &conf).unwrap();
    let calls = node.calls();
    assert_eq!(
        calls[0].stdin,
        r#"{"capabilities":{"mac":true},"cniVersion":"1.1.0","name":"n1","runtimeConfig":{"mac":"aa:bb:cc:dd:ee:ff"},"type":"a"}"#
    );
    assert_eq!(calls[1].config()["runtimeConfig"], json!({"ips": ["in the file"]}));
}
