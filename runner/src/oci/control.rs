//! What is done to containers that are there.

use std::fs;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::Pid;
use oci_spec::runtime::LinuxResources;
use serde_json::{Value, json};

use crate::cgroup::systemd::Unit;
use crate::cgroup::{self, Group, freeze};
use crate::error::{Context, Error, Result};
use crate::process::signals::{self, Signals};
use crate::service::notify::{self, Notify};
use crate::spec::Signal;
use crate::state::info::has_ended_within;
use crate::sys;

use super::bundle::Bundle;
use super::plan::Plan;
use super::state::{Held, Home, Record, Status};
use super::{bundle, convert, gate, hooks};

/// How long a killed process may take to end, in milliseconds.
const PATIENCE: u16 = 10_000;

/// The configuration as it was when the container was created.
fn plan(held: &Held) -> Result<Plan> {
    let kept = Bundle::kept(&held.dir, &held.record.bundle)?;
    convert::plan(&kept, &held.record.id, held.record.systemd)
}

/// What has come of starting a container.
#[derive(Debug, Default)]
pub(crate) struct Started {
    /// Failures of hooks, that change nothing any more.
    pub(crate) warnings: Vec<Error>,
    /// The line to a manager of services, which somebody must attend.
    pub(crate) notify: Option<Notify>,
}

/// Lets a created container go on. What it has to say goes to `manager`, with its first process as the main one of the service
/// if that is to be `detached` from this one.
pub(crate) fn start(home: &Home, id: &str, manager: Option<&str>, detached: bool) -> Result<Started> {
    let held = home.hold(id)?;
    match held.status() {
        Status::Created => {}
        Status::Stopped => return Err(Error::new("cannot start a container that has stopped")),
        status => return Err(Error::new(format!("cannot start a container in the state {status}"))),
    }
    let plan = plan(&held)?;
    let main = detached.then_some(held.record.init.pid.cast_unsigned());
    let manager = manager.filter(|_| notify::is_prepared(&held.dir));
    let notify = manager.map(|manager| Notify::open(&held.dir, manager, main)).transpose()?;
    gate::open_for(&held.dir)?;
    let warnings = hooks::run_all("poststart", &plan.hooks.poststart, &held.for_hooks(Status::Running));
    Ok(Started { warnings, notify })
}

/// Passes on what a container says until it is ready, or has ended.
pub(crate) fn await_ready(home: &Home, id: &str, notify: Option<&Notify>) -> Result<()> {
    let Some(notify) = notify else { return Ok(()) };
    let (_, record) = home.read(id)?;
    while let Some(pidfd) = record.init.open() {
        let mut fds = [PollFd::new(notify.as_fd(), PollFlags::POLLIN), PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
        let _ = poll(&mut fds, PollTimeout::NONE);
        if notify.relay() {
            break;
        }
    }
    Ok(())
}

/// The state, as `state` prints it.
pub(crate) fn state(home: &Home, id: &str) -> Result<Value> {
    let (dir, record) = home.read(id)?;
    Ok(record.shown(record.status(&dir)))
}

/// All containers, as `list` shows them.
pub(crate) fn list(home: &Home) -> Result<Vec<Value>> {
    Ok(home.all()?.into_iter().map(|(dir, record)| record.shown(record.status(&dir))).collect())
}

/// Sends a signal to the first process, or to all.
pub(crate) fn kill(home: &Home, id: &str, signal: Signal, all: bool) -> Result<()> {
    let (dir, record) = home.read(id)?;
    let status = record.status(&dir);
    if all {
        return kill_all(&record, signal);
    }
    let sent = match record.init.open() {
        Some(pidfd) if status != Status::Stopped => sys::signal::send(pidfd.as_fd(), signal.number()),
        _ => return Err(Error::new(format!("container not running: {id} has stopped"))),
    };
    sent.context(|| format!("signal the container {id}"))?;
    // What is frozen must run to see its end.
    if status == Status::Paused && signal == Signal::KILL {
        freeze::set(&record.groups, false)?;
    }
    Ok(())
}

fn kill_all(record: &Record, signal: Signal) -> Result<()> {
    if signal == Signal::KILL {
        return cgroup::kill(&record.groups);
    }
    for pid in pids(record) {
        let Ok(pidfd) = sys::signal::pidfd_open(Pid::from_raw(pid)) else { continue };
        if pids(record).contains(&pid) {
            let _ = sys::signal::send(pidfd.as_fd(), signal.number());
        }
    }
    Ok(())
}

/// The processes of a container, groups below its own included.
pub(crate) fn pids(record: &Record) -> Vec<i32> {
    fn collect(dir: &Path, pids: &mut Vec<i32>) {
        let text = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
        pids.extend(text.lines().filter_map(|line| line.parse::<i32>().ok()));
        let entries = fs::read_dir(dir).into_iter().flatten().flatten();
        entries.filter(|e| e.file_type().is_ok_and(|kind| kind.is_dir())).for_each(|e| collect(&e.path(), pids));
    }
    let mut pids = Vec::new();
    record.groups.iter().for_each(|dir| collect(dir, &mut pids));
    pids.sort_unstable();
    pids.dedup();
    pids
}

/// The processes of a container that runs.
pub(crate) fn processes(home: &Home, id: &str) -> Result<Vec<i32>> {
    home.read(id).map(|(_, record)| pids(&record))
}

/// Removes a container that has stopped or was never started; with `force`, any. Answers what hooks had to say.
pub(crate) fn delete(home: &Home, id: &str, force: bool) -> Result<Vec<Error>> {
    let held = match home.hold(id) {
        Ok(held) => held,
        Err(_) if home.remove_unwritten(id)? => return Ok(Vec::new()),
        Err(error) if home.read(id).is_err() && force => {
            return if error.message.contains("does not exist") { Ok(Vec::new()) } else { Err(error) };
        }
        Err(error) => return Err(error),
    };
    match held.status() {
        Status::Stopped | Status::Created => {}
        status if force || status == Status::Creating => {}
        status => return Err(Error::new(format!("cannot delete container {id} that is not stopped: {status}"))),
    }
    let (plan, state) = (plan(&held), held.for_hooks(Status::Stopped));
    remove(held)?;
    Ok(plan.map_or_else(|error| vec![error], |plan| hooks::run_all("poststop", &plan.hooks.poststop, &state)))
}

/// Ends all processes and removes all that was made. What fails is said, and can be tried again.
pub(super) fn remove(held: Held) -> Result<()> {
    let record = &held.record;
    if freeze::is_frozen(&record.groups) {
        freeze::set(&record.groups, false)?;
    }
    if !record.init.kill(PATIENCE) {
        return Err(Error::new(format!("process {} does not end", record.init.pid)));
    }
    // If it was our own child nobody else will take its status.
    if let Ok(pidfd) = sys::signal::pidfd_open(Pid::from_raw(record.init.pid.max(1))) {
        let _ = sys::signal::reap(Some(pidfd.as_fd()));
    }
    cgroup::kill(&record.groups)?;
    cgroup::remove_trees(&record.groups)?;
    record.scope.as_ref().map_or(Ok(()), Unit::stop)?;
    held.forget()
}

/// Stops all processes where they are, or lets them go on.
pub(crate) fn freeze(home: &Home, id: &str, frozen: bool) -> Result<()> {
    let held = home.hold(id)?;
    match (held.status(), frozen) {
        (Status::Running | Status::Created, true) | (Status::Paused, false) => freeze::set(&held.record.groups, frozen),
        (status, true) => Err(Error::new(format!("container not running: it is {status}"))),
        (_, false) => Err(Error::new("container not paused")),
    }
}

/// Changes the limits of a container to what the JSON text `resources` says; what it does not name stays.
pub(crate) fn update(home: &Home, id: &str, resources: &[u8]) -> Result<()> {
    let held = home.hold(id)?;
    if held.status() == Status::Stopped {
        return Err(Error::new("container not running: its limits cannot be changed"));
    }
    let asked: LinuxResources = bundle::decode(resources, Path::new("resources"))?;
    let limits = convert::resources(&asked)?;
    let hierarchies = cgroup::of_host()?;
    held.record.scope.as_ref().map_or(Ok(()), |unit| unit.set(&limits))?;
    Group::at(&hierarchies, &held.record.group).apply(&limits)
}

/// The text behind `--resources`: a file, or standard input.
pub(crate) fn resources(path: &Path) -> Result<Vec<u8>> {
    if path == Path::new("-") {
        let mut text = Vec::new();
        std::io::stdin().read_to_end(&mut text).context(|| "read standard input")?;
        return Ok(text);
    }
    bundle::read(path)
}

/// Waits for the first process of a container that was created by this process, and passes signals on to it. Answers its
/// exit status.
pub(crate) fn attend(home: &Home, id: &str, signals: &Signals, notify: Option<&Notify>) -> Result<u8> {
    let (_, record) = home.read(id)?;
    let pid = Pid::from_raw(record.init.pid);
    let pidfd = sys::signal::pidfd_open(pid).context(|| "open the container's first process")?;
    wait(&pidfd, pid, signals, notify)
}

/// Waits for the end of a child, and passes signals on to it, and its words to a manager of services.
pub(super) fn wait(pidfd: &OwnedFd, pid: Pid, queue: &Signals, notify: Option<&Notify>) -> Result<u8> {
    loop {
        let sources = [Some(queue.as_fd()), Some(pidfd.as_fd()), notify.map(AsFd::as_fd)];
        let mut fds: Vec<_> = sources.into_iter().flatten().map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
        match poll(&mut fds, PollTimeout::NONE) {
            Err(nix::Error::EINTR) => continue,
            answer => drop(answer.context(|| "wait for the process")?),
        }
        notify.map(Notify::relay);
        for number in queue.drain()? {
            signals::forward(pidfd.as_fd(), pid, number);
        }
        if has_ended_within(pidfd, Duration::ZERO) {
            let ended = sys::signal::reap(Some(pidfd.as_fd())).context(|| "wait for the process")?;
            return Ok(ended.map_or(0, |(_, code)| code));
        }
    }
}

/// A line for people about a process, by its number.
pub(crate) fn describe(pid: i32) -> Option<Value> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let field = |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
        line.split_whitespace().next().map(str::to_owned)
    };
    let words = fs::read(PathBuf::from(format!("/proc/{pid}/cmdline"))).ok()?;
    let words = String::from_utf8_lossy(&words).trim_end_matches('\0').replace('\0', " ");
    let command = if words.is_empty() { field("Name").unwrap_or_default() } else { words };
    Some(json!({"uid": field("Uid")?, "pid": pid, "ppid": field("PPid")?, "command": command}))
}
