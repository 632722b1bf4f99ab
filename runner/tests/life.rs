//! The life of a container, command by command.

#![allow(clippy::unwrap_used, reason = "what fails to unwrap fails the test")]

mod sandbox;

use std::fs;
use std::time::Instant;

use sandbox::{Ended, Sandbox, eventually};

/// Ends with status 7 when it is told to.
const POLITE: [&str; 3] = ["sh", "-c", "trap 'exit 7' TERM; while :; do sleep 0.02; done"];

/// Waits for `id` to be ready for its signal: until its shell has set the trap.
fn until_trapped(sandbox: &Sandbox, id: &str) {
    let pid = sandbox.info(id)["pid"].clone();
    let caught = |status: String| {
        let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:"))?.trim().to_owned();
        Some(u64::from_str_radix(&mask, 16).ok()? & (1 << 14) != 0)
    };
    eventually("the trap is set", || {
        fs::read_to_string(format!("/proc/{pid}/status")).ok().and_then(caught).unwrap_or(false)
    });
}

/// Requirement: S0-R1, F-detach, F-ps.
#[test]
fn a_detached_container_prints_its_id_and_is_listed() {
    let sandbox = Sandbox::new();
    let id = sandbox.detach(&["--net=none", "--name=web", "-l", "tier=front"], &["sleep", "1000"]);
    assert!(id.len() == 64 && id.bytes().all(|b| b.is_ascii_hexdigit()), "{id}");
    sandbox.xnet(&["ps", "-q"]).expect(0, &id[..12]);
    sandbox.xnet(&["ps", "-q", "--no-trunc"]).expect(0, &id);
    let table = sandbox.xnet(&["ps"]).stdout;
    let lines: Vec<_> = table.lines().collect();
    assert!(lines[0].starts_with("CONTAINER ID   IMAGE") && lines[0].contains("   COMMAND "), "{table}");
    assert!(
        lines[1].starts_with(&id[..12]) && lines[1].contains("\"sleep 1000\"") && lines[1].contains("Up "),
        "{table}"
    );
    assert!(lines[1].ends_with("web"), "{table}");
    sandbox.xnet(&["ps", "--format", "{{.Names}} {{.State}} {{.Labels}}"]).expect(0, "web running tier=front");
    let json: serde_json::Value = serde_json::from_str(&sandbox.xnet(&["ps", "--format", "json"]).stdout).unwrap();
    assert_eq!(json["Pid"], sandbox.info(&id)["pid"]);
    sandbox.xnet(&["rm", "-f", "web"]).expect(0, "web");
    sandbox.xnet(&["ps", "-aq"]).expect(0, "");
    sandbox.assert_clean();
}

/// Requirement: S0-R1.
#[test]
fn what_cannot_be_executed_is_told_by_run_d_too() {
    let sandbox = Sandbox::new();
    for (cmd, code) in [("/no/such", 127), ("/usr", 126), ("no-such", 127)] {
        sandbox.xnet(&["run", "-d", "--net=none", "--", cmd]).expect_refusal(code, "");
        sandbox.xnet(&["ps", "-aq"]).expect(0, "");
    }
    sandbox.xnet(&["run", "-d", "--net=container:none", "--", "true"]).expect_refusal(125, "no such container");
    sandbox.assert_clean();
}

/// Requirement: F-ps.
#[test]
#[expect(clippy::cognitive_complexity, reason = "a filter after the other")]
fn filters_choose_containers() {
    let sandbox = Sandbox::new();
    let make = |name: &str, label: &str| {
        sandbox.xnet(&["create", "--net=none", "--name", name, "-l", label, "--", "sh", "-c", "exit 3"]).stdout
    };
    let (_, two) = (make("one", "a=1"), make("two", "a=2"));
    sandbox.detach(&["--net=none", "--name=three"], &["sleep", "1000"]);
    sandbox.xnet(&["start", "-a", "one"]).expect(3, "");
    let list = |args: &[&str]| {
        let all = [&["ps", "--format", "{{.Names}}"], args].concat();
        sandbox.xnet(&all).stdout.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(list(&[]), "three");
    assert_eq!(list(&["-a"]), "three two one");
    assert_eq!(list(&["-n", "2"]), "three two");
    assert_eq!(list(&["-l"]), "three");
    assert_eq!(list(&["-f", "status=created"]), "two");
    assert_eq!(list(&["-f", "status=exited", "-f", "status=running"]), "three one");
    assert_eq!(list(&["-f", "exited=3"]), "one");
    assert_eq!(list(&["-a", "-f", "label=a"]), "two one");
    assert_eq!(list(&["-a", "-f", "label=a=1"]), "one");
    assert_eq!(list(&["-a", "-f", "name=t"]), "three two");
    assert_eq!(list(&["-a", "-f", &format!("id={}", &two[..10])]), "two");
    assert_eq!(list(&["-a", "-f", "before=two"]), "one");
    assert_eq!(list(&["-a", "-f", "since=two"]), "three");
    for bad in ["x=1", "status=gone", "status", "exited=x", "before=nobody"] {
        sandbox.xnet(&["ps", "-f", bad]).expect_refusal(1, "");
    }
    assert!(sandbox.xnet(&["ps", "-a", "-f", "name=one"]).stdout.contains("Exited (3) "));
}

/// Requirement: S1-O8, F-stop, F-ps.
#[test]
fn stop_takes_many_and_ends_each_in_its_way() {
    let sandbox = Sandbox::new();
    let polite = sandbox.detach(&["--net=none", "--name=polite"], &POLITE);
    let deaf = sandbox.detach(&["--net=none", "--name=deaf"], &["sleep", "1000"]);
    let own = sandbox.detach(
        &["--net=none", "--name=own", "--stop-signal=USR1", "--init"],
        &["sh", "-c", "trap 'exit 9' USR1; while :; do sleep 0.02; done"],
    );
    until_trapped(&sandbox, &polite);
    std::thread::sleep(std::time::Duration::from_millis(100));
    let ids: Vec<_> = sandbox.xnet(&["ps", "-q"]).stdout.split_whitespace().map(str::to_owned).collect();
    let ids: Vec<_> = ids.iter().map(String::as_str).collect();
    let start = Instant::now();
    let ended = sandbox.xnet(&[&["stop", "-t", "1"], &ids[..]].concat());
    let mut printed: Vec<_> = ended.stdout.split_whitespace().collect();
    let mut expected = ids.clone();
    printed.sort_unstable();
    expected.sort_unstable();
    assert_eq!((ended.code, printed), (0, expected), "{}", ended.stderr);
    assert!((1000..3000).contains(&start.elapsed().as_millis()), "one after the other: {:?}", start.elapsed());
    assert!(ended.stderr.lines().count() == 1 && ended.stderr.contains("--init"), "{}", ended.stderr);
    let code = |id: &str| sandbox.exit(id)["exit_code"].as_i64().unwrap();
    assert_eq!((code(&polite), code(&deaf), code(&own)), (7, 137, 9));
    sandbox.xnet(&["ps", "-q"]).expect(0, "");
    // One that has stopped can be stopped; nobody and none cannot.
    sandbox.xnet(&["stop", "polite"]).expect(0, "polite");
    assert_eq!(sandbox.xnet(&["stop"]).code, 1);
    sandbox.xnet(&["stop", "nobody"]).expect_refusal(1, "no such container: nobody");
}

/// Requirement: F-kill, F-wait.
#[test]
fn wait_prints_the_status_of_the_end_that_comes() {
    let sandbox = Sandbox::new();
    for (options, reference) in [(&["--net=none", "--name=a"][..], "a"), (&["--net=none", "--name=b", "--rm"], "b")] {
        let id = sandbox.detach(options, &POLITE);
        until_trapped(&sandbox, &id);
        let mut wait = sandbox.command(&["wait", reference]);
        let waiting = wait.stdout(std::process::Stdio::piped()).spawn().unwrap();
        // It has the log open, or looks at the end from the start: both must do.
        sandbox.xnet(&["kill", "-s", "TERM", reference]).expect(0, reference);
        let output = waiting.wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(text, "7\n", "{reference}");
    }
    sandbox.xnet(&["wait", "a"]).expect(0, "7");
    eventually("b is gone", || sandbox.xnet(&["wait", "b"]).code == 1);
    sandbox.xnet(&["kill", "a"]).expect_refusal(1, "is not running");
    sandbox.xnet(&["kill", "-s", "NONSENSE", "a"]).code_is_not(0);
}

/// With `--rm` there may be nothing left of a container when somebody comes to wait for it.
///
/// Requirement: F-wait, F-rm.
#[test]
fn the_status_of_what_is_removed_at_its_end_is_not_lost() {
    let sandbox = Sandbox::new();
    // At most one of these is still there when it is asked for.
    for code in [0, 7, 42] {
        let id = sandbox.detach(&["--net=none", "--rm"], &["sh", "-c", &format!("exit {code}")]);
        sandbox.xnet(&["wait", &id]).expect(0, &code.to_string());
    }
    let id = sandbox.detach(&["--net=none", "--rm", "--name=gone"], &["sh", "-c", "exit 9"]);
    eventually("it is gone", || sandbox.xnet(&["ps", "-aq"]).stdout.is_empty());
    sandbox.xnet(&["wait", &id]).expect(0, "9");
    // A name, or the beginning of an id, may mean another one by now.
    sandbox.xnet(&["wait", "gone"]).expect_refusal(1, "no such container: gone");
    sandbox.xnet(&["wait", &id[..12]]).expect_refusal(1, "no such container");
    sandbox.assert_clean();
}

/// Requirement: F-pause, S1-C3.
#[test]
fn a_paused_container_stands_still() {
    let sandbox = Sandbox::new();
    let id = sandbox.detach(&["--net=none", "--name=a"], &["sh", "-c", "while :; do :; done"]);
    let pid = sandbox.info(&id)["pid"].clone();
    let ticks = || {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let fields: Vec<_> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        fields[11].parse::<u64>().unwrap()
    };
    sandbox.xnet(&["pause", "a"]).expect(0, "a");
    sandbox.xnet(&["ps", "--format", "{{.State}}"]).expect(0, "paused");
    assert!(sandbox.xnet(&["ps"]).stdout.contains("(Paused)"));
    let before = ticks();
    std::thread::sleep(std::time::Duration::from_millis(100));
    assert_eq!(ticks(), before, "it has run meanwhile");
    sandbox.xnet(&["pause", "a"]).expect_refusal(1, "already paused");
    sandbox.xnet(&["unpause", "a"]).expect(0, "a");
    eventually("it runs again", || ticks() > before);
    sandbox.xnet(&["unpause", "a"]).expect_refusal(1, "not paused");
    // A paused container can be ended all the same.
    sandbox.xnet(&["pause", "a"]).expect(0, "a");
    sandbox.xnet(&["stop", "-t", "0", "a"]).expect(0, "a");
    assert_eq!(sandbox.exit(&id)["exit_code"], 137);
    sandbox.xnet(&["pause", "a"]).expect_refusal(1, "not running");
}

/// Requirement: S0-A1, F-restart.
#[test]
fn a_container_is_made_once_and_started_often() {
    let sandbox = Sandbox::new();
    let script = "echo run; exit 5";
    let id = sandbox.xnet(&["create", "--net=none", "--name=job", "--", "sh", "-c", script]).stdout;
    sandbox.xnet(&["ps", "-a", "--format", "{{.State}} {{.Status}}"]).expect(0, "created Created");
    for _ in 0..3 {
        sandbox.xnet(&["start", "-a", "job"]).expect(5, "run");
        assert_eq!(sandbox.exit(id.trim())["exit_code"], 5);
    }
    sandbox.xnet(&["start", "job"]).expect(0, "job");
    sandbox.xnet(&["wait", "job"]).expect(0, "5");
    let web = sandbox.detach(&["--net=none", "--name=web"], &POLITE);
    let first = sandbox.info(&web)["pid"].clone();
    // One that runs is left alone.
    sandbox.xnet(&["start", "web"]).expect(0, "web");
    assert_eq!(sandbox.info(&web)["pid"], first);
    until_trapped(&sandbox, &web);
    sandbox.xnet(&["restart", "web", "job"]).expect(0, "web\njob");
    assert_ne!(sandbox.info(&web)["pid"], first);
    assert_eq!(sandbox.exit(&web)["exit_code"], serde_json::Value::Null);
    sandbox.xnet(&["rm", "web"]).expect_refusal(1, "--force");
    sandbox.xnet(&["wait", "job"]).expect(0, "5");
    sandbox.xnet(&["rm", "job"]).expect(0, "job");
    sandbox.xnet(&["rm", "-f", "web", "job"]).code_is_not(0);
    sandbox.assert_clean();
}

/// Requirement: P-30.
#[test]
fn names_are_taken_once_and_can_be_changed() {
    let sandbox = Sandbox::new();
    let id = sandbox.xnet(&["create", "--net=none", "--name=web", "--", "true"]).stdout;
    let id = id.trim();
    sandbox.run(&["--net=none", "--name=web"], &["true"]).expect_refusal(125, "in use");
    sandbox.xnet(&["rename", "web", "db"]).expect(0, "");
    sandbox.xnet(&["rename", "db", "../db"]).code_is_not(0);
    sandbox.xnet(&["rename", "web", "x"]).expect_refusal(1, "no such container: web");
    let other = sandbox.xnet(&["create", "--net=none", "--name=web", "--", "true"]).stdout;
    sandbox.xnet(&["rename", "db", "web"]).expect_refusal(1, "in use");
    for reference in ["db", id, &id[..12]] {
        sandbox.xnet(&["ps", "-aq", "-f", &format!("before={}", other.trim())]).expect(0, &id[..12]);
        sandbox.xnet(&["start", "-a", reference]).expect(0, "");
    }
    for bad in ["../x", "-x", "a/b", "a\nb", ".", "..", &"a".repeat(300)] {
        let name = format!("--name={bad}");
        sandbox.xnet(&["create", "--net=none", &name, "--", "true"]).code_is_not(0);
        assert_eq!(sandbox.xnet(&["rm", "--", bad]).code, 1, "{bad:?}");
    }
    sandbox.xnet(&["rm", "db", "web"]).code_is_not(1);
    sandbox.assert_clean();
}

/// Requirement: S0-A1.
#[test]
fn one_name_for_twenty_goes_to_one() {
    let sandbox = Sandbox::new();
    let all: Vec<_> = (0..20)
        .map(|_| sandbox.command(&["create", "--net=none", "--name=web", "--", "true"]).spawn().unwrap())
        .collect();
    let made = all.into_iter().filter_map(|mut child| child.wait().ok()).filter(|status| status.success()).count();
    assert_eq!(made, 1);
    assert_eq!(sandbox.xnet(&["ps", "-aq"]).stdout.lines().count(), 1);
    sandbox.xnet(&["rm", "web"]).expect(0, "web");
    sandbox.assert_clean();
}

/// Requirement: S1-O7, F-rm.
#[test]
fn without_rm_a_container_stays_and_with_it_goes() {
    let sandbox = Sandbox::new();
    let run =
        |options: &[&str]| sandbox.xnet(&[&["run", "--net=none"], options, &["--", "sh", "-c", "exit 4"]].concat());
    run(&["--name=kept"]).expect(4, "");
    sandbox.xnet(&["ps", "-a", "--format", "{{.Names}} {{.State}}"]).expect(0, "kept exited");
    run(&["--name=gone", "--rm"]).expect(4, "");
    sandbox.xnet(&["ps", "-aq", "-f", "name=gone"]).expect(0, "");
    run(&["--rm", "--restart=always"]).expect_refusal(125, "contradict");
    let id = sandbox.detach(&["--net=none", "--rm"], &["sh", "-c", "exit 4"]);
    eventually("the container is gone", || !sandbox.path("data/containers").join(&id).exists());
    sandbox.xnet(&["rm", "kept"]).expect(0, "kept");
    eventually("its monitor has ended", || !sandbox.path("state").join(&id).exists());
    sandbox.assert_clean();
}

/// Requirement: F-env.
#[test]
fn the_id_and_the_pid_are_written_where_they_are_wanted() {
    let sandbox = Sandbox::new();
    let (cid, pid) = (sandbox.path("cid"), sandbox.path("pid"));
    let files = [format!("--cidfile={}", cid.display()), format!("--pidfile={}", pid.display())];
    let id = sandbox.detach(&["--net=none", &files[0], &files[1]], &["sleep", "1000"]);
    assert_eq!(fs::read_to_string(&cid).unwrap(), id);
    assert_eq!(fs::read_to_string(&pid).unwrap(), sandbox.info(&id)["pid"].to_string());
    // A file that is there belongs to somebody.
    sandbox.run(&["--net=none", &files[0]], &["true"]).expect_refusal(125, "write the id to");
    assert_eq!(fs::read_to_string(&cid).unwrap(), id);
    sandbox.xnet(&["rm", "-f", &id]).expect(0, &id);
    sandbox.assert_clean();
}

/// Requirement: F-events.
#[test]
fn events_tell_the_story_in_order() {
    let sandbox = Sandbox::new();
    let follow =
        sandbox.command(&["events", "-f", "--format", "{{.Action}}"]).stdout(std::process::Stdio::piped()).spawn();
    let mut follow = follow.unwrap();
    let id = sandbox.detach(&["--net=none", "--name=web"], &POLITE);
    until_trapped(&sandbox, &id);
    for command in
        [&["pause", "web"][..], &["unpause", "web"], &["stop", "web"], &["rename", "web", "db"], &["rm", "db"]]
    {
        assert_eq!(sandbox.xnet(command).code, 0, "{command:?}");
    }
    let story = ["create", "start", "pause", "unpause", "die", "stop", "rename", "destroy"];
    let actions = |args: &[&str]| sandbox.xnet(&[&["events", "--format", "{{.Action}}"], args].concat()).stdout;
    assert_eq!(actions(&[]).split_whitespace().collect::<Vec<_>>(), story);
    assert_eq!(actions(&["--filter", "event=die"]).trim(), "die");
    assert_eq!(
        actions(&["--since", "1h", "--filter", "container=db"]).split_whitespace().collect::<Vec<_>>(),
        ["rename", "destroy"]
    );
    assert_eq!(actions(&["--until", "1h"]), "");
    let json = sandbox.xnet(&["events", "--json", "--filter", "event=die"]).stdout;
    let event: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&event["Actor"]["ID"], &event["Actor"]["Attributes"]["exitCode"]), (&id.into(), &"7".into()));
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(follow.stdout.take().unwrap()));
    for action in story {
        assert_eq!(lines.next().unwrap().unwrap(), action);
    }
    follow.kill().unwrap();
    follow.wait().unwrap();
}

/// Requirement: NET-C4.
#[test]
fn whose_network_is_shared_can_go_first_and_comes_back_with_another() {
    let sandbox = Sandbox::new();
    let a = sandbox.detach(&["--net=none", "--name=a"], &["sleep", "1000"]);
    let b = sandbox.detach(&["--net=container:a", "--name=b"], &["sleep", "1000"]);
    let netns = |id: &str| fs::read_link(format!("/proc/{}/ns/net", sandbox.info(id)["pid"])).unwrap();
    let first = netns(&a);
    assert_eq!(netns(&b), first);
    sandbox.xnet(&["stop", "-t", "0", "a"]).expect(0, "a");
    assert_eq!(netns(&b), first, "the one that stays has lost its network");
    sandbox.xnet(&["run", "--rm", "--net=container:a", "--", "true"]).expect_refusal(125, "not running");
    sandbox.xnet(&["run", "--rm", "--net=container:zz", "--", "true"]).expect_refusal(125, "no such container");
    sandbox.xnet(&["start", "a"]).expect(0, "a");
    assert_ne!(netns(&a), first, "a new run has got the old namespace");
    assert_eq!(netns(&b), first);
    sandbox.xnet(&["restart", "-t", "0", "b"]).expect(0, "b");
    assert_eq!(netns(&b), netns(&a), "a restart has not joined again");
    sandbox.xnet(&["rm", "-f", "a", "b"]).code_is_not(1);
    sandbox.assert_clean();
}

/// Requirement: S0-A1.
#[test]
fn commands_for_several_go_on_after_a_failure() {
    let sandbox = Sandbox::new();
    for name in ["a", "b"] {
        sandbox.xnet(&["create", "--net=none", "--name", name, "--", "true"]).code_is_not(1);
    }
    let Ended { code, stdout, stderr } = sandbox.xnet(&["rm", "a", "nobody", "b"]);
    assert_eq!((code, stdout.lines().count()), (1, 2), "{stdout}{stderr}");
    assert!(stderr.contains("no such container: nobody"), "{stderr}");
    sandbox.assert_clean();
}
