//! The namespaces of a container: what is its own, and what it shares when asked to.

#![allow(clippy::unwrap_used, reason = "what fails to unwrap fails the test")]

mod sandbox;

use std::fs;
use std::process::Command;

use nix::mount::{MsFlags, mount};
use sandbox::Sandbox;

/// One line about everything that a namespace holds.
const STATE: &str = "set -- /proc/[0-9]*; echo $# $(hostname) $(ipcs -q | grep -c '^0x') $(grep -c . /proc/mounts) \
                     $(ip -o route show table all | wc -l) $(id -u) $(cat /proc/self/cgroup | cksum) \
                     $(($(cut -d. -f1 /proc/uptime) / 50000))";

fn host(script: &str) -> String {
    let output = Command::new("sh").args(["-c", script]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// The same without the number of processes, which is not the test's alone.
fn host_state() -> String {
    host(&STATE.replace("echo $#", "echo"))
}

/// Requirement: S1-K2, S0-P1, S0-I1, S0-M2, S0-U1, S1-K1.
#[test]
fn a_change_inside_one_namespace_touches_only_it() {
    let sandbox = Sandbox::new();
    let script = format!("{STATE}; read end; {STATE}");
    let mut sibling = sandbox.start(&["--net=none"], &script);
    let before = host_state();
    let change = "hostname changed && ipcmk -Q >/dev/null && mount -t tmpfs x /mnt && (sleep 9 & sleep 9 & true) && \
                  ip route add 192.0.2.0/24 dev lo && uname -r";
    let changed = format!("{STATE}; {change}; {STATE}");
    let options = ["--net=none", "--privileged", "--time-offset=boottime=100000"];
    let ended = sandbox.run(&options, &["sh", "-c", &changed]);
    let lines: Vec<_> = ended.stdout.lines().collect();
    let [was, kernel, is] = lines[..] else { panic!("{} {}", ended.stdout, ended.stderr) };
    assert_eq!(kernel, host("uname -r"));
    let (was, is): (Vec<_>, Vec<_>) = (was.split(' ').collect(), is.split(' ').collect());
    // Processes, name, queues, mounts, routes; the rest stays.
    let differs: Vec<_> = was.iter().zip(&is).map(|(a, b)| a != b).collect();
    assert_eq!(differs[..5], [true; 5], "{was:?} {is:?}");
    assert_eq!(host_state(), before);
    let first = sibling.first.clone();
    sibling.end_input();
    assert_eq!(sibling.line(), first);
    assert_eq!(sibling.wait(), 0);
    sandbox.assert_clean();
}

/// Requirement: S1-P.
#[test]
fn processes_are_seen_as_far_as_the_pid_namespace_goes() {
    let sandbox = Sandbox::new();
    let own = std::process::id();
    let sees = format!("test -d /proc/{own} && echo yes; test $$ = 1 || echo other; tr '\\0' ' ' </proc/1/cmdline");
    let inside = sandbox.run(&["--net=none"], &["sh", "-c", &sees]);
    assert!(inside.stdout.starts_with("sh -c "), "{}", inside.stdout);
    let shared = sandbox.run(&["--net=none", "--pid=host"], &["sh", "-c", &sees]);
    assert!(shared.stdout.starts_with("yes\nother\n"), "{} {}", shared.stdout, shared.stderr);
    // Nobody is left when the first process ends, although the kernel does not see to it here.
    for init in ["--init", "--label=none"] {
        let left = sandbox.run(&["--net=none", "--pid=host", init], &["sh", "-c", "sleep 1000 >/dev/null & echo $!"]);
        assert_eq!(left.code, 0, "{}", left.stderr);
        // What nobody has waited for yet is dead all the same.
        let state = fs::read_to_string(format!("/proc/{}/stat", left.stdout.trim())).unwrap_or_default();
        assert!(state.is_empty() || state.contains(") Z "), "{init}: {state}");
    }
    sandbox.assert_clean();
}

/// Requirement: S1-P, S0-I1.
#[test]
fn a_container_can_share_what_another_one_has() {
    let sandbox = Sandbox::new();
    let script = "ipcmk -Q >/dev/null; echo hello >/dev/shm/word; sleep 1234 & echo up; read end; cat /dev/shm/answer";
    let mut other = sandbox.start(&["--net=none", "--name=other", "--hostname=its-name"], script);
    assert_eq!(other.first, "up");
    let run = |options: &[&str], script: &str| {
        let ended = sandbox.run(&[&["--net=none"], options].concat(), &["sh", "-c", script]);
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        ended.stdout.trim().to_owned()
    };
    let queues = "ipcs -q | grep -c '^0x'; true";
    assert_eq!(run(&[], queues), "0");
    assert_eq!(run(&["--ipc=container:other"], queues), "1");
    assert_eq!(run(&["--ipc=container:other"], "cat /dev/shm/word; echo bye >/dev/shm/answer"), "hello");
    assert_eq!(run(&["--uts=container:other"], "hostname"), "its-name");
    let sleeps = "cat /proc/[0-9]*/comm | grep -c sleep";
    assert_eq!(run(&["--pid=container:other"], &format!("{sleeps}; test $$ != 1")), "1");
    other.end_input();
    assert_eq!(other.line(), "bye");
    assert_eq!(other.wait(), 0);
    for flag in ["--pid", "--ipc", "--uts"] {
        let gone = sandbox.run(&["--net=none", &format!("{flag}=container:other")], &["echo", "ran"]);
        gone.expect_refusal(125, "no such container: other");
    }
    sandbox.assert_clean();
}

/// Requirement: S0-I1.
#[test]
fn the_hosts_ipc_is_shared_only_when_asked_for() {
    let sandbox = Sandbox::new();
    // A /dev/shm of the test's own stands for the host's.
    mount(Some("shm"), "/dev/shm", Some("tmpfs"), MsFlags::empty(), None::<&str>).unwrap();
    fs::write("/dev/shm/xnet-word", "hello").unwrap();
    let run = |options: &[&str]| {
        let script = "cat /dev/shm/xnet-word 2>/dev/null; readlink /proc/self/ns/ipc";
        sandbox.run(&[&["--net=none"], options].concat(), &["sh", "-c", script]).stdout
    };
    let own = fs::read_link("/proc/thread-self/ns/ipc").unwrap();
    assert_eq!(run(&["--ipc=host"]), format!("hello{}\n", own.display()));
    assert!(!run(&[]).contains("hello") && !run(&["--ipc=private"]).contains(own.to_str().unwrap()));
    sandbox.assert_clean();
}

/// Requirement: S1-K3.
#[test]
fn names_and_groups_are_the_hosts_when_asked_for() {
    let sandbox = Sandbox::new();
    let run = |option: &str, script: &str| sandbox.run(&["--net=none", option], &["sh", "-c", script]).stdout;
    assert_eq!(run("--uts=host", "hostname").trim(), host("hostname"));
    let groups = "cut -d: -f3 /proc/self/cgroup | sort -u";
    assert_eq!(run("--cgroupns=private", groups).trim(), "/");
    assert!(run("--cgroupns=host", groups).contains(sandbox.cgroup()));
    let refused = |options: &[&str], why: &str| {
        let ended = sandbox.run(&[&["--net=none"], options].concat(), &["echo", "ran"]);
        assert!(ended.code == 125 && ended.stdout.is_empty() && ended.stderr.contains(why), "{}", ended.stderr);
    };
    refused(&["--uts=host", "--hostname=x"], "--hostname");
    refused(&["--cgroupns=container:x"], "--cgroupns");
    refused(&["--pid=nonsense"], "unknown namespace mode");
    refused(&["--ipc=ns:/etc/passwd"], "not a namespace");
    sandbox.assert_clean();
}

/// Requirement: S1-K3, S3-2, F-timens.
#[test]
fn namespaces_are_switched_one_by_one() {
    let sandbox = Sandbox::new();
    let kinds = ["pid", "ipc", "uts", "cgroup", "mnt", "net", "time", "user"];
    let links = kinds.map(|kind| format!("readlink /proc/self/ns/{kind}")).join("; ");
    let outside: Vec<String> = kinds
        .iter()
        .map(|kind| fs::read_link(format!("/proc/thread-self/ns/{kind}")).unwrap().to_str().unwrap().to_owned())
        .collect();
    let shared = |options: &[&str]| {
        let ended = sandbox.run(options, &["sh", "-c", &links]);
        let inside: Vec<_> = ended.stdout.lines().map(str::to_owned).collect();
        assert_eq!(inside.len(), kinds.len(), "{}", ended.stderr);
        let same = kinds.iter().zip(inside.iter().zip(&outside)).filter(|(_, (a, b))| a == b);
        same.map(|(kind, _)| *kind).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(shared(&["--net=none"]), "time user");
    assert_eq!(shared(&["--net=none", "--no-ns=pid,uts"]), "pid uts time user");
    assert_eq!(shared(&["--net=none", "--ns=none"]), "pid ipc uts cgroup time user");
    assert_eq!(shared(&["--ns=none", "--net=host"]), "pid ipc uts cgroup net time user");
    assert_eq!(shared(&["--net=none", "--time-offset=boottime=0"]), "user");
    sandbox.run(&["--net=none", "--ns=none"], &["sh", "-c", "test $$ != 1"]).expect(0, "");
    sandbox.assert_clean();
}

/// Requirement: S1-K3, F-timens.
#[test]
fn clocks_can_be_shifted() {
    let sandbox = Sandbox::new();
    let run = |options: &[&str]| {
        let ended = sandbox.run(&[&["--net=none"], options].concat(), &["cut", "-d.", "-f1", "/proc/uptime"]);
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        ended.stdout.trim().parse::<i64>().unwrap()
    };
    let ahead = run(&["--time-offset", "boottime=100000", "--time-offset=monotonic=50"]) - run(&[]);
    assert!((99_990..=100_010).contains(&ahead), "{ahead}");
    let init = run(&["--time-offset=boottime=100000", "--init"]) - run(&[]);
    assert!((99_990..=100_010).contains(&init), "{init}");
    let early = sandbox.run(&["--net=none", "--time-offset=boottime=-999999999"], &["echo", "ran"]);
    early.expect_refusal(125, "no clock may show a time before boot");
    let bad = sandbox.run(&["--net=none", "--time-offset=realtime=5"], &["echo", "ran"]);
    bad.expect_refusal(125, "invalid time offset");
    sandbox.assert_clean();
}
