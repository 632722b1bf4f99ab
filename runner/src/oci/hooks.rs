//! Running the engine's programs: with the container's state on standard input, one after the other, each to its end.

use std::io::{ErrorKind, Write};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::unistd::Pid;

use crate::error::{Context, Error, Result};
use crate::state::info::has_ended_within;
use crate::sys;

use super::plan::Hook;

/// Runs `hooks` in order, up to the first that fails. `moment` is their name in the configuration.
pub(super) fn run(moment: &str, hooks: &[Hook], state: &str) -> Result<()> {
    for (at, hook) in hooks.iter().enumerate() {
        one(hook, state).context(|| format!("hook {moment}[{at}] {}", hook.path.display()))?;
    }
    Ok(())
}

/// Runs all of `hooks`, whatever becomes of them. Answers what went wrong.
pub(super) fn run_all(moment: &str, hooks: &[Hook], state: &str) -> Vec<Error> {
    let run = |(at, hook): (usize, &Hook)| {
        one(hook, state).context(|| format!("hook {moment}[{at}] {}", hook.path.display())).err()
    };
    hooks.iter().enumerate().filter_map(run).collect()
}

fn one(hook: &Hook, state: &str) -> Result<()> {
    let mut command = Command::new(&hook.path);
    if let Some((name, args)) = hook.args.split_first() {
        command.arg0(name).args(args);
    }
    let pairs = hook.env.iter().filter_map(|entry| entry.split_once('='));
    command.env_clear().envs(pairs).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().context(|| "start it")?;
    if let Some(mut input) = child.stdin.take() {
        match input.write_all(state.as_bytes()) {
            // Whoever does not read it does not need it.
            Err(error) if error.kind() != ErrorKind::BrokenPipe => return Err(error).context(|| "tell it the state"),
            _ => {}
        }
    }
    if let Some(timeout) = hook.timeout {
        limit(&mut child, timeout)?;
    }
    let output = child.wait_with_output().context(|| "wait for it")?;
    if output.status.success() {
        return Ok(());
    }
    let told = String::from_utf8_lossy(&output.stderr);
    let told: Vec<_> = told.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let told = if told.is_empty() { String::new() } else { format!(": {}", told.join("; ")) };
    Err(Error::new(format!("{}{told}", output.status)))
}

/// Waits for the end of `child`, and kills it if that does not come in time.
fn limit(child: &mut Child, timeout: Duration) -> Result<()> {
    let pid = Pid::from_raw(child.id().cast_signed());
    let pidfd = sys::signal::pidfd_open(pid).context(|| "open the process")?;
    if has_ended_within(&pidfd, timeout) {
        return Ok(());
    }
    let _ = sys::signal::send(pidfd.as_fd(), nix::libc::SIGKILL);
    let _ = child.wait();
    Err(Error::new(format!("it has not ended after {} s", timeout.as_secs())))
}
