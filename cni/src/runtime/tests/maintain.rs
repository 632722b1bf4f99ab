//! GC, STATUS, and lists against their plugins.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::json;
use tempfile::TempDir;

use super::{Node, conf, list, parse, result, write};
use crate::runtime::{Environment, PluginConf, RuntimeConf, distrusted};
use crate::{Code, ContainerId, Error, IfName};

fn attachment(id: &str, ifname: &str) -> (ContainerId, IfName) {
    (id.parse().unwrap(), ifname.parse().unwrap())
}

fn attach(node: &Node, network: &str, id: &str, ifname: &str) {
    let list = parse(&json!({"name": network, "cniVersion": "1.1.0", "plugins": [{"type": "a"}]}));
    let (container_id, ifname) = attachment(id, ifname);
    let conf = RuntimeConf { container_id, ifname, args: vec![("K".to_owned(), "V".to_owned())], ..conf() };
    node.runtime.add(&list, &conf).unwrap();
}

#[test]
fn gc_deletes_stale_attachments_first_and_then_tells_the_plugins_who_lives() {
    let node = Node::new(&["a", "b"]);
    attach(&node, "n1", "stale", "eth0");
    attach(&node, "n1", "valid", "eth0");
    attach(&node, "n1", "valid", "eth1");
    attach(&node, "n2", "stale", "eth0");
    node.calls();
    node.runtime
        .gc(&list("1.1.0", &["a", "b"]), Some(&[attachment("valid", "eth0"), attachment("other", "eth9")]))
        .unwrap();
    let calls = node.calls();
    let order: Vec<_> = calls.iter().map(|call| call.what.as_str()).collect();
    assert_eq!(order, ["DEL b", "DEL a", "DEL b", "DEL a", "GC a", "GC b"]);
    let who = |call: &super::Call| (call.env["CNI_CONTAINERID"].clone(), call.env["CNI_IFNAME"].clone());
    assert_eq!(who(&calls[0]), ("stale".to_owned(), "eth0".to_owned()));
    assert_eq!(who(&calls[2]), ("valid".to_owned(), "eth1".to_owned()));
    assert_eq!(calls[0].env["CNI_ARGS"], "K=V");
    assert_eq!(calls[0].config()["prevResult"], result("1.1.0", 1));
    let mut left: Vec<_> =
        fs::read_dir(node.path("cache/results")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["n1-valid-eth0", "n2-stale-eth0"]);

    let valid = r#"[{"containerID":"valid","ifname":"eth0"},{"containerID":"other","ifname":"eth9"}]"#;
    assert_eq!(
        calls[4].stdin,
        format!(
            "{{\"cni.dev/attachments\":{valid},\"cni.dev/valid-attachments\":{valid},\"cniVersion\":\"1.1.0\",\"name\":\"n1\",\"type\":\"a\"}}"
        )
    );
    assert_eq!(who(&calls[4]), (String::new(), String::new()));
}

#[test]
fn gc_without_a_list_says_nothing_and_with_an_empty_one_says_nobody() {
    let node = Node::new(&["a"]);
    for (valid, sent) in [(None, None), (Some(&[][..]), Some(json!([])))] {
        attach(&node, "n1", "stale", "eth0");
        node.calls();
        node.runtime.gc(&list("1.1.0", &["a"]), valid).unwrap();
        let calls = node.calls();
        assert_eq!(calls.iter().map(|call| call.what.as_str()).collect::<Vec<_>>(), ["DEL a", "GC a"]);
        assert_eq!(calls[1].config().get("cni.dev/valid-attachments"), sent.as_ref());
        assert_eq!(calls[1].config().get("cni.dev/attachments"), sent.as_ref());
    }
}

#[test]
fn gc_goes_on_through_failures_and_reports_everything() {
    let node = Node::new(&["a", "b"]);
    attach(&node, "n1", "one", "eth0");
    attach(&node, "n1", "two", "eth0");
    node.fail("b", "DEL", "busy");
    node.fail("a", "GC", "no store");
    node.calls();
    let err = node.runtime.gc(&list("1.1.0", &["a", "b"]), Some(&[])).unwrap_err();
    assert_eq!(
        err,
        Error::new(
            Code(11),
            "failed to delete stale attachment one eth0: plugin type=\"b\" failed (delete): busy\n\
             failed to delete stale attachment two eth0: plugin type=\"b\" failed (delete): busy\n\
             failed to GC plugin a: no store"
        )
    );
    assert_eq!(node.order(), ["DEL b", "DEL b", "GC a", "GC b"]);
}

#[test]
fn gc_keeps_its_hands_off_when_the_list_says_so() {
    let node = Node::new(&["a"]);
    attach(&node, "n1", "stale", "eth0");
    node.calls();
    let disabled = json!({"name": "n1", "cniVersion": "1.1.0", "disableGC": true, "plugins": [{"type": "a"}]});
    node.runtime.gc(&parse(&disabled), Some(&[])).unwrap();
    assert!(node.order().is_empty());
    assert!(node.path("cache/results/n1-stale-eth0").exists());
}

#[test]
fn gc_of_an_older_list_deletes_but_does_not_ask() {
    let node = Node::new(&["a"]);
    attach(&node, "n1", "stale", "eth0");
    node.calls();
    node.runtime.gc(&list("1.0.0", &["a"]), Some(&[])).unwrap();
    assert_eq!(node.order(), ["DEL a"]);
}

#[test]
fn status_asks_in_order_and_returns_the_first_error_as_it_is() {
    let node = Node::new(&["a", "b", "c"]);
    let list = list("1.1.0", &["a", "b", "c"]);
    node.runtime.status(&list).unwrap();
    let calls = node.calls();
    assert_eq!(calls.iter().map(|call| call.what.as_str()).collect::<Vec<_>>(), ["STATUS a", "STATUS b", "STATUS c"]);
    assert_eq!(calls[0].stdin, r#"{"cniVersion":"1.1.0","name":"n1","type":"a"}"#);

    write(&node.path("answers/b.STATUS.fail"), r#"{"code": 50, "msg": "daemon is gone", "details": "since noon"}"#);
    let gone = Error::new(Code::PLUGIN_NOT_AVAILABLE, "daemon is gone").with_details("since noon");
    assert_eq!(node.runtime.status(&list), Err(gone));
    assert_eq!(node.order(), ["STATUS a", "STATUS b"]);
    assert_eq!(node.runtime.status(&super::list("1.0.0", &["b"])), Ok(()));
    assert!(node.order().is_empty());
}

#[test]
fn a_list_is_valid_when_all_its_plugins_speak_its_version() {
    let node = Node::new(&["a", "b"]);
    for plugin in ["a", "b"] {
        node.answer(plugin, "VERSION", r#"{"cniVersion": "1.1.0", "supportedVersions": ["0.4.0", "1.0.0", "1.1.0"]}"#);
    }
    let mut document = json!({"name": "n1", "cniVersion": "1.1.0", "plugins": [
        {"type": "a", "capabilities": {"mac": true, "ips": false}}, {"type": "b", "capabilities": {"portMappings": true, "mac": true}}]});
    let capabilities = node.runtime.validate(&parse(&document)).unwrap();
    assert_eq!(capabilities.into_iter().collect::<Vec<_>>(), ["mac", "portMappings"]);
    let probe = node.calls().remove(0);
    assert_eq!((probe.what.as_str(), probe.stdin.as_str()), ("VERSION a", r#"{"cniVersion":"1.1.0"}"#));
    for name in ["CNI_NETNS", "CNI_IFNAME", "CNI_PATH"] {
        assert_eq!(probe.env[name], "dummy");
    }

    document["cniVersion"] = json!("0.3.1");
    document["plugins"][1]["type"] = json!("missing");
    let err = node.runtime.validate(&parse(&document)).unwrap_err();
    let lines: Vec<_> = err.msg.lines().collect();
    assert_eq!(lines[0], "plugin a does not support config version \"0.3.1\"; it supports 0.4.0, 1.0.0, 1.1.0");
    assert!(lines[1].starts_with("failed to find plugin \"missing\" in path ["), "{}", lines[1]);
    document["cniVersion"] = json!("");
    let err = node.runtime.validate(&parse(&document)).unwrap_err();
    assert!(err.msg.starts_with("plugin a does not support config version \"0.1.0\""), "{err}");
}

#[test]
fn old_plugins_and_nonsense_are_told_apart_by_their_answer() {
    let node = Node::new(&["a"]);
    let plugin = PluginConf::from_slice(br#"{"type": "a"}"#).unwrap();
    for (answer, versions) in [
        (r#"{"cniVersion": "0.2.0"}"#, Ok("0.1.0 0.2.0")),
        (r#"{"cniVersion": "1.0.0"}"#, Err("decoding version info: missing field supportedVersions")),
        (r#"{"supportedVersions": ["1.0.0"]}"#, Err("decoding version info: missing field cniVersion")),
        ("", Err("decoding version info: unexpected end of JSON input")),
    ] {
        node.answer("a", "VERSION", answer);
        let found = node.runtime.versions(&plugin).map(|found| found.join(" ")).map_err(|err| err.msg);
        assert_eq!(found, versions.map(str::to_owned).map_err(str::to_owned), "{answer}");
    }
    node.fail("a", "VERSION", "unknown CNI_COMMAND: VERSION");
    assert_eq!(node.runtime.versions(&plugin).unwrap(), ["0.1.0"]);
    node.fail("a", "VERSION", "broken");
    assert_eq!(node.runtime.versions(&plugin), Err(Error::new(Code(11), "broken")));
}

/// The suite that nodes have today. Where it is not installed, there is nothing to compare with.
#[test]
fn installed_go_plugins_answer_the_probe() {
    let mut node = Node::new(&[]);
    let installed = Path::new("/usr/lib/cni");
    if !installed.join("bridge").exists() {
        println!("SKIP: no CNI plugins in {}", installed.display());
        return;
    }
    node.runtime.plugin_dirs = vec![installed.to_owned()];
    node.runtime.env = Environment::Inherit;
    let plugin = PluginConf::from_slice(br#"{"type": "bridge"}"#).unwrap();
    let versions = node.runtime.versions(&plugin).unwrap();
    assert!(versions.contains(&"1.0.0".to_owned()), "{versions:?}");
    node.runtime.validate(&list("1.0.0", &["bridge", "portmap"])).unwrap();
    node.runtime.validate(&list("9.9.9", &["bridge"])).unwrap_err();
}

#[test]
fn a_directory_that_others_may_write_is_distrusted() {
    let dir = TempDir::new().unwrap();
    let with = |mode: u32| {
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(mode)).unwrap();
        distrusted(dir.path()).map(|warning| warning.replace(&dir.path().display().to_string(), "DIR"))
    };
    assert_eq!(with(0o755), None);
    assert_eq!(with(0o700), None);
    let warning =
        |who: &str| Some(format!("DIR is writable by {who}; whoever can write there decides what is executed"));
    assert_eq!(with(0o775), warning("its group"));
    assert_eq!(with(0o777), warning("everybody"));
    assert_eq!(distrusted(&dir.path().join("absent")), None);
}
