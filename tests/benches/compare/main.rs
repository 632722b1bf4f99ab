//! Our plugins against the Go suite, side by side: time, memory, size.
//!
//! What is timed is what a runtime pays: a whole process, from its start to its end, with the configuration on its
//! input and the answer on its output. A machine drifts while it is measured (other work, clock, caches), and the drift
//! is easily larger than a difference. So nothing is measured alone: a sample is a pair, one call of each side directly
//! after the other, the side that begins alternates, and the ratio is taken pair by pair. The table shows the median of
//! these ratios; the medians and ranges of both sides are there to be read, not to be divided.
//!
//! A [`case::Case`] plays on a private machine (the harness's `Node`), so that the host stays untouched, and each side has
//! a namespace of its own as its host, a network, a bridge, a subnet and a data directory, so that no side pays for the
//! other's state. Every attachment gets a fresh namespace. They are made before the first sample and let go after the last, because the
//! kernel tears namespaces down behind the scenes and under locks that plugins need; [`settle`] waits for the end of
//! that. The first round is not counted: it creates bridges, tables, indexes, and warms caches.
//!
//! Memory is measured in rounds of its own, because that needs a process in between; see [`peak`]. Processes are counted
//! in a case of their own; see [`processes`].
//!
//! Debian's Go suite has no nftables back ends. What is compared with those needs a newer one, which `make deps` puts
//! beside it where it can be had; without it these cases are left out, and the table says so.
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
mod connections;
mod host;
mod json;
mod leases;
mod machine;
mod mappings;
mod measurement;
mod peak;
mod processes;
mod row;
mod runners;
mod settle;
mod side;
mod sizes;
mod table;

use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use measurement::{Measurement, Outcome};
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
    let mut remarks = Vec::new();
    let mut code = ExitCode::SUCCESS;
    let runners = runners::all();
    let cases = cases::all();
    let all = cases.iter().map(AsRef::as_ref).chain(runners.iter().map(|one| one as &dyn Measurement));
    for one in all.filter(|one| is_wanted(one.name(), filters)) {
        eprintln!("measuring {} ...", one.name());
        match measurement::play(one, pairs, &mut rows) {
            Outcome::Measured => {}
            Outcome::Impossible => {
                remarks.push(format!("NOT MEASURED: {}: there is no newer Go suite here", one.name()));
            }
            Outcome::Failed(failure) => {
                eprintln!("FAILED: {failure}");
                remarks.push(format!("FAILED: {}: {failure}", one.name()));
                code = ExitCode::FAILURE;
            }
        }
    }
    rows.extend(sizes::rows());
    table::print(&rows, &remarks);
    write_json(&machine, &rows);
    code
}

fn is_wanted(name: &str, filters: &[String]) -> bool {
    filters.is_empty() || filters.iter().any(|filter| name.contains(filter.as_str()))
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
