//! The peak memory of a call: the largest resident set of any process of it, the delegates included.
//!
//! The kernel tells it to the parent, but not of one child among many: safe code can only ask for the largest of all
//! children so far. So this program starts itself once more, and that starts the plugin as its only child and asks for
//! its children's peak.
//!
//! A process starts with the peak of the memory that it had before `execve`, which folds it into the new image's
//! (`exec_mmap` in the kernel's `fs/exec.c`). After `vfork`, which the standard library takes when it can, that is all
//! of the parent's, and more than a small plugin needs. After `fork` it is only what the child was given a copy of or
//! has touched, about 0.4 MiB here. A user id to change to, be it the same one, makes the standard library fork.

use std::io::{Write, stderr};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use nix::sys::resource::{UsageWho, getrusage};
use nix::unistd::getuid;

use crate::call::{Call, Done};

/// The first argument of the process in between; the plugin's path is the second.
pub(crate) const FLAG: &str = "--peak";

/// Runs a call with the process in between. Returns the answer and MiB.
pub(crate) fn run(call: &Call) -> Result<(Done, f64), String> {
    let mut command = Command::new("/proc/self/exe");
    command.arg(FLAG).arg(call.binary());
    let done = call.run_as(command)?;
    let peak = told(&done.stderr)?;
    Ok((done, peak))
}

/// Runs a command with the process in between. Returns MiB.
pub(crate) fn of(command: Command) -> Result<f64, String> {
    let mut between = Command::new("/proc/self/exe");
    between.arg(FLAG).arg(command.get_program()).args(command.get_args());
    let output = between.output().map_err(|error| format!("start {between:?}: {error}"))?;
    told(&String::from_utf8_lossy(&output.stderr))
}

/// The kernel tells KiB.
fn told(stderr: &str) -> Result<f64, String> {
    let last = stderr.lines().next_back().unwrap_or_default();
    let peak =
        last.strip_prefix(FLAG).and_then(|text| text.trim().parse().ok()).map(|kib: u32| f64::from(kib) / 1024.0);
    peak.ok_or_else(|| format!("the peak of memory has not been told, but {last:?}"))
}

/// What the process in between does: it lends its streams to the plugin, and adds a line to the log.
pub(crate) fn launch(args: &[String]) -> ExitCode {
    let status = Command::new(&args[0]).args(&args[1..]).uid(getuid().as_raw()).status();
    let status = status.unwrap_or_else(|error| panic!("start {}: {error}", args[0]));
    let peak = getrusage(UsageWho::RUSAGE_CHILDREN).expect("ask for the usage").max_rss();
    writeln!(stderr(), "{FLAG} {peak}").expect("write to stderr");
    if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
