//! Ours and the Go suite's host-local on one directory, in turn, against the Go suite's alone on a twin.

#![expect(clippy::unwrap_used, clippy::panic, reason = "the functions here are parts of tests")]

mod node;

use std::collections::HashSet;
use std::fs;
use std::sync::Barrier;
use std::thread;

use node::{Answer, Call, GO, Node, OURS};
use proptest::prelude::*;
use serde_json::{Value, json};

/// A step on both directories; on the first one, `ours` says whose plugin takes it.
#[derive(Debug, Clone)]
enum Step {
    Call { ours: bool, call: Call },
    OldLease { host: u8, id: u8 },
    Removal { host: u8 },
    History { text: &'static str },
    SubDirectory { host: u8, id: u8 },
}

fn single_sets() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(json!([[{"subnet": "10.1.0.0/28"}]])),
        Just(json!([[
            {"subnet": "10.1.0.0/28", "rangeStart": "10.1.0.3", "rangeEnd": "10.1.0.5", "gateway": "10.1.0.4"},
            {"subnet": "10.2.0.0/29"},
        ]])),
        Just(json!([[{"subnet": "fd00::/125"}]])),
    ]
}

/// `requests`: some ADDs ask for an address. `strangers`: leases come and go otherwise.
fn steps(requests: bool, strangers: bool) -> impl Strategy<Value = Vec<Step>> {
    let id = || 0u8..6;
    let host = || 1u8..16;
    let command = prop_oneof![5 => Just("ADD"), 3 => Just("DEL"), 1 => Just("CHECK")];
    let request = prop_oneof![3 => Just(None), u32::from(requests) => host().prop_map(Some)];
    let call =
        (any::<bool>(), command, id(), any::<bool>(), request).prop_map(|(ours, command, id, second, request)| {
            let args = match (command, request) {
                ("ADD", Some(host)) => format!("IP=10.1.0.{host}"),
                _ => String::new(),
            };
            Step::Call {
                ours,
                call: Call {
                    ifname: if second { "net1" } else { "eth0" },
                    args,
                    ..Call::new(command, format!("c{id}"))
                },
            }
        });
    let text = prop::sample::select(vec!["10.1.0.9", "10.2.0.4", "fd00::5", "zork", "", "10.1.0.5\n", "10.99.0.1"]);
    let step = prop_oneof![
        20 => call,
        u32::from(strangers) => (host(), id()).prop_map(|(host, id)| Step::OldLease { host, id }),
        u32::from(strangers) => host().prop_map(|host| Step::Removal { host }),
        1 => text.prop_map(|text| Step::History { text }),
        u32::from(strangers) => (host(), id()).prop_map(|(host, id)| Step::SubDirectory { host, id }),
    ];
    prop::collection::vec(step, 1..40)
}

fn change(node: &Node, step: &Step) {
    fs::create_dir_all(node.file("")).unwrap();
    match step {
        Step::Call { .. } => {}
        Step::OldLease { host, id } => {
            let file = node.file(&format!("10.1.0.{host}"));
            // A lease is made by creating its file. One that is written over in place is noticed only when it is
            // looked at, or when the directory changes.
            drop(fs::remove_file(&file));
            fs::write(file, format!("c{id}\n")).unwrap();
        }
        Step::Removal { host } => drop(fs::remove_file(node.file(&format!("10.1.0.{host}")))),
        Step::History { text } => fs::write(node.file("last_reserved_ip.0"), text).unwrap(),
        Step::SubDirectory { host, id } => {
            fs::create_dir_all(node.file("sub")).unwrap();
            fs::write(node.file(&format!("sub/10.1.0.{host}")), format!("c{id}\r\neth0")).unwrap();
        }
    }
}

fn compare(ranges: &Value, steps: &[Step]) -> Result<(), TestCaseError> {
    let (mixed, go) = (Node::new(ranges), Node::new(ranges));
    for step in steps {
        if let Step::Call { ours, call } = step {
            let answer = mixed.call(if *ours { OURS } else { GO }, call);
            prop_assert_eq!(answer, go.call(GO, call), "{:?}", step);
        } else {
            change(&mixed, step);
            change(&go, step);
        }
        prop_assert_eq!(snapshot(&mixed), snapshot(&go), "{:?}", step);
    }
    Ok(())
}

/// Every file below the network's directory with its content.
fn snapshot(node: &Node) -> Vec<(String, Option<String>)> {
    let mut found = Vec::new();
    let mut open = vec![node.file("")];
    while let Some(dir) = open.pop() {
        let Ok(entries) = fs::read_dir(&dir) else { continue };
        for entry in entries.map(|entry| entry.unwrap()) {
            if entry.file_type().unwrap().is_dir() {
                open.push(entry.path());
            }
            let name = entry.path().strip_prefix(node.file("")).unwrap().to_str().unwrap().to_owned();
            found.push((name, fs::read_to_string(entry.path()).ok()));
        }
    }
    found.sort();
    found
}

fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, max_shrink_iters: 60, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(cases(16))]

    #[test]
    fn nobody_can_tell_them_apart(ranges in single_sets(), steps in steps(false, true)) {
        compare(&ranges, &steps)?;
    }

    #[test]
    fn nobody_can_tell_them_apart_when_addresses_are_requested(steps in steps(true, true)) {
        compare(&json!([[{"subnet": "10.1.0.0/28"}]]), &steps)?;
    }

    // Without strangers, because the Go suite takes back more than a failed ADD has reserved when an attachment
    // holds an address of a later set alone.
    #[test]
    fn nobody_can_tell_them_apart_with_several_sets(steps in steps(false, false)) {
        compare(&json!([[{"subnet": "10.1.0.0/28"}], [{"subnet": "fd00::/125"}]]), &steps)?;
    }
}

#[test]
fn many_at_once_get_an_address_each() {
    const CALLS: usize = 48;
    let node = Node::new(&json!([[{"subnet": "10.1.0.0/24"}], [{"subnet": "fd00::/64"}]]));
    let start = Barrier::new(CALLS);
    let at_once = |command: &'static str| -> Vec<Answer> {
        thread::scope(|scope| {
            let calls: Vec<_> = (0..CALLS)
                .map(|n| {
                    let (node, start) = (&node, &start);
                    scope.spawn(move || {
                        start.wait();
                        node.call(if n % 4 == 0 { GO } else { OURS }, &Call::new(command, format!("c{n}")))
                    })
                })
                .collect();
            calls.into_iter().map(|call| call.join().unwrap()).collect()
        })
    };
    let mut given = HashSet::new();
    for answer in at_once("ADD") {
        let Answer::Done(ips) = answer else { panic!("{answer:?}") };
        assert_eq!(ips.len(), 2);
        ips.into_iter().for_each(|ip| assert!(given.insert(ip)));
    }
    assert_eq!(node.leases().len(), 2 * CALLS);
    assert!(at_once("CHECK").iter().all(|answer| *answer == Answer::Done(vec![])));
    assert!(at_once("DEL").iter().all(|answer| *answer == Answer::Done(vec![])));
    assert_eq!(node.leases().len(), 0);
}
