//! Restart policies.

#![allow(clippy::unwrap_used, reason = "what fails to unwrap fails the test")]

mod node;
mod sandbox;

use std::fs;
use std::process::Command;
use std::time::Instant;

use nix::mount::{MntFlags, umount2};
use nix::sys::signal::Signal;
use node::node;
use sandbox::{Ended, Sandbox, eventually, groups, kill};

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

/// What the shipped unit does by `key`, as arguments of `xnet`.
fn unit(key: &str) -> Vec<&'static str> {
    let text = include_str!("../../contrib/xnet-restart.service");
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    line.unwrap().strip_prefix("/usr/local/bin/xnet ").unwrap().split(' ').collect()
}

/// As if the machine had lost its power: no process is left, and nothing that was on a tmpfs or in the kernel.
fn lose_power(sandbox: &Sandbox) {
    for id in sandbox.xnet(&["ps", "-q", "--no-trunc"]).stdout.lines() {
        let info = sandbox.info(id);
        kill(&info["monitor"]["pid"]);
        kill(&info["pid"]);
    }
    sandbox.await_release();
    for pin in fs::read_dir(sandbox.path("netns")).into_iter().flatten().flatten() {
        let _ = umount2(&pin.path(), MntFlags::MNT_DETACH);
        fs::remove_file(pin.path()).unwrap();
    }
    fs::remove_dir_all(sandbox.path("state")).unwrap();
    let inside = |parent| fs::read_dir(parent).unwrap().flatten().filter(|entry| entry.path().is_dir());
    for group in groups(sandbox.cgroup()).into_iter().flat_map(inside) {
        eventually("the group is empty", || fs::remove_dir(group.path()).is_ok());
    }
    Ended::of(Command::new("nft").args(["flush", "ruleset"])).expect(0, "");
}

/// The containers that run, by name.
fn running(sandbox: &Sandbox) -> Vec<String> {
    let mut names: Vec<_> = sandbox.xnet(&["ps", "--format", "{{.Names}}"]).stdout.lines().map(str::to_owned).collect();
    names.sort();
    names
}

/// Requirement: F-restart-policy, S0-A1.
#[test]
fn after_a_reboot_policies_hold() {
    let sandbox = node();
    let run = |name: &str, policy: &str, net: &str| {
        let (name, policy) = (format!("--name={name}"), format!("--restart={policy}"));
        sandbox.detach(&[net, &name, &policy], &["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.02; done"]);
    };
    // Two on the bridge, so that there are leases; the second one's address must be free for others afterwards.
    run("always", "always", "--net=bridge");
    run("plain", "no", "--net=bridge");
    run("failure", "on-failure", "--net=none");
    run("unless", "unless-stopped", "--net=none");
    run("halted", "unless-stopped", "--net=none");
    run("halted-always", "always", "--net=none");
    sandbox.xnet(&["create", "--name=fresh", "--restart=always", "--net=none", "--", "true"]).code_is_not(1);
    sandbox.xnet(&["stop", "halted", "halted-always"]).code_is_not(1);
    lose_power(&sandbox);
    let ended = sandbox.xnet(&unit("ExecStart"));
    ended.expect(0, "always\nunless\nhalted-always");
    assert_eq!(running(&sandbox), ["always", "halted-always", "unless"]);
    let leases: Vec<_> = fs::read_dir("/var/lib/cni/networks/bridge").unwrap().flatten().collect();
    let addresses = leases.iter().filter(|entry| entry.file_name().to_string_lossy().starts_with("10."));
    assert_eq!(addresses.count(), 1, "{leases:?}");
    // The way down and up again in order.
    sandbox.xnet(&["stop", "halted-always"]).expect(0, "halted-always");
    let mut ended = sandbox.xnet(&unit("ExecStop"));
    ended.stdout = {
        let mut lines: Vec<_> = ended.stdout.lines().collect();
        lines.sort_unstable();
        lines.join("\n")
    };
    ended.expect(0, "always\nunless");
    assert_eq!(running(&sandbox), Vec::<String>::new());
    lose_power(&sandbox);
    sandbox.xnet(&unit("ExecStart")).expect(0, "always\nunless\nhalted-always");
    assert_eq!(running(&sandbox), ["always", "halted-always", "unless"]);
}

/// Requirement: F-restart-policy.
#[test]
fn the_policy_holds_in_the_foreground() {
    let sandbox = Sandbox::new();
    let run = |policy: &str, script: &str| {
        let fixed = ["run", "--net=none", "--cgroup-parent", sandbox.cgroup(), policy, "--", "sh", "-c", script];
        sandbox.command(&fixed)
    };
    Ended::of(&mut run("--restart=on-failure:2", "echo x; exit 5")).expect(5, "x\nx\nx");
    Ended::of(&mut run("--restart=on-failure", "echo x")).expect(0, "x");
    // What cannot be run at all is told at once.
    let fixed = ["run", "--net=none", "--cgroup-parent", sandbox.cgroup(), "--restart=always", "--", "/nowhere"];
    Ended::of(&mut sandbox.command(&fixed)).expect_refusal(127, "/nowhere");
    // Who ends it means it: while it runs, and between two runs.
    let mut told =
        sandbox.start_command(run("--restart=always", "trap 'exit 3' TERM; echo up; while :; do sleep 0.02; done"));
    told.signal(Signal::SIGTERM);
    assert_eq!(told.line(), "");
    assert_eq!(told.wait(), 3);
    let mut told = sandbox.start_command(run("--restart=always", "echo up"));
    assert_eq!(told.line(), "up");
    told.signal(Signal::SIGTERM);
    assert!([0, 143].contains(&told.wait()));
}
