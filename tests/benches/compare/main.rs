//! Our plugins against the Go suite, side by side: time, memory, size.
//!
//! What is timed is what a runtime pays: a whole process, from its start to its end, with the configuration on its
//! input and the answer on its output. A machine drifts while it is measured (other work, clock, caches), and the drift
//! is easily larger than a difference. So nothing is measured alone: a sample is a pair, one call of each side directly
//! after the other, the side that begins alternates, and the ratio is taken pair by pair. The table shows the median of
//! these ratios; the medians and ranges of both sides are there to be read, not to be divided.
//!
//! A [`case::Case`] plays on a private machine (the harness's `Node`), so that the host stays untouched, and each side has
//! a network, a bridge, a subnet and a data directory of its own, so that no side pays for the other's state. Every
//! attachment gets a fresh namespace. They are made before the first sample and let go after the last, because the
//! kernel tears namespaces down behind the scenes and under locks that plugins need; [`settle`] waits for the end of
//! that. The first round is not counted: it creates bridges, tables, indexes, and warms caches.
//!
//! Memory is measured in rounds of its own, because that needs a process in between; see [`peak`].
//!
//! Goals are printed beside the figures, and a missed one is said clearly, but is no failure: a figure of a shared
//! machine is no verdict. A plugin that fails is one.
//!
//!     make bench                                       all
//!     cargo bench -p xnet-tests -- loopback            the cases whose name has this in it
//!     XNET_BENCH_PAIRS=200                             more pairs than the usual 40; slow cases take a fraction of them
//!     XNET_BENCH_JSON=path                             the figures also as lines of JSON
//!     XNET_BIN_DIR=/usr/lib/cni                        Go against Go: how far off a ratio can be by chance

mod call;
mod case;
mod cases;
mod json;
mod leases;
mod machine;
mod peak;
mod row;
mod settle;
mod side;
mod sizes;
mod table;

use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use case::Case;
use row::Row;

const PAIRS: usize = 40;

fn main() -> ExitCode {
    let mut args: Vec<String> = env::args().skip(1).collect();
    if args.first().is_some_and(|arg| arg == peak::FLAG) {
        return peak::launch(&args[1..]);
    }
    if !args.iter().any(|arg| arg == "--bench") {
        println!("nothing is measured in a test run; use make bench");
        return ExitCode::SUCCESS;
    }
    args.retain(|arg| !arg.starts_with("--"));
    compare(&args)
}

fn compare(filters: &[String]) -> ExitCode {
    let pairs = pairs();
    let machine = machine::describe();
    println!("{machine}\n");
    let mut rows = Vec::new();
    let mut failures = Vec::new();
    for case in cases::all().iter().filter(|case| is_wanted(case, filters)) {
        eprintln!("measuring {} ...", case.name());
        if let Err(failure) = case.measure(pairs, &mut rows) {
            eprintln!("FAILED: {failure}");
            failures.push(format!("{}: {failure}", case.name()));
        }
    }
    rows.extend(sizes::rows());
    table::print(&rows, &failures);
    write_json(&machine, &rows);
    if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn is_wanted(case: &Case, filters: &[String]) -> bool {
    filters.is_empty() || filters.iter().any(|filter| case.name().contains(filter.as_str()))
}

fn pairs() -> usize {
    let Ok(text) = env::var("XNET_BENCH_PAIRS") else { return PAIRS };
    let pairs = text.parse().ok().filter(|pairs| *pairs > 0);
    pairs.unwrap_or_else(|| panic!("XNET_BENCH_PAIRS is a number from 1, not {text:?}"))
}

fn write_json(machine: &str, rows: &[Row]) {
    let Some(path) = env::var_os("XNET_BENCH_JSON").map(PathBuf::from) else { return };
    fs::write(&path, json::lines(machine, rows)).unwrap_or_else(|error| panic!("write {}: {error}", path.display()));
}
