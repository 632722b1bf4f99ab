//! The processes that a chain's calls start besides the suite's own plugins, as `strace` sees them.

use std::fs;
use std::path::Path;
use std::process::Command;

use harness::{Node, Suite};

use crate::call::{Call, Done, Verb};
use crate::case::pair;
use crate::host::{Container, Host, Member, Quantity};
use crate::measurement::Measurement;
use crate::row::{Row, Section};
use crate::settle::settle;
use crate::side::Side;

/// On the node's own file system.
const TRACE: &str = "/run/trace";

/// Only calls that succeed, because a name is tried in each directory of `PATH`.
const OPTIONS: [&str; 8] = ["-f", "-qq", "-z", "-e", "trace=execve,execveat", "-e", "signal=none", "-o"];

/// Runs a call under `strace`. Returns the answer and the number of programs that are not in the suite's directory.
pub(crate) fn run(call: &Call) -> Result<(Done, f64), String> {
    let mut command = Command::new("strace");
    command.args(OPTIONS).arg(TRACE).arg(call.binary());
    let done = call.run_as(command)?;
    let trace = fs::read_to_string(TRACE).map_err(|error| format!("read {TRACE}: {error}"))?;
    let dir = call.binary().parent().unwrap_or(Path::new("/"));
    let others = trace.lines().filter_map(program).filter(|program| Path::new(program).parent() != Some(dir)).count();
    if trace.lines().all(|line| program(line).is_none()) {
        return Err(format!("strace has not seen the plugin itself start, but {trace:?}"));
    }
    Ok((done, f64::from(u32::try_from(others).expect("processes are few"))))
}

/// The program of a line such as `4711 execve("/usr/sbin/nft", ["nft"], 0x7ffe /* 6 vars */) = 0`.
fn program(line: &str) -> Option<&str> {
    line.split_once("execve")?.1.split('"').nth(1)
}

/// A chain, called twice: the first call finds nothing, and makes what all containers share.
pub(crate) struct Processes {
    pub(crate) name: &'static str,
    pub(crate) chain: Vec<Member>,
    pub(crate) other: Suite,
}

impl Processes {
    fn play(&self, node: &Node, rows: &mut Vec<Row>) -> Result<(), String> {
        settle(node);
        let sides = [Side::ours("ours"), Side::of(self.other, "go").second()];
        let hosts = sides.each_ref().map(|side| Host::boot(node, side));
        let netns = sides.each_ref().map(|side| node.netns(side.name));
        let container = |side: usize| Container { netns: &netns[side], port: 8000 };
        let add = |side: usize| hosts[side].add(&self.chain, container(side), Quantity::Processes);
        let first = pair(0, add)?;
        let del = |side: usize| hosts[side].del(&self.chain, container(side), &first[side].0, Quantity::Processes);
        let deleted = pair(0, del)?;
        let mut row = |what: &str, values: [f64; 2]| {
            let name = format!("{}  {what}", self.name);
            rows.push(Row { section: Section::Processes, name, pairs: vec![values], goal: Some(0.0) });
        };
        row("first ADD", first.map(|(_, value)| value));
        row(Verb::Del.name(), deleted);
        row(Verb::Add.name(), pair(0, add)?.map(|(_, value)| value));
        Ok(())
    }
}

impl Measurement for Processes {
    fn name(&self) -> &'static str {
        self.name
    }

    fn suites(&self) -> [Suite; 2] {
        [Suite::Ours, self.other]
    }

    fn measure(&self, _: usize, rows: &mut Vec<Row>) -> Result<(), String> {
        Node::run_messy(|node| self.play(node, rows))
    }
}
