//! ADD that leaves nothing behind when it fails.

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::json;

use super::{Node, conf, list, result, write};
use crate::runtime::RuntimeConf;
use crate::{Code, Error};

#[test]
fn a_failure_in_the_middle_is_undone_in_reverse() {
    let node = Node::new(&["a", "b", "c"]);
    node.fail("b", "ADD", "pool is locked");
    let err = node.runtime.add_or_undo(&list("1.1.0", &["a", "b", "c"]), &conf()).unwrap_err();
    assert_eq!(err, Error::new(Code(11), "plugin type=\"b\" failed (add): pool is locked"));
    let calls = node.calls();
    let order: Vec<_> = calls.iter().map(|call| call.what.as_str()).collect();
    assert_eq!(order, ["ADD a", "ADD b", "DEL c", "DEL b", "DEL a"]);
    // What was reached helps those plugins to clean up that work from a result.
    assert!(calls[2..].iter().all(|call| call.config()["prevResult"] == result("1.1.0", 1)));
    assert!(!node.record().exists());
}

#[test]
fn undoing_goes_on_through_failures_and_the_first_error_stays() {
    let node = Node::new(&["a", "b", "c"]);
    node.fail("c", "ADD", "no port");
    node.fail("c", "DEL", "");
    node.fail("b", "DEL", "busy");
    let err = node.runtime.add_or_undo(&list("0.3.1", &["a", "b", "c"]), &conf()).unwrap_err();
    assert_eq!((err.code, err.msg.as_str()), (Code(11), "plugin type=\"c\" failed (add): no port"));
    assert_eq!(
        err.details,
        concat!(
            "undoing it failed too: plugin type=\"c\" failed (delete): netplugin failed with no error message: ",
            "exit status 1; plugin type=\"b\" failed (delete): busy"
        )
    );
    let calls = node.calls();
    let order: Vec<_> = calls.iter().map(|call| call.what.as_str()).collect();
    assert_eq!(order, ["ADD a", "ADD b", "ADD c", "DEL c", "DEL b", "DEL a"]);
    assert!(calls[3..].iter().all(|call| call.config().get("prevResult").is_none()), "0.3.1 has none on DEL");
}

#[test]
fn an_answer_that_makes_no_sense_is_undone() {
    let node = Node::new(&["a"]);
    node.answer("a", "ADD", r#"{"cniVersion": "7.0.0"}"#);
    let err = node.runtime.add_or_undo(&list("1.1.0", &["a"]), &conf()).unwrap_err();
    assert_eq!(err.msg, "plugin type=\"a\" failed (add): unsupported CNI result version \"7.0.0\"");
    assert_eq!(node.order(), ["ADD a", "DEL a"]);
}

#[test]
fn an_add_that_can_not_be_recorded_is_undone() {
    let node = Node::new(&["a"]);
    fs::create_dir(node.path("cache")).unwrap();
    // A folder in which nobody can create a file.
    symlink("/proc/self", node.path("cache/results")).unwrap();
    let err = node.runtime.add_or_undo(&list("1.1.0", &["a"]), &conf()).unwrap_err();
    assert_eq!(err.code, Code::IO_FAILURE);
    assert!(err.msg.starts_with("failed to set network \"n1\" cached result: write "), "{err}");
    assert_eq!(node.order(), ["ADD a", "DEL a"]);
}

#[test]
fn nothing_is_started_when_it_is_plain_that_no_record_can_be_written() {
    let node = Node::new(&["a"]);
    let long = RuntimeConf { container_id: "c".repeat(260).parse().unwrap(), ..conf() };
    let err = node.runtime.add_or_undo(&list("1.1.0", &["a"]), &long).unwrap_err();
    assert!(err.msg.starts_with("failed to set network \"n1\" cached result: open "), "{err}");
    assert!(err.msg.ends_with("-eth0: file name too long"), "{err}");

    fs::remove_dir_all(node.path("cache")).unwrap();
    write(&node.path("cache"), "not a directory");
    let err = node.runtime.add_or_undo(&list("1.1.0", &["a"]), &conf()).unwrap_err();
    let results = node.path("cache/results").display().to_string();
    let msg = format!("failed to set network \"n1\" cached result: mkdir {results}: not a directory");
    assert_eq!(err, Error::new(Code::IO_FAILURE, msg));
    assert!(node.order().is_empty());
}

#[test]
fn nothing_is_undone_when_nothing_was_done() {
    let node = Node::new(&["a"]);
    node.runtime.add_or_undo(&list("1.1.0", &["a", "missing"]), &conf()).unwrap_err();
    assert!(node.order().is_empty());
}

#[test]
fn a_second_add_does_not_tear_down_the_first() {
    let node = Node::new(&["a"]);
    let list = list("1.1.0", &["a"]);
    node.runtime.add_or_undo(&list, &conf()).unwrap();
    let record = fs::read(node.record()).unwrap();
    node.calls();
    node.fail("a", "ADD", "eth0 exists");
    let err = node.runtime.add_or_undo(&list, &conf()).unwrap_err();
    let path = node.record();
    assert_eq!(
        err,
        Error::new(
            Code::INVALID_CONFIG,
            format!("container cid1 is attached to network n1 as eth0 already, says {}", path.display())
        )
        .with_details("delete that attachment first")
    );
    assert!(node.order().is_empty());
    assert_eq!(fs::read(node.record()).unwrap(), record);
    // As libcni, the plain ADD asks the plugins.
    node.runtime.add(&list, &conf()).unwrap_err();
    assert_eq!(node.order(), ["ADD a"]);
}

#[test]
fn a_file_that_is_another_s_is_not_taken_over() {
    let node = Node::new(&["a"]);
    // Container `b-cid1` on network `a` and container `cid1` on network `a-b` share a file name.
    let other = RuntimeConf { container_id: "b-cid1".parse().unwrap(), ..conf() };
    let of = |name: &str| super::parse(&json!({"name": name, "cniVersion": "1.1.0", "plugins": [{"type": "a"}]}));
    node.runtime.add(&of("a"), &other).unwrap();
    let path = node.path("cache/results/a-b-cid1-eth0");
    let record = fs::read(&path).unwrap();
    node.calls();

    let err = node.runtime.add(&of("a-b"), &conf()).unwrap_err();
    assert_eq!(err.msg, format!("cache file {} holds container b-cid1 on network a, interface eth0", path.display()));
    assert!(node.order().is_empty());
    node.runtime.del(&of("a-b"), &conf()).unwrap();
    assert_eq!(node.calls()[0].config().get("prevResult"), None, "not another's result");
    assert_eq!(fs::read(&path).unwrap(), record, "not another's record");
    assert_eq!(node.runtime.del_cached(&"a-b".parse().unwrap(), &conf().container_id, &conf().ifname), Ok(false));
    assert_eq!(node.runtime.del_cached(&"a".parse().unwrap(), &other.container_id, &other.ifname), Ok(true));
}
