//! Many attachments at once on one pool.

use std::collections::HashSet;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Barrier;
use std::{fs, thread};

use harness::{Answer, Netns, Node, Plugin, Suite, addresses, dual_stack};

const CONTAINERS: usize = 200;

#[test]
fn two_hundred_parallel_adds_then_as_many_dels() {
    Node::run(|node| {
        let containers: Vec<Netns> = (0..CONTAINERS).map(|number| node.netns(&format!("c{number}"))).collect();
        let results = at_once(&containers, |plugin| plugin.add());
        let given: Vec<IpAddr> = results.iter().flat_map(|answer| addresses(&answer.ok())).collect();
        let distinct: HashSet<&IpAddr> = given.iter().collect();
        assert_eq!((given.len(), distinct.len()), (2 * CONTAINERS, 2 * CONTAINERS), "{given:?}");
        assert_eq!(leases(), 2 * CONTAINERS);
        for answer in at_once(&containers, |plugin| plugin.del()) {
            answer.ok();
        }
        assert_eq!(leases(), 0);
    });
}

/// Every container's call in a thread of its own, all started in the same moment.
fn at_once(containers: &[Netns], call: impl Fn(&Plugin) -> Answer + Sync) -> Vec<Answer> {
    let (start, call) = (Barrier::new(containers.len()), &call);
    thread::scope(|scope| {
        let threads: Vec<_> = containers
            .iter()
            .enumerate()
            .map(|(number, netns)| (plugin(number, netns), &start))
            .map(|(plugin, start)| {
                scope.spawn(move || {
                    start.wait();
                    call(&plugin)
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("a call ends")).collect()
    })
}

/// Both suites share the pool, as on a node where one replaces the other.
fn plugin(number: usize, netns: &Netns) -> Plugin {
    let suite = if number.is_multiple_of(4) { Suite::Go } else { Suite::Ours };
    Plugin::of(suite, "bridge").config(&dual_stack("net")).netns(netns).container(&format!("c{number}"))
}

fn leases() -> usize {
    let files = fs::read_dir(Path::new("/var/lib/cni/networks/net")).expect("list the pool").flatten();
    files.filter(|file| file.file_name().to_str().is_some_and(|name| name.parse::<IpAddr>().is_ok())).count()
}
