//! Against recorded bytes, and against the kernel and `nft` in private namespaces.

mod bytes;
mod concurrency;
mod cost;
mod elements;
mod kernel;
mod language;

use std::process::Command;
use std::thread;

use ipnetwork::IpNetwork;
use nix::sched::{CloneFlags, unshare};

use super::*;

const TABLE: TableName = TableName::new(Family::Inet, "t");

/// Runs `work` in a network namespace of its own.
pub(crate) fn namespace<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let guest = scope.spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace needs root");
            work()
        });
        guest.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// What `nft` prints.
fn nft(arguments: &[&str]) -> String {
    let output = Command::new("nft").args(arguments).output().expect("nft is installed");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "nft {arguments:?}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

fn set(table: &TableName, name: &'static str, key: impl Into<KeyType>) -> Set {
    Set { name: table.object(name), key: key.into(), data: None, comment: None }
}

fn chain(table: &TableName, name: &'static str) -> Chain {
    Chain { name: table.object(name), base: None, comment: None }
}

fn rule(table: &TableName, chain: &'static str, statements: Vec<Statement>) -> Rule {
    Rule { chain: table.object(chain), statements, comment: None }
}

fn element(set: &Set, key: Value, comment: &str) -> Element {
    Element { set: set.name.clone(), key, data: None, comment: Some(comment.to_owned()) }
}

fn v4(text: &str) -> Value {
    Value::Ipv4(text.parse().unwrap())
}

fn network(text: &str) -> Operand {
    Operand::Network(text.parse::<IpNetwork>().unwrap())
}
