//! Restart policies.

#![allow(clippy::unwrap_used, reason = "what fails to unwrap fails the test")]

mod sandbox;

use std::fs;
use std::time::Instant;

use sandbox::{Sandbox, eventually, kill};

/// A mount that survives the container, with a line for each run.
fn counted(sandbox: &Sandbox, options: &[&str], end: &str) -> String {
    let all = [&["--net=none"], options].concat();
    sandbox.detach(&all, &["sh", "-c", end])
}

fn restarts(sandbox: &Sandbox, id: &str) -> u64 {
    sandbox.exit(id)["restarts"].as_u64().unwrap()
}

/// Requirement: F-restart-policy.
#[test]
fn a_failure_is_followed_by_so_many_starts_with_growing_pauses() {
    let sandbox = Sandbox::new();
    let start = Instant::now();
    let id = counted(&sandbox, &["--restart=on-failure:3"], "exit 5");
    let gone = || !sandbox.path("state").join(&id).exists();
    eventually("the last run has ended", gone);
    assert_eq!((restarts(&sandbox, &id), sandbox.exit(&id)["exit_code"].as_u64()), (3, Some(5)));
    // 100, 200 and 400 ms.
    assert!(start.elapsed().as_millis() >= 700, "{:?}", start.elapsed());
    let id = counted(&sandbox, &["--restart=on-failure:3"], "exit 0");
    eventually("the only run has ended", || !sandbox.path("state").join(&id).exists());
    assert_eq!(restarts(&sandbox, &id), 0);
    let id = counted(&sandbox, &[], "exit 5");
    eventually("the only run has ended", || !sandbox.path("state").join(&id).exists());
    assert_eq!(restarts(&sandbox, &id), 0);
    let events = sandbox.xnet(&["events", "--filter", "event=start", "--format", "x"]).stdout;
    assert_eq!(events.lines().count(), 6);
}

/// Requirement: F-restart-policy.
#[test]
fn always_ends_when_somebody_wants_it_to() {
    let sandbox = Sandbox::new();
    for policy in ["always", "unless-stopped"] {
        let id = counted(&sandbox, &["--name=web", &format!("--restart={policy}")], "exit 0");
        eventually("it was started again", || restarts(&sandbox, &id) >= 2);
        // Now it is most likely between two runs.
        let state = sandbox.xnet(&["ps", "-a", "--format", "{{.State}}"]).stdout;
        assert!(["restarting", "running", "exited"].contains(&state.trim()), "{state}");
        sandbox.xnet(&["stop", "web"]).expect(0, "web");
        let count = restarts(&sandbox, &id);
        assert!(!sandbox.path("state").join(&id).exists(), "it is still being looked after");
        sandbox.xnet(&["ps", "-a", "--format", "{{.State}}"]).expect(0, "exited");
        assert_eq!(restarts(&sandbox, &id), count);
        // A person's start begins to count anew.
        sandbox.xnet(&["start", "web"]).expect(0, "web");
        sandbox.xnet(&["rm", "-f", "web"]).expect(0, "web");
        sandbox.assert_clean();
    }
}

/// Requirement: F-restart-policy, P-33.
#[test]
fn the_policy_survives_the_monitor() {
    let sandbox = Sandbox::new();
    let id = counted(&sandbox, &["--name=web", "--restart=always"], "exec sleep 1000");
    // The container ends after its monitor, or before anybody has looked.
    for both in [false, true] {
        let info = sandbox.info(&id);
        kill(&info["monitor"]["pid"]);
        if !both {
            sandbox.xnet(&["ps", "-q"]).expect(0, &id[..12]);
            eventually("it has another monitor", || sandbox.info(&id)["monitor"] != info["monitor"]);
        }
        kill(&info["pid"]);
        sandbox.gc().code_is_not(1);
        let again = || {
            let now = fs::read(sandbox.path("state").join(&id).join("info.json")).ok();
            let now: Option<serde_json::Value> = now.and_then(|text| serde_json::from_slice(&text).ok());
            now.is_some_and(|now| now["pid"] != info["pid"] && now["pid"] != 0)
        };
        eventually("it runs again", again);
    }
    sandbox.xnet(&["rm", "-f", "web"]).expect(0, "web");
    sandbox.assert_clean();
}

/// Requirement: F-restart-policy.
#[test]
fn a_person_who_kills_means_it() {
    let sandbox = Sandbox::new();
    let id = counted(&sandbox, &["--name=web", "--restart=always"], "exec sleep 1000");
    sandbox.xnet(&["kill", "web"]).expect(0, "web");
    eventually("it has ended", || !sandbox.path("state").join(&id).exists());
    assert_eq!((restarts(&sandbox, &id), sandbox.exit(&id)["exit_code"].as_u64()), (0, Some(137)));
    assert_eq!(sandbox.exit(&id)["stopped"], true);
}
