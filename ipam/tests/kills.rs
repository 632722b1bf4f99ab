//! SIGKILL at any instant: a lease is complete or absent, and no later answer is wrong.
//!
//! The process is stopped at the entry and at the exit of each of its system calls, one after the other, and killed
//! there; between two system calls nothing can be seen from outside. So every state that a kill can leave is visited.

#![expect(clippy::unwrap_used, clippy::panic, reason = "the functions here are parts of tests")]

mod node;

use std::collections::{BTreeMap, BTreeSet};
use std::process::Child;
use std::thread;

use nix::sys::ptrace::{self, Options};
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use node::{Answer, Call, GO, Node, OURS};
use serde_json::{Value, json};

/// What became of a process that was to be killed at a certain stop.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    Killed,
    Finished,
}

/// Runs a call and kills it at its `stop`th entry into or exit from a system call after it has its configuration.
fn call_and_kill(node: &Node, call: &Call, stop: usize) -> Fate {
    let mut child = node.start(OURS, call);
    let pid = Pid::from_raw(child.id().try_into().unwrap());
    ptrace::seize(pid, Options::PTRACE_O_TRACESYSGOOD | Options::PTRACE_O_EXITKILL).unwrap();
    ptrace::interrupt(pid).unwrap();
    waitpid(pid, None).unwrap();
    node.feed(&mut child);
    for _ in 0..stop {
        ptrace::syscall(pid, None::<Signal>).unwrap();
        match waitpid(pid, Some(WaitPidFlag::__WALL)).unwrap() {
            WaitStatus::Exited(..) => return Fate::Finished,
            WaitStatus::PtraceSyscall(_) | WaitStatus::Stopped(..) | WaitStatus::PtraceEvent(..) => {}
            other => panic!("{other:?}"),
        }
    }
    kill(&mut child);
    Fate::Killed
}

fn kill(child: &mut Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

fn text(id: &str) -> String {
    format!("{id}\r\neth0")
}

/// Prepares a node, kills a call at each stop in turn, and shows each outcome to `judge` with the leases of before.
fn at_each_stop(ranges: &Value, prepare: &[Call], call: &Call, judge: impl Fn(&Node, &BTreeMap<String, String>)) {
    for stop in 0.. {
        let node = Node::new(ranges);
        for call in prepare {
            assert!(matches!(node.call(OURS, call), Answer::Done(_)));
        }
        let before = node.leases();
        let fate = call_and_kill(&node, call, stop);
        judge(&node, &before);
        if fate == Fate::Finished {
            assert!(stop > 50, "the call has made only {stop} steps");
            return;
        }
    }
}

/// The leases are those of before, with some of the victim's besides; whoever comes next gets right answers.
fn judge_add(node: &Node, before: &BTreeMap<String, String>, sets: usize) {
    let after = node.leases();
    let victims: Vec<_> = after.iter().filter(|(addr, _)| !before.contains_key(*addr)).collect();
    assert!(victims.iter().all(|(_, content)| **content == text("victim")), "{after:?}");
    assert!(victims.len() <= sets, "{after:?}");
    assert!(before.iter().all(|(addr, content)| after.get(addr) == Some(content)), "{after:?}");
    let check = node.call(OURS, &Call::new("CHECK", "victim"));
    assert_eq!(matches!(check, Answer::Done(_)), !victims.is_empty(), "{check:?} {after:?}");
    for (plugin, id) in [(OURS, "next"), (GO, "other"), (OURS, "last")] {
        let answer = node.call(plugin, &Call::new("ADD", id));
        assert!(matches!(&answer, Answer::Done(ips) if ips.len() == sets), "{answer:?}");
        let mine = node.leases().into_values().filter(|content| *content == text(id)).count();
        assert_eq!(mine, sets);
    }
    assert_eq!(node.call(OURS, &Call::new("DEL", "victim")), Answer::Done(vec![]));
    let left = node.leases();
    assert!(!left.values().any(|content| *content == text("victim")), "{left:?}");
    assert_eq!(left.len(), before.len() + 3 * sets);
}

#[test]
fn a_killed_add_leaves_a_whole_lease_or_none() {
    let ranges = json!([[{"subnet": "10.1.0.0/24"}], [{"subnet": "fd00::/64"}]]);
    let prepare = [Call::new("ADD", "a"), Call::new("ADD", "b")];
    at_each_stop(&ranges, &prepare, &Call::new("ADD", "victim"), |node, before| judge_add(node, before, 2));
}

#[test]
fn a_killed_first_add_leaves_a_whole_lease_or_none() {
    let ranges = json!([[{"subnet": "10.1.0.0/24"}]]);
    at_each_stop(&ranges, &[], &Call::new("ADD", "victim"), |node, before| judge_add(node, before, 1));
}

#[test]
fn a_killed_del_leaves_a_whole_lease_or_none() {
    let ranges = json!([[{"subnet": "10.1.0.0/29"}], [{"subnet": "fd00::/64"}]]);
    let prepare = [Call::new("ADD", "a"), Call::new("ADD", "victim"), Call::new("ADD", "b")];
    at_each_stop(&ranges, &prepare, &Call::new("DEL", "victim"), |node, before| {
        let after = node.leases();
        assert!(after.iter().all(|(addr, content)| before.get(addr) == Some(content)), "{after:?}");
        let others =
            |leases: &BTreeMap<String, String>| leases.values().filter(|content| **content != text("victim")).count();
        assert_eq!(others(&after), others(before));
        let held = after.len() > others(&after);
        assert_eq!(matches!(node.call(OURS, &Call::new("CHECK", "victim")), Answer::Done(_)), held);
        assert_eq!(node.call(OURS, &Call::new("DEL", "victim")), Answer::Done(vec![]));
        assert_eq!(node.leases().len(), 4);
        // Five addresses, two in use: three more fit, and not a fourth.
        for id in ["c", "d", "e"] {
            assert!(matches!(node.call(OURS, &Call::new("ADD", id)), Answer::Done(_)));
        }
        assert!(matches!(node.call(OURS, &Call::new("ADD", "f")), Answer::Failed(999, _)));
    });
}

/// Here the scheduler chooses the instant, and the others are at work.
#[test]
fn kills_in_a_crowd_leave_whole_leases_and_no_address_twice() {
    const WORKERS: usize = 4;
    let node = Node::new(&json!([[{"subnet": "10.1.0.0/24"}]]));
    let given: Vec<Vec<String>> = thread::scope(|scope| {
        let work = |worker: usize| {
            let node = &node;
            move || {
                let mut given = Vec::new();
                for round in 0..25 {
                    let mut victim = node.start(OURS, &Call::new("ADD", format!("victim-{worker}-{round}")));
                    node.feed(&mut victim);
                    (0..round * 40).for_each(|_| thread::yield_now());
                    kill(&mut victim);
                    let id = format!("kept-{worker}-{round}");
                    let Answer::Done(ips) = node.call(OURS, &Call::new("ADD", id)) else { panic!("no address") };
                    given.extend(ips);
                    let gone = Call::new("DEL", format!("kept-{worker}-{}", round / 2));
                    if round % 2 == 0 && round > 0 {
                        assert_eq!(node.call(GO, &gone), Answer::Done(vec![]));
                    }
                }
                given
            }
        };
        let workers: Vec<_> = (0..WORKERS).map(|worker| scope.spawn(work(worker))).collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).collect()
    });
    assert_eq!(given.concat().len(), WORKERS * 25);
    let leases = node.leases();
    let whole = |content: &String| {
        let (id, ifname) = content.split_once("\r\n").unwrap_or_default();
        (id.starts_with("victim-") || id.starts_with("kept-")) && ifname == "eth0"
    };
    assert!(leases.values().all(whole), "{leases:?}");
    let owners: BTreeSet<&String> = leases.values().collect();
    assert_eq!(owners.len(), leases.len(), "somebody has two addresses: {leases:?}");
    for owner in owners {
        let id = owner.split_once("\r\n").unwrap().0;
        assert_eq!(node.call(OURS, &Call::new("CHECK", id)), Answer::Done(vec![]));
        assert_eq!(node.call(OURS, &Call::new("DEL", id)), Answer::Done(vec![]));
    }
    assert!(node.leases().is_empty());
}
