//! Whatever step fails, and at whatever instant xnet dies: nothing of the user's runs half set up, and nothing is left.

#![allow(clippy::unwrap_used, reason = "what fails to unwrap fails the test")]

mod sandbox;

use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;

use nix::sys::signal::Signal;
use sandbox::{Ended, Sandbox};

/// The steps of the first process, as `--dry-run` prints them.
fn steps(sandbox: &Sandbox) -> Vec<String> {
    let ended = sandbox.run(&["--net=none", "--dry-run"], &["true"]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let mut names: Vec<_> =
        ended.stdout.lines().filter_map(|l| Some(l.split_whitespace().next()?.to_owned())).collect();
    names.dedup();
    assert!(names.len() > 15, "{names:?}");
    names
}

/// The steps of the parent, in none mode.
const PARENT: [&str; 11] = [
    "log-container",
    "write-config",
    "create",
    "log-cgroups",
    "make-cgroups",
    "clone",
    "log-netns",
    "pin-netns",
    "publish",
    "release",
    "executed",
];

const UNDO: [&str; 5] = ["undo-container", "undo-name", "undo-cgroups", "undo-process", "undo-netns"];

/// Requirement: S3-8, P-35, F-exit.
#[test]
fn a_step_that_fails_ends_the_run_with_125_and_nothing_is_executed() {
    let sandbox = Sandbox::new();
    let mut names = steps(&sandbox);
    names.extend(PARENT.map(str::to_owned));
    names.push("exec".to_owned());
    for name in names {
        let mut command = sandbox.run_command(&["--net=none"], &["echo", "ran"]);
        command.env("XNET_FAIL_AT", &name);
        let ended = Ended::of(&mut command);
        // The last step is over when the command may already run.
        if name != "release" && name != "executed" {
            assert_eq!((ended.code, ended.stdout.as_str()), (125, ""), "{name}: {}", ended.stderr);
        }
        assert!(ended.stderr.contains(&format!("{name}: failed as XNET_FAIL_AT asks")), "{name}: {}", ended.stderr);
        sandbox.assert_clean();
    }
}

/// Requirement: P-35, F-rm.
#[test]
fn a_runner_killed_at_any_step_leaves_nothing_after_gc() {
    let sandbox = Sandbox::new();
    for name in PARENT.iter().chain(&UNDO) {
        let mut command = sandbox.run_command(&["--net=none", "--name=web"], &["true"]);
        let status = command.env("XNET_CRASH_AT", name).stdout(Stdio::null()).status().unwrap();
        assert_eq!(status.signal(), Some(9), "{name}: xnet was not there");
        assert_ne!(sandbox.leftovers(), Vec::<String>::new(), "{name}: there was nothing to clean up");
        sandbox.await_release();
        let ended = sandbox.gc();
        assert_eq!(ended.code, 0, "{name}: {}", ended.stderr);
        assert_eq!(ended.stdout.trim().len(), 64, "{name}: {}", ended.stdout);
        sandbox.assert_clean();
    }
}

/// Requirement: P-35.
#[test]
fn a_gc_killed_at_any_step_can_be_repeated() {
    let sandbox = Sandbox::new();
    for name in UNDO {
        let running = sandbox.start(&["--net=none", "--name=web"], "echo ready; exec sleep 1000");
        running.signal(Signal::SIGKILL);
        assert_eq!(running.wait(), -9);
        let status = sandbox.command(&["gc"]).env("XNET_CRASH_AT", name).status().unwrap();
        assert_eq!(status.signal(), Some(9), "{name}");
        assert_eq!(sandbox.gc().code, 0);
        sandbox.assert_clean();
    }
}

/// Requirement: P-35, F-rm.
#[test]
fn the_container_dies_with_xnet_and_the_next_run_cleans_up() {
    let sandbox = Sandbox::new();
    for options in [&["--net=none", "--name=web"][..], &["--net=none", "--name=web", "--init"]] {
        let mut running = sandbox.start(options, "echo ready; sleep 1000 & sleep 1000");
        running.signal(Signal::SIGKILL);
        // Its output ends when the last process that holds it is gone.
        assert_eq!(running.line(), "");
        assert_eq!(running.wait(), -9);
        assert_ne!(sandbox.leftovers(), Vec::<String>::new());
        // The same name can be taken at once.
        sandbox.run(options, &["echo", "next"]).expect(0, "next");
        sandbox.assert_clean();
    }
}

/// Requirement: P-35.
#[test]
fn gc_does_not_touch_the_living() {
    let sandbox = Sandbox::new();
    let mut running = sandbox.start(&["--net=none", "--name=web"], "echo ready; read x; echo alive");
    sandbox.gc().expect(0, "");
    running.end_input();
    assert_eq!(running.line(), "alive");
    assert_eq!(running.wait(), 0);
    sandbox.assert_clean();
}

/// Requirement: P-34, P-36.
#[test]
fn many_at_once_all_end_and_leave_nothing() {
    let sandbox = Sandbox::new();
    for _ in 0..10 {
        let all: Vec<_> = (0..8).map(|_| sandbox.run_command(&["--net=none"], &["true"]).spawn().unwrap()).collect();
        for mut child in all {
            assert_eq!(child.wait().unwrap().code(), Some(0));
        }
    }
    sandbox.assert_clean();
}
