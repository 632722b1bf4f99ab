//! Undoing what the log of a container says, newest first.

use std::fs;
use std::os::fd::AsFd;

use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::Pid;

use crate::error::{Error, Result};
use crate::{cgroup, fault, net, sys};

use super::log::Record;
use super::store::{Container, Store};

/// Removes everything that belongs to `container`, and then the container. What fails does not keep the rest from
/// being undone; the container then stays on record, and the next run or `xnet gc` tries again, unless `force` says to
/// forget it all the same.
pub(crate) fn all(store: &Store, container: Container, force: bool) -> Result<()> {
    // Nobody connects it to anything from here on.
    let _quiet = net::link::lock(&container.dir)?;
    let records = container.records()?;
    let mut failures = Vec::new();
    for record in records.iter().rev() {
        fault::point(&format!("undo-{}", record.kind()))?;
        if let Err(error) = one(store, &container, record) {
            failures.push(error.message);
        }
    }
    let short = container.id.short().to_owned();
    if failures.is_empty() || force {
        store.forget(container)?;
    }
    if failures.is_empty() { Ok(()) } else { Err(Error::new(format!("container {short}: {}", failures.join("; ")))) }
}

/// Cleans up after all runners that have died. Answers the ids cleaned, and what went wrong.
pub(crate) fn abandoned(store: &Store, force: bool) -> Result<(Vec<String>, Vec<Error>)> {
    let (mut done, mut failed) = (Vec::new(), Vec::new());
    for container in store.abandoned()? {
        let id = container.id.to_string();
        match all(store, container, force) {
            Ok(()) => done.push(id),
            Err(error) => failed.push(error),
        }
    }
    Ok((done, failed))
}

fn one(store: &Store, container: &Container, record: &Record) -> Result<()> {
    match record {
        Record::Name { name } => store.release(name, &container.id),
        Record::Controllers { control, controllers } => cgroup::restore_controllers(control, controllers),
        Record::Cgroups { dirs } => cgroup::kill(dirs).and_then(|()| cgroup::remove(dirs)),
        Record::Process { pid, start } => kill(Pid::from_raw(*pid), *start),
        Record::Netns { path } => net::pin::release(path),
        Record::Files { dir } => net::hosts::remove(dir),
        Record::Network { network, conflist, plugin_path, ifname, netns } => {
            net::undo(store, container, network, (conflist, plugin_path), (ifname, netns))
        }
    }
}

/// Kills process `pid` if it is the one that was started at `start`, and waits until it is gone.
fn kill(pid: Pid, start: u64) -> Result<()> {
    let Ok(pidfd) = sys::signal::pidfd_open(pid) else { return Ok(()) };
    // Asked for after the descriptor was opened, so the answer is about the process behind it.
    if start_time(pid) != Some(start) {
        return Ok(());
    }
    let _ = sys::signal::send(pidfd.as_fd(), libc::SIGKILL);
    let mut fds = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
    match poll(&mut fds, PollTimeout::from(5000_u16)) {
        Ok(0) => Err(Error::new(format!("process {pid} does not end"))),
        _ => Ok(()),
    }
}

/// When process `pid` was started, in clock ticks since boot.
pub(crate) fn start_time(pid: Pid) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The command's name is in parentheses and may hold anything; the state after it is field 3, the start field 22.
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(19)?.parse().ok()
}

impl Record {
    fn kind(&self) -> &'static str {
        match self {
            Self::Name { .. } => "name",
            Self::Controllers { .. } => "controllers",
            Self::Cgroups { .. } => "cgroups",
            Self::Process { .. } => "process",
            Self::Netns { .. } => "netns",
            Self::Files { .. } => "files",
            Self::Network { .. } => "network",
        }
    }
}
