//! Containers that outlive the `xnet` which has started them, and the deaths of those that look after them.

#![allow(clippy::unwrap_used, reason = "what fails to unwrap fails the test")]

mod sandbox;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use sandbox::{Ended, Sandbox, eventually, kill};
use serde_json::Value;

/// Whether somebody owns container `id`.
fn is_owned(sandbox: &Sandbox, id: &str) -> bool {
    fs::File::open(sandbox.path("state").join(id).join("lock")).is_ok_and(|lock| lock.try_lock_shared().is_err())
}

/// Requirement: S0-A1, S4-8, P-33.
#[test]
fn a_container_outlives_its_monitor_and_gets_another() {
    let sandbox = Sandbox::new();
    let script = "trap 'exit 42' USR1; while :; do sleep 0.02; done";
    let id = sandbox.detach(&["--net=none", "--name=web"], &["sh", "-c", script]);
    let before = sandbox.info(&id);
    kill(&before["monitor"]["pid"]);
    assert!(!is_owned(&sandbox, &id), "the lock has outlived its owner");
    // The first who looks tells the truth, and finds it another monitor.
    sandbox.xnet(&["ps", "--format", "{{.Names}} {{.State}}"]).expect(0, "web running");
    eventually("it has another monitor", || sandbox.info(&id)["monitor"] != before["monitor"]);
    assert_eq!(sandbox.info(&id)["pid"], before["pid"]);
    assert!(is_owned(&sandbox, &id));
    // Which is not the parent, and learns the status all the same.
    sandbox.xnet(&["kill", "-s", "USR1", "web"]).expect(0, "web");
    sandbox.xnet(&["wait", "web"]).expect(0, "42");
    eventually("the run is cleaned up", || !sandbox.path("state").join(&id).exists());
    assert_eq!(sandbox.exit(&id)["exit_code"], 42);
    sandbox.xnet(&["start", "web"]).expect(0, "web");
    sandbox.xnet(&["rm", "-f", "web"]).expect(0, "web");
    sandbox.assert_clean();
}

/// The container talks all the time while its monitors are killed, one after the other, at moments that nobody has chosen.
///
/// Requirement: S4-8, P-33, F-logs.
#[test]
fn no_line_is_lost_or_told_twice_when_monitors_are_killed() {
    let sandbox = Sandbox::new();
    let script = "trap 'done=1' TERM; i=0; while [ -z \"$done\" ]; do n=0; \
                  while [ $n -lt 100 ]; do echo line $i; [ $((i % 10)) = 0 ] && echo error $i >&2; i=$((i+1)); n=$((n+1)); done; \
                  sleep 0.002; done; printf 'end of %s' $i";
    let id = sandbox.detach(&["--net=none", "--name=web"], &["sh", "-c", script]);
    for round in 0..12 {
        std::thread::sleep(std::time::Duration::from_micros(round * 1700));
        let before = sandbox.info(&id)["monitor"].clone();
        kill(&before["pid"]);
        sandbox.xnet(&["ps", "-q"]).expect(0, &id[..12]);
        eventually("it has another monitor", || sandbox.info(&id)["monitor"] != before);
    }
    sandbox.xnet(&["kill", "-s", "TERM", "web"]).expect(0, "web");
    sandbox.xnet(&["wait", "web"]).expect(0, "0");
    let ended = sandbox.xnet(&["logs", "web"]);
    let (lines, last) = ended.stdout.rsplit_once('\n').unwrap();
    let count: usize = last.strip_prefix("end of ").unwrap().parse().unwrap();
    assert!(count > 1000, "only {count} lines");
    let wrong = lines.lines().enumerate().find(|(n, line)| *line != format!("line {n}"));
    assert_eq!((wrong, lines.lines().count()), (None, count));
    let wrong = ended.stderr.lines().enumerate().find(|(n, line)| *line != format!("error {}", n * 10));
    assert_eq!((wrong, ended.stderr.lines().count()), (None, count.div_ceil(10)));
    sandbox.xnet(&["rm", "web"]).expect(0, "web");
    sandbox.assert_clean();
}

/// Requirement: S0-A1, P-33, P-35.
#[test]
fn an_end_that_nobody_saw_is_unknown_and_never_0() {
    let sandbox = Sandbox::new();
    let id = sandbox.detach(&["--net=none", "--name=web"], &["sleep", "1000"]);
    let info = sandbox.info(&id);
    kill(&info["monitor"]["pid"]);
    kill(&info["pid"]);
    let line = sandbox.xnet(&["ps", "-a"]).stdout;
    assert!(line.contains("Exited (unknown)"), "{line}");
    assert_eq!(sandbox.exit(&id)["exit_code"], Value::Null);
    sandbox.xnet(&["wait", "web"]).expect_refusal(1, "unknown");
    assert!(!sandbox.path("state").join(&id).exists(), "the run was not cleaned up");
    sandbox.xnet(&["rm", "web"]).expect(0, "web");
    // With --rm it goes, as it would have.
    let id = sandbox.detach(&["--net=none", "--rm"], &["sleep", "1000"]);
    let info = sandbox.info(&id);
    kill(&info["monitor"]["pid"]);
    kill(&info["pid"]);
    sandbox.gc().expect(0, &id);
    sandbox.assert_clean();
}

/// Requirement: S0-A1.
#[test]
fn a_foreground_container_dies_with_its_xnet_and_ps_knows() {
    let sandbox = Sandbox::new();
    let mut command =
        sandbox.command(&["run", "--net=none", "--name=web", "--", "sh", "-c", "echo up; exec sleep 1000"]);
    command.stderr(Stdio::null());
    let mut running = sandbox.start_command(command);
    sandbox.xnet(&["ps", "--format", "{{.State}}"]).expect(0, "running");
    running.signal(nix::sys::signal::Signal::SIGKILL);
    // Its output ends when the last process that holds it is gone.
    assert_eq!(running.line(), "");
    running.wait();
    sandbox.await_release();
    sandbox.xnet(&["ps", "-q"]).expect(0, "");
    assert!(sandbox.xnet(&["ps", "-a"]).stdout.contains("Exited (unknown)"));
    sandbox.xnet(&["rm", "web"]).expect(0, "web");
    sandbox.assert_clean();
}

/// Requirement: P-32.
#[test]
fn another_process_of_the_same_number_is_left_alone() {
    let sandbox = Sandbox::new();
    let mut bystander = Command::new("sleep").arg("1000").spawn().unwrap();
    let id = sandbox.detach(&["--net=none", "--name=web"], &["sleep", "1000"]);
    let mut info = sandbox.info(&id);
    kill(&info["monitor"]["pid"]);
    kill(&info["pid"]);
    // As if the numbers had been given to somebody else: everything is as it was but for the start time.
    info["pid"] = bystander.id().into();
    info["monitor"]["pid"] = bystander.id().into();
    let dir = sandbox.path("state").join(&id);
    fs::write(dir.join("info.json"), info.to_string()).unwrap();
    let log = fs::read_to_string(dir.join("log")).unwrap();
    let forged = log.lines().map(|line| match serde_json::from_str::<Value>(line).unwrap() {
        mut record if record["done"] == "process" => {
            record["pid"] = bystander.id().into();
            record.to_string()
        }
        record => record.to_string(),
    });
    fs::write(dir.join("log"), forged.map(|line| line + "\n").collect::<String>()).unwrap();
    sandbox.xnet(&["kill", "web"]).code_is_not(0);
    sandbox.xnet(&["stop", "web"]).expect(0, "web");
    sandbox.xnet(&["rm", "-f", "web"]).expect(0, "web");
    assert_eq!(bystander.try_wait().unwrap(), None, "a bystander was killed");
    bystander.kill().unwrap();
    bystander.wait().unwrap();
    sandbox.assert_clean();
}

/// Requirement: S4-8.
#[test]
fn a_monitor_is_small_and_holds_nothing_of_its_caller() {
    let sandbox = Sandbox::new();
    let mut command = sandbox.command(&["run", "-d", "--net=none", "--", "sleep", "1000"]);
    let leaked = fs::File::open("/").unwrap();
    nix::fcntl::fcntl(&leaked, nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty())).unwrap();
    // It comes back although the monitor lives on: nobody holds the pipes.
    let id = Ended::of(&mut command).stdout.trim().to_owned();
    let monitor = sandbox.info(&id)["monitor"]["pid"].clone();
    let proc = Path::new("/proc").join(monitor.to_string());
    let links = fs::read_dir(proc.join("fd")).unwrap().flatten().filter_map(|entry| fs::read_link(entry.path()).ok());
    let foreign: Vec<_> = links.filter(|to| to == Path::new("/") || to.starts_with("pipe:")).collect();
    assert_eq!(foreign, Vec::<std::path::PathBuf>::new());
    assert_eq!(fs::read_link(proc.join("cwd")).unwrap(), Path::new("/"));
    let number = |file: &str, key: &str| {
        let text = fs::read_to_string(proc.join(file)).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(key)).unwrap().trim().to_owned();
        line.trim_end_matches(" kB").parse::<u64>().unwrap()
    };
    assert_eq!(number("status", "Threads:"), 1);
    // Of its own, that is: what it has of the program's file is the page cache's. This program is built without optimisation,
    // and what it needed for the set-up is given back a moment later.
    eventually("the monitor is smaller than 2 MiB", || number("status", "RssAnon:") < 2048);
    let parent = number("status", "PPid:");
    assert_ne!(parent, u64::from(std::process::id()), "the monitor is still its caller's child");
    sandbox.xnet(&["rm", "-f", &id]).expect(0, &id);
    sandbox.assert_clean();
}

/// Requirement: P-35, S3-8.
#[test]
fn a_step_that_fails_leaves_nothing_of_a_detached_container() {
    let sandbox = Sandbox::new();
    for step in ["log-container", "create", "make-cgroups", "clone", "pin-netns", "proc", "release", "exec", "executed"]
    {
        let mut command = sandbox.command(&["run", "-d", "--net=none", "--name=web", "--", "sleep", "1000"]);
        Ended::of(command.env("XNET_FAIL_AT", step)).expect_refusal(125, step);
        sandbox.assert_clean();
    }
    // A container that was there before stays, and says why it did not start.
    let id = sandbox.xnet(&["create", "--net=none", "--name=web", "--", "true"]).stdout;
    let mut command = sandbox.command(&["start", "web"]);
    let failed = Ended::of(command.env("XNET_FAIL_AT", "proc"));
    assert!(failed.code == 1 && failed.stdout.is_empty() && failed.stderr.contains("proc"), "{}", failed.stderr);
    let exit = sandbox.exit(id.trim());
    assert!(exit["exit_code"] == 125 && exit["error"].as_str().unwrap().contains("proc"), "{exit}");
    sandbox.xnet(&["start", "-a", "web"]).expect(0, "");
    sandbox.xnet(&["rm", "web"]).expect(0, "web");
    sandbox.assert_clean();
}

/// Requirement: P-35, F-rm.
#[test]
fn a_monitor_killed_at_any_step_leaves_nothing_after_gc() {
    let sandbox = Sandbox::new();
    for step in [
        "log-container",
        "write-config",
        "log-name",
        "create",
        "log-cgroups",
        "make-cgroups",
        "clone",
        "log-netns",
        "pin-netns",
        "publish",
        "release",
        "executed",
        "undo-process",
        "undo-netns",
        "undo-cgroups",
        "undo-container",
        "undo-name",
    ] {
        let mut command = sandbox.command(&["run", "-d", "--rm", "--net=none", "--name=web", "--", "true"]);
        command.env("XNET_CRASH_AT", step).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().unwrap();
        // Whoever was hit, caller or monitor, is dead or done by now or soon.
        sandbox.await_release();
        eventually(step, || sandbox.gc().code == 0 && sandbox.leftovers().is_empty());
    }
}

/// Requirement: P-35.
#[test]
fn commands_killed_at_any_step_can_be_repeated() {
    let sandbox = Sandbox::new();
    let crash = |args: &[&str], step: &str| {
        let status =
            sandbox.command(args).env("XNET_CRASH_AT", step).stdout(Stdio::null()).stderr(Stdio::null()).status();
        assert_eq!(status.unwrap().code(), None, "{args:?} at {step}: it was not hit");
        sandbox.await_release();
    };
    for step in ["log-container", "write-config", "log-name", "create"] {
        crash(&["create", "--net=none", "--name=web", "--", "true"], step);
        assert_eq!(sandbox.gc().code, 0);
        sandbox.assert_clean();
    }
    for step in ["undo-container", "undo-name"] {
        sandbox.xnet(&["create", "--net=none", "--name=web", "--", "true"]).code_is_not(1);
        crash(&["rm", "web"], step);
        assert_eq!(sandbox.gc().code, 0, "{step}");
        sandbox.assert_clean();
    }
    for step in ["log-name", "rename"] {
        sandbox.xnet(&["create", "--net=none", "--name=web", "--", "true"]).code_is_not(1);
        crash(&["rename", "web", "db"], step);
        // It has its old name, and may have the new one, too; nobody else has.
        sandbox.xnet(&["start", "-a", "web"]).expect(0, "");
        sandbox.xnet(&["rename", "web", "db"]).expect(0, "");
        sandbox.xnet(&["start", "-a", "db"]).expect(0, "");
        sandbox.xnet(&["rm", "db"]).expect(0, "db");
        sandbox.assert_clean();
    }
}
