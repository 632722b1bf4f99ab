//! Many containers, one after the other and at the same time: all end, and nothing is left.
//!
//! `XNET_SWARM=1000` is the full number: a thousand in sequence, and a fifth of that in parallel.

#![allow(clippy::unwrap_used, reason = "what fails to unwrap fails the test")]

mod sandbox;

use std::collections::BTreeSet;
use std::fs;
use std::process::Child;
use std::thread::sleep;
use std::time::{Duration, Instant};

use sandbox::{Sandbox, groups};

/// How many in sequence, and how many at the same time.
fn numbers() -> (usize, usize) {
    let asked = std::env::var("XNET_SWARM").ok().map(|text| text.parse().unwrap());
    asked.map_or((200, 64), |number: usize| (number, number / 5))
}

/// What of the host could grow with the number of runs. Other mounts of the host may go at any time: whoever removes the
/// directory or file under a mount takes it away from every namespace.
fn traces() -> BTreeSet<String> {
    let mounts = fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
    let links = fs::read_dir("/sys/class/net").unwrap();
    let links = links.map(|link| link.unwrap().file_name().into_string().unwrap());
    mounts.lines().map(str::to_owned).chain(links).collect()
}

fn assert_no_more_than(before: &BTreeSet<String>) {
    let more: Vec<_> = traces().into_iter().filter(|trace| !before.contains(trace)).collect();
    assert!(more.is_empty(), "{more:#?}");
}

/// Waits for all of them; those that do not end in time fail the test, and are killed.
fn all_end(mut children: Vec<Child>, patience: Duration) {
    let start = Instant::now();
    while !children.is_empty() && start.elapsed() < patience {
        children.retain_mut(|child| match child.try_wait().unwrap() {
            Some(status) => {
                assert_eq!(status.code(), Some(0));
                false
            }
            None => true,
        });
        sleep(Duration::from_millis(2));
    }
    children.iter_mut().for_each(|child| drop(child.kill()));
    assert_eq!(children.len(), 0, "these have not ended after {patience:?}");
}

/// Requirement: P-34, P-12, P-36.
#[test]
fn many_runs_leave_no_trace() {
    let sandbox = Sandbox::new();
    let root = sandbox.rootfs();
    let options = ["--net=none", "--rootfs", root.to_str().unwrap()];
    let run = || sandbox.run_command(&options, &["true"]).spawn().unwrap();
    // The first one makes what stays: the directory of namespaces.
    all_end(vec![run()], Duration::from_secs(20));
    let before = traces();
    let (sequence, parallel) = numbers();
    for _ in 0..sequence {
        all_end(vec![run()], Duration::from_secs(20));
    }
    assert_no_more_than(&before);
    all_end((0..parallel).map(|_| run()).collect(), Duration::from_secs(120));
    assert_no_more_than(&before);
    assert_eq!(groups(sandbox.cgroup()), Vec::<std::path::PathBuf>::new());
    sandbox.assert_clean();
    // Nobody had to be cleaned up after.
    sandbox.gc().expect(0, "");
}

/// Requirement: P-34.
#[test]
fn statuses_are_not_mixed_up_when_many_end_at_once() {
    let sandbox = Sandbox::new();
    let root = sandbox.rootfs();
    let options = ["--net=none", "--rootfs", root.to_str().unwrap()];
    let run = |code: i32| sandbox.run_command(&options, &["sh", "-c", &format!("exit {code}")]).spawn().unwrap();
    let children: Vec<_> = (0..32).map(|code| (code, run(code))).collect();
    for (code, mut child) in children {
        assert_eq!(child.wait().unwrap().code(), Some(code));
    }
    sandbox.assert_clean();
}
