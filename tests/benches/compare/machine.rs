//! What the figures are of.

use std::fs;
use std::path::Path;
use std::thread;

use harness::Suite;

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

/// The newer Go suite, if there is one, with its version from a file beside the binaries.
fn newer_go() -> String {
    if !Suite::has_newer() {
        return String::new();
    }
    let dir = Suite::Newer.dir();
    format!(", newer Go suite: {} ({})", dir.display(), read(dir.join("VERSION")).trim_end())
}

fn processor() -> String {
    let info = read("/proc/cpuinfo");
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    model.map_or("unknown processor", |(_, model)| model).to_owned()
}

fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(path).unwrap_or_default()
}
