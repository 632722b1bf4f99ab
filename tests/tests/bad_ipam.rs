//! IPAM plugins that misbehave: the caller ends, says why, and leaves nothing.

use harness::{Node, Plugin, dual_stack, with};
use serde_json::json;

/// ADD with this shell script as IPAM plugin fails like this.
fn failed(script: &str, code: u64, msg: &str) {
    Node::run(|node| {
        let dir = node.script("zork", script);
        let config = with(dual_stack("net"), json!({"ipam": {"type": "zork"}}));
        let plugin = Plugin::new("bridge").config(&config).netns(&node.netns("c1")).path(dir);
        plugin.add().assert_failed(code, msg);
    });
}

#[test]
fn one_that_is_missing() {
    Node::run(|node| {
        let config = with(dual_stack("net"), json!({"ipam": {"type": "nope"}}));
        let plugin = Plugin::new("bridge").config(&config).netns(&node.netns("c1"));
        plugin.env("CNI_PATH", "/a:/b").add().assert_failed(999, "failed to find plugin \"nope\" in path [/a /b]");
    });
}

#[test]
fn one_with_a_path_as_name() {
    Node::run(|node| {
        let config = with(dual_stack("net"), json!({"ipam": {"type": "x/y"}}));
        let plugin = Plugin::new("bridge").config(&config).netns(&node.netns("c1"));
        plugin.add().assert_failed(999, "invalid plugin name: x/y");
    });
}

#[test]
fn one_that_is_killed() {
    failed("kill -9 $$", 0, "netplugin failed with no error message: signal: killed");
}

#[test]
fn one_that_fails_without_a_word() {
    failed("exit 3", 0, "netplugin failed with no error message: exit status 3");
}

#[test]
fn one_that_fails_on_stderr_only() {
    failed("echo zork >&2; exit 1", 0, "netplugin failed: \"zork\\n\"");
}

#[test]
fn one_that_fails_with_garbage() {
    failed("printf zork; exit 1", 0, "netplugin failed but error parsing its diagnostic message \"zork\": *");
}

#[test]
fn one_that_fails_in_the_terms_of_the_protocol() {
    failed(r#"echo '{"code": 111, "msg": "no more", "details": "at all"}'; exit 1"#, 111, "no more");
}

#[test]
fn one_that_succeeds_with_garbage() {
    failed("printf zork", 999, "*");
}

#[test]
fn one_that_succeeds_with_nothing() {
    failed(":", 999, "*");
}

#[test]
fn one_that_gives_no_address() {
    failed(r#"echo '{"cniVersion": "1.0.0"}'"#, 999, "IPAM plugin returned missing IP config");
}

#[test]
fn one_that_waits_for_the_end_of_its_input() {
    failed("cat >/dev/null; exit 3", 0, "netplugin failed with no error message: exit status 3");
}

#[test]
fn one_that_leaves_a_child_with_its_pipes() {
    failed("sleep 20 & exit 3", 0, "netplugin failed with no error message: exit status 3");
}

#[test]
fn one_that_prints_without_end() {
    failed("yes", 999, "plugin /run/scripts/zork printed more than *");
}
