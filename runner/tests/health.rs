//! Containers that are asked whether they work.

#![allow(clippy::unwrap_used, reason = "what fails to unwrap fails the test")]

mod sandbox;

use std::io::{BufRead, BufReader, Lines};
use std::process::{Child, ChildStdout, Stdio};

use sandbox::{Ended, Sandbox};
use serde_json::Value;

/// Changes of health, as they are told.
struct Events(Child, Lines<BufReader<ChildStdout>>);

impl Events {
    fn new(sandbox: &Sandbox) -> Self {
        let mut command =
            sandbox.command(&["events", "-f", "--filter=event=health_status", "--since=0", "--format", "{{.Action}}"]);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self(child, lines)
    }

    /// Waits for the next one.
    fn next(&mut self) -> String {
        let health = |line: String| Some(line.strip_prefix("health_status: ")?.to_owned());
        self.1.find_map(|line| health(line.unwrap())).unwrap()
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn xnet(sandbox: &Sandbox, args: &[&str]) -> Ended {
    Ended::of(&mut sandbox.command(args))
}

fn state(sandbox: &Sandbox, id: &str) -> Value {
    serde_json::from_str(&xnet(sandbox, &["inspect", "-f", "{{json .State.Health}}", id]).stdout).unwrap()
}

fn status(sandbox: &Sandbox) -> String {
    xnet(sandbox, &["ps", "-a", "--format", "{{.Status}}"]).stdout
}

/// Requirement: F-health.
#[test]
fn health_is_asked_for_and_told() {
    let sandbox = Sandbox::new();
    let root = sandbox.rootfs();
    let mut events = Events::new(&sandbox);
    let options = [
        "--net=none",
        "--rootfs",
        root.to_str().unwrap(),
        "--health-cmd=echo $HERE; echo asked >&2; test -e /works",
        "--health-interval=30ms",
        "--health-retries=2",
        "-eHERE=inside",
    ];
    let id = sandbox.detach(&options, &["sleep", "1000"]);
    assert_eq!(events.next(), "unhealthy");
    let health = state(&sandbox, &id);
    assert_eq!(health["Status"], "unhealthy");
    assert!(health["FailingStreak"].as_u64().unwrap() >= 2);
    let last = &health["Log"].as_array().unwrap().last().unwrap().clone();
    assert_eq!((&last["ExitCode"], &last["Output"]), (&1.into(), &"inside\nasked\n".into()));
    assert!(status(&sandbox).contains(" (unhealthy)"), "{}", status(&sandbox));
    xnet(&sandbox, &["exec", &id, "touch", "/works"]).expect(0, "");
    assert_eq!(events.next(), "healthy");
    let health = state(&sandbox, &id);
    assert_eq!((&health["Status"], &health["FailingStreak"]), (&"healthy".into(), &0.into()));
    assert!(health["Log"].as_array().unwrap().len() <= 5);
    assert!(status(&sandbox).contains(" (healthy)"), "{}", status(&sandbox));
    xnet(&sandbox, &["ps", "-q", "--no-trunc", "--filter=health=healthy"]).expect(0, &id);
    xnet(&sandbox, &["ps", "-q", "--filter=health=none", "--filter=health=unhealthy"]).expect(0, "");
    let template = "{{json .Config.Healthcheck}}";
    let config = xnet(&sandbox, &["inspect", "-f", template, &id]).stdout;
    assert!(config.contains(r#""Interval":30000000,"Timeout":30000000000,"#), "{config}");
    // With the next run it begins anew, and with the end it ends.
    xnet(&sandbox, &["exec", &id, "busybox", "rm", "/works"]).expect(0, "");
    assert_eq!(events.next(), "unhealthy");
    xnet(&sandbox, &["restart", "-t0", &id]).expect(0, &id);
    assert_eq!(events.next(), "unhealthy");
    xnet(&sandbox, &["stop", "-t0", &id]).expect(0, &id);
    assert_eq!(state(&sandbox, &id)["Status"], "unhealthy");
    assert!(!status(&sandbox).contains("healthy"), "{}", status(&sandbox));
    xnet(&sandbox, &["rm", &id]).expect(0, &id);
    sandbox.assert_clean();
}

/// Requirement: F-health.
#[test]
fn an_answer_that_does_not_come_is_a_failure() {
    let sandbox = Sandbox::new();
    let mut events = Events::new(&sandbox);
    let check = "--health-cmd=sleep 1000";
    let times = ["--health-interval=20ms", "--health-timeout=100ms", "--health-retries=1"];
    let id = sandbox.detach(&[&["--net=none", check], &times[..]].concat(), &["sleep", "2000"]);
    assert!(status(&sandbox).contains(" (health: starting)") || state(&sandbox, &id)["FailingStreak"] != 0);
    assert_eq!(events.next(), "unhealthy");
    while state(&sandbox, &id)["FailingStreak"].as_u64().unwrap() < 4 {}
    let health = state(&sandbox, &id);
    let last = &health["Log"][0];
    assert_eq!((&last["ExitCode"], &last["Output"]), (&(-1).into(), &"Health check exceeded timeout (100ms)".into()));
    // Who does not answer in time is not left behind, nor is anybody when the container ends.
    let commands = xnet(&sandbox, &["top", &id, "args"]).stdout;
    assert!(commands.matches("sleep 1000").count() <= 2, "{commands}");
    xnet(&sandbox, &["rm", "-f", &id]).expect(0, &id);
    sandbox.assert_clean();
}

/// Requirement: F-health.
#[test]
fn a_command_that_is_not_there_says_so_and_nobody_is_asked_unasked() {
    let sandbox = Sandbox::new();
    let root = sandbox.rootfs();
    let mut events = Events::new(&sandbox);
    let options = ["--net=none", "--rootfs", root.to_str().unwrap(), "--health-retries=1", "--health-interval=20ms"];
    let id = sandbox.detach(&options, &["sleep", "1000"]);
    xnet(&sandbox, &["inspect", "-f", "{{.State.Health}}", &id]).code_is_not(0);
    assert!(!status(&sandbox).contains("health"), "{}", status(&sandbox));
    std::fs::remove_file(root.join("bin/sh")).unwrap();
    let other = sandbox.detach(&[&options[..], &["--health-cmd=true"]].concat(), &["sleep", "1000"]);
    assert_eq!(events.next(), "unhealthy");
    let health = state(&sandbox, &other);
    assert_eq!(health["Log"][0]["ExitCode"], 127);
    assert!(health["Log"][0]["Output"].as_str().unwrap().contains("/bin/sh"), "{health}");
    assert_eq!(xnet(&sandbox, &["rm", "-f", &id, &other]).code, 0);
    sandbox.assert_clean();
}

/// Requirement: F-health.
#[test]
fn checks_go_on_when_the_monitor_is_killed() {
    let sandbox = Sandbox::new();
    let root = sandbox.rootfs();
    let mut events = Events::new(&sandbox);
    let options = ["--net=none", "--rootfs", root.to_str().unwrap(), "--health-interval=20ms"];
    let id = sandbox.detach(&[&options[..], &["--health-cmd=test -e /works"]].concat(), &["sleep", "1000"]);
    let monitor = sandbox.info(&id)["monitor"]["pid"].as_i64().unwrap();
    let monitor = nix::unistd::Pid::from_raw(i32::try_from(monitor).unwrap());
    nix::sys::signal::kill(monitor, nix::sys::signal::Signal::SIGKILL).unwrap();
    assert_eq!(events.next(), "unhealthy");
    xnet(&sandbox, &["exec", &id, "touch", "/works"]).expect(0, "");
    assert_eq!(events.next(), "healthy");
    assert!(status(&sandbox).contains(" (healthy)"), "{}", status(&sandbox));
    xnet(&sandbox, &["rm", "-f", &id]).expect(0, &id);
    sandbox.assert_clean();
}
