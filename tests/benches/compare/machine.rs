//! What the figures are of.

use std::fs;
use std::thread;

use harness::Suite;

use crate::side::Maker;

/// The machine and the suites, in two lines.
pub(crate) fn describe() -> String {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let load = read("/proc/loadavg");
    let load = load.split(' ').next().unwrap_or_default();
    format!(
        "{}, {cores} cores, Linux {}, load {load}\nours: {}, Go suite: {}",
        processor(),
        read("/proc/sys/kernel/osrelease").trim_end(),
        Suite::Ours.dir().display(),
        Suite::Go.dir().display(),
    ) + &newer_go()
}

/// The newer Go suite, if there is one.
fn newer_go() -> String {
    let suite = Maker::NewerGo.dir().zip(Maker::NewerGo.version());
    suite.map(|(dir, version)| format!(", newer Go suite: {}, {version}", dir.display())).unwrap_or_default()
}

fn processor() -> String {
    let info = read("/proc/cpuinfo");
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    model.map_or("unknown processor", |(_, model)| model).to_owned()
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}
