//! The peak memory of a call: the largest resident set of any process of it, the delegates included.
//!
//! The kernel tells it to the parent, but not of one child among many: safe code can only ask for the largest of all
//! children so far. And a process starts with the peak of the one that it was spawned from, because `execve` folds
//! the old image's peak into the new one's. So this program starts itself once more, which is small then, lets that
//! start the plugin as its only child, and asks for its children's peak. The small one's own size stays the least
//! figure that can be seen; it is well below that of any plugin.

use std::io::{Write, stderr};
use std::process::{Command, ExitCode};

use nix::sys::resource::{UsageWho, getrusage};

use crate::call::{Call, Done};

/// The first argument of the process in between; the plugin's path is the second.
pub(crate) const FLAG: &str = "--peak";

/// Runs a call with the process in between. Returns the answer and KiB.
pub(crate) fn run(call: &Call) -> Result<(Done, u64), String> {
    let mut command = Command::new("/proc/self/exe");
    command.arg(FLAG).arg(call.binary());
    let done = call.run_as(command)?;
    let last = done.stderr.lines().next_back().unwrap_or_default();
    let peak = last.strip_prefix(FLAG).and_then(|text| text.trim().parse().ok());
    peak.map(|peak| (done, peak)).ok_or_else(|| "the peak of memory has not been told".to_owned())
}

/// What the process in between does: it lends its streams to the plugin, and adds a line to the log.
pub(crate) fn launch(args: &[String]) -> ExitCode {
    let status = Command::new(&args[0]).status();
    let status = status.unwrap_or_else(|error| panic!("start {}: {error}", args[0]));
    let peak = getrusage(UsageWho::RUSAGE_CHILDREN).expect("ask for the usage").max_rss();
    writeln!(stderr(), "{FLAG} {peak}").expect("write to stderr");
    if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
