//! ADD, DEL and CHECK of a list.

use std::fs;

use serde_json::{Value, json};

use super::{Node, conf, list, parse, result, write};
use crate::result::AddResult;
use crate::runtime::Environment;
use crate::{Code, Error, Version};

#[test]
fn add_runs_in_order_and_hands_each_result_on() {
    let node = Node::new(&["a", "b", "c"]);
    let added = node.runtime.add(&list("1.1.0", &["a", "b", "c"]), &conf()).unwrap();
    assert_eq!(added, AddResult::parse(&result("1.1.0", 3), Version::V1_1_0).unwrap());
    let calls = node.calls();
    let seen: Vec<_> = calls.iter().map(|call| (call.what.as_str(), call.config()["prevResult"].clone())).collect();
    assert_eq!(seen, [("ADD a", Value::Null), ("ADD b", result("1.1.0", 1)), ("ADD c", result("1.1.0", 2))]);
    let env = &calls[0].env;
    let bin = node.path("bin").display().to_string();
    for (name, value) in [
        ("CNI_COMMAND", "ADD"),
        ("CNI_CONTAINERID", "cid1"),
        ("CNI_NETNS", "/run/netns/c1"),
        ("CNI_ARGS", ""),
        ("CNI_IFNAME", "eth0"),
        ("CNI_PATH", bin.as_str()),
    ] {
        assert_eq!(env.get(name).map(String::as_str), Some(value), "{name}");
    }
}

#[test]
fn a_plugin_s_answer_is_handed_on_in_the_list_s_version() {
    let node = Node::new(&["a", "b"]);
    // In the old shape, without a version: it is the list's.
    node.answer("a", "ADD", r#"{"ips": [{"version": "4", "address": "10.0.0.1/24"}], "dns": {}}"#);
    node.answer("b", "ADD", &result("1.0.0", 2).to_string());
    let added = node.runtime.add(&list("0.4.0", &["a", "b"]), &conf()).unwrap();
    assert_eq!(added.ips.len(), 1);
    let handed = json!({"cniVersion": "0.4.0", "dns": {}, "ips": [{"version": "4", "address": "10.0.0.1/24"}]});
    assert_eq!(node.calls()[1].config()["prevResult"], handed);
    let record: Value = serde_json::from_slice(&fs::read(node.record()).unwrap()).unwrap();
    assert_eq!(record["result"]["cniVersion"], "0.4.0");
}

#[test]
fn args_reach_the_plugins_as_one_string() {
    let node = Node::new(&["a"]);
    let mut conf = conf();
    conf.args = [("IgnoreUnknown", "1"), ("MAC", "aa:bb:cc:dd:ee:ff"), ("EMPTY", "")]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .to_vec();
    node.runtime.add(&list("1.1.0", &["a"]), &conf).unwrap();
    assert_eq!(node.calls()[0].env["CNI_ARGS"], "IgnoreUnknown=1;MAC=aa:bb:cc:dd:ee:ff;EMPTY=");
}

#[test]
fn args_that_would_read_as_others_are_refused() {
    let node = Node::new(&["a"]);
    for (key, value) in [("NAME", "a;IP=10.0.0.9"), ("NAME", "a=b"), ("A;B", "c"), ("A=B", "c"), ("", "c")] {
        let mut conf = conf();
        conf.args = vec![(key.to_owned(), value.to_owned())];
        let msg = format!("invalid CNI_ARGS pair \"{key}={value}\"");
        assert_eq!(node.runtime.add(&list("1.1.0", &["a"]), &conf), Err(Error::new(Code::INVALID_ENVIRONMENT, msg)));
    }
    assert!(node.order().is_empty());
}

#[test]
fn the_environment_is_inherited_or_clean() {
    let mut node = Node::new(&["a"]);
    // Cargo sets this one for every test.
    let secret = "CARGO_MANIFEST_DIR";
    node.runtime.add(&list("1.1.0", &["a"]), &conf()).unwrap();
    let clean = node.calls().remove(0).env;
    // The shell itself adds PWD, and _ or SHLVL if it is bash.
    let own = ["PWD", "OLDPWD", "SHLVL", "_", "PATH", "LANG"];
    let others: Vec<_> = clean.keys().filter(|name| !own.contains(&name.as_str())).map(String::as_str).collect();
    assert_eq!(others, ["CNI_ARGS", "CNI_COMMAND", "CNI_CONTAINERID", "CNI_IFNAME", "CNI_NETNS", "CNI_PATH"]);

    node.runtime.env = Environment::Inherit;
    node.runtime.add(&list("1.1.0", &["a"]), &conf()).unwrap();
    assert!(node.calls().remove(0).env.contains_key(secret));
}

#[test]
fn the_first_directory_with_the_plugin_counts() {
    let mut node = Node::new(&["a"]);
    fs::create_dir_all(node.path("first/a")).unwrap();
    node.runtime.plugin_dirs = vec![node.path("absent"), node.path("first"), node.path("bin")];
    node.runtime.add(&list("1.1.0", &["a"]), &conf()).unwrap();
    let path = format!("{0}/absent:{0}/first:{0}/bin", node.path("").display().to_string().trim_end_matches('/'));
    assert_eq!(node.calls()[0].env["CNI_PATH"], path);
}

#[test]
fn nothing_is_started_when_a_plugin_is_missing() {
    let node = Node::new(&["a"]);
    let bin = node.path("bin");
    for (plugin, reason) in [
        ("nope", format!("failed to find plugin \"nope\" in path [{}]", bin.display())),
        ("../calls", "invalid plugin name: ../calls".to_owned()),
        ("..", format!("failed to find plugin \"..\" in path [{}]", bin.display())),
    ] {
        let err = node.runtime.add(&list("1.1.0", &["a", plugin]), &conf()).unwrap_err();
        assert_eq!(
            (err.code, err.msg),
            (Code::INVALID_CONFIG, format!("plugin type=\"{plugin}\" failed (add): {reason}"))
        );
    }
    assert!(node.order().is_empty());
}

#[test]
fn nothing_is_started_for_a_bad_network_name_or_an_unknown_version() {
    let node = Node::new(&["a"]);
    let mut bad = json!({"name": "../../etc/x", "cniVersion": "1.1.0", "plugins": [{"type": "a"}]});
    let refused =
        Error::new(Code::INVALID_CONFIG, "invalid characters found in network name").with_details("../../etc/x");
    assert_eq!(node.runtime.add(&parse(&bad), &conf()), Err(refused.clone()));
    assert_eq!(node.runtime.del(&parse(&bad), &conf()), Err(refused.clone()));
    assert_eq!(node.runtime.check(&parse(&bad), &conf()), Err(refused.clone()));
    assert_eq!(node.runtime.gc(&parse(&bad), None), Err(refused));
    bad["name"] = json!("n1");
    bad["cniVersion"] = json!("9.1.0");
    let err = node.runtime.add(&parse(&bad), &conf()).unwrap_err();
    assert_eq!((err.code, err.msg.as_str()), (Code::INCOMPATIBLE_VERSION, "unknown CNI version \"9.1.0\""));
    assert!(node.order().is_empty());
}

#[test]
fn a_failed_add_says_who_failed_and_leaves_the_rest_to_the_caller() {
    let node = Node::new(&["a", "b", "c"]);
    node.fail("b", "ADD", "pool is locked");
    let list = parse(&json!({"name": "n1", "cniVersion": "1.1.0",
        "plugins": [{"type": "a"}, {"type": "b", "name": "own"}, {"type": "c"}]}));
    let err = node.runtime.add(&list, &conf()).unwrap_err();
    assert_eq!(err, Error::new(Code(11), "plugin type=\"b\" name=\"own\" failed (add): pool is locked"));
    assert_eq!(node.order(), ["ADD a", "ADD b"]);
    assert!(!node.record().exists());
}

#[test]
fn del_runs_in_reverse_with_the_final_result_for_everyone() {
    let node = Node::new(&["a", "b", "c"]);
    let list = list("1.0.0", &["a", "b", "c"]);
    node.runtime.add(&list, &conf()).unwrap();
    node.calls();
    node.runtime.del(&list, &conf()).unwrap();
    let calls = node.calls();
    let seen: Vec<_> = calls.iter().map(|call| (call.what.as_str(), call.config()["prevResult"].clone())).collect();
    let last = result("1.0.0", 3);
    assert_eq!(seen, [("DEL c", last.clone()), ("DEL b", last.clone()), ("DEL a", last)]);
    assert!(!node.record().exists());

    // Again, with nothing on record and the namespace gone.
    let gone = crate::runtime::RuntimeConf { netns: String::new(), ..conf() };
    node.runtime.del(&list, &gone).unwrap();
    let calls = node.calls();
    assert_eq!(calls.len(), 3);
    assert_eq!(calls[0].env["CNI_NETNS"], "");
    assert_eq!(calls[0].config().get("prevResult"), None);
}

#[test]
fn del_of_a_list_of_before_0_4_0_gets_no_result_but_strikes_the_record_out() {
    let node = Node::new(&["a"]);
    let list = list("0.3.1", &["a"]);
    node.runtime.add(&list, &conf()).unwrap();
    assert!(node.record().exists());
    node.runtime.del(&list, &conf()).unwrap();
    assert_eq!(node.calls()[1].config().get("prevResult"), None);
    assert!(!node.record().exists());
}

#[test]
fn del_stops_at_the_first_failure_and_keeps_the_record() {
    let node = Node::new(&["a", "b", "c"]);
    let list = list("1.1.0", &["a", "b", "c"]);
    node.runtime.add(&list, &conf()).unwrap();
    node.fail("b", "DEL", "busy");
    node.calls();
    let err = node.runtime.del(&list, &conf()).unwrap_err();
    assert_eq!(err, Error::new(Code(11), "plugin type=\"b\" failed (delete): busy"));
    assert_eq!(node.order(), ["DEL c", "DEL b"]);
    assert!(node.record().exists());
}

#[test]
fn del_all_goes_on_and_reports_everything() {
    let node = Node::new(&["a", "b", "c"]);
    let list = list("1.1.0", &["a", "b", "c", "gone"]);
    node.fail("b", "DEL", "busy");
    node.fail("a", "DEL", "");
    let err = node.runtime.del_all(&list, &conf()).unwrap_err();
    let path = node.path("bin").display().to_string();
    assert_eq!(
        err.msg.lines().collect::<Vec<_>>(),
        [
            format!("plugin type=\"gone\" failed (delete): failed to find plugin \"gone\" in path [{path}]").as_str(),
            "plugin type=\"b\" failed (delete): busy",
            "plugin type=\"a\" failed (delete): netplugin failed with no error message: exit status 1",
        ]
    );
    assert_eq!(err.code, Code::INVALID_CONFIG);
    assert_eq!(node.order(), ["DEL c", "DEL b", "DEL a"]);
}

#[test]
fn del_survives_whatever_is_in_the_cache() {
    let node = Node::new(&["a"]);
    let list = list("1.1.0", &["a"]);
    for broken in ["", "{\"kind\":\"cniCacheV1\",\"contain", "[]", "{}", "\u{0}\u{0}", r#"{"kind": "cniCacheV1"}"#] {
        write(&node.record(), broken);
        node.fail("a", "DEL", "not yet");
        node.runtime.del(&list, &conf()).unwrap_err();
        assert!(!node.record().exists(), "{broken}");
        write(&node.record(), broken);
        fs::remove_file(node.path("answers/a.DEL.fail")).unwrap();
        node.runtime.del(&list, &conf()).unwrap();
        assert!(node.calls().iter().all(|call| call.config().get("prevResult").is_none()), "{broken}");
    }
}

#[test]
fn del_reads_a_bare_result_as_older_runtimes_left_it() {
    let node = Node::new(&["a"]);
    write(&node.record(), &result("0.4.0", 7).to_string());
    node.runtime.del(&list("1.0.0", &["a"]), &conf()).unwrap();
    assert_eq!(node.calls()[0].config()["prevResult"], result("1.0.0", 7));
    assert!(!node.record().exists());
}

#[test]
fn del_by_the_record_alone_uses_what_add_was_given() {
    let node = Node::new(&["a", "b"]);
    let list = parse(&json!({"name": "n1", "cniVersion": "1.1.0", "plugins": [
        {"type": "a", "bridge": "then"}, {"type": "b", "capabilities": {"mac": true}}]}));
    let mut conf = conf();
    conf.args = vec![("IgnoreUnknown".to_owned(), "1".to_owned())];
    conf.capability_args.insert("mac".to_owned(), json!("aa:bb:cc:dd:ee:ff"));
    node.runtime.add(&list, &conf).unwrap();
    node.calls();
    let del = || node.runtime.del_cached(&"n1".parse().unwrap(), &conf.container_id, &conf.ifname);
    assert_eq!(del(), Ok(true));
    let calls = node.calls();
    assert_eq!(calls[0].what, "DEL b");
    assert_eq!(calls[0].config()["runtimeConfig"], json!({"mac": "aa:bb:cc:dd:ee:ff"}));
    assert_eq!(calls[0].env["CNI_ARGS"], "IgnoreUnknown=1");
    assert_eq!(calls[0].env["CNI_NETNS"], "/run/netns/c1");
    assert_eq!(calls[1].config()["bridge"], "then");
    assert!(!node.record().exists());
    assert_eq!(del(), Ok(false));
    assert!(node.order().is_empty());

    // A bare result holds no list, and stays for the DEL that knows one.
    write(&node.record(), &result("1.1.0", 1).to_string());
    assert_eq!(del(), Ok(false));
    assert!(node.record().exists());
}

#[test]
fn check_asks_everyone_with_the_final_result() {
    let node = Node::new(&["a", "b"]);
    let list = list("1.1.0", &["a", "b"]);
    node.runtime.add(&list, &conf()).unwrap();
    node.calls();
    node.runtime.check(&list, &conf()).unwrap();
    let calls = node.calls();
    let seen: Vec<_> = calls.iter().map(|call| (call.what.as_str(), call.config()["prevResult"].clone())).collect();
    assert_eq!(seen, [("CHECK a", result("1.1.0", 2)), ("CHECK b", result("1.1.0", 2))]);
    assert!(node.record().exists());

    node.fail("a", "CHECK", "address is gone");
    assert_eq!(node.runtime.check(&list, &conf()), Err(Error::new(Code(11), "address is gone")));
    assert_eq!(node.order(), ["CHECK a"]);
}

#[test]
fn check_is_refused_skipped_or_impossible() {
    let node = Node::new(&["a"]);
    let err = node.runtime.check(&list("0.3.1", &["a"]), &conf()).unwrap_err();
    assert_eq!(err.code, Code::INCOMPATIBLE_VERSION);
    assert_eq!(err.msg, "configuration version \"0.3.1\" does not support the CHECK command");
    let disabled = json!({"name": "n1", "cniVersion": "1.1.0", "disableCheck": true, "plugins": [{"type": "a"}]});
    assert_eq!(node.runtime.check(&parse(&disabled), &conf()), Ok(()));
    write(&node.record(), "");
    let err = node.runtime.check(&list("1.1.0", &["a"]), &conf()).unwrap_err();
    assert!(err.msg.starts_with("failed to get network \"n1\" cached result: "), "{err}");
    assert!(node.record().exists(), "CHECK changes nothing");
    assert!(node.order().is_empty());
}

#[test]
fn the_result_of_an_l2_list_in_the_oldest_version_can_be_handed_on() {
    let node = Node::new(&["a", "b"]);
    node.answer("a", "ADD", r#"{"cniVersion": "0.2.0", "dns": {"domain": "x"}}"#);
    node.answer("b", "ADD", r#"{"cniVersion": "0.2.0", "dns": {}}"#);
    node.runtime.add(&list("0.2.0", &["a", "b"]), &conf()).unwrap();
    assert_eq!(node.calls()[1].config()["prevResult"], json!({"cniVersion": "0.2.0", "dns": {"domain": "x"}}));
}

#[test]
fn a_plugin_that_hangs_is_ended() {
    let mut node = Node::new(&["a"]);
    write(&node.path("bin/a"), "#!/bin/sh\nexec sleep 600\n");
    node.runtime.timeout = std::time::Duration::from_millis(200);
    let err = node.runtime.add(&list("1.1.0", &["a"]), &conf()).unwrap_err();
    assert!(err.msg.starts_with("plugin type=\"a\" failed (add): plugin "), "{err}");
    assert!(err.msg.ends_with(" did not finish within 0.2 s and was killed"), "{err}");
}
