//! What is done to containers that are there: started, ended, signalled, frozen, removed.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::libc;
use nix::unistd::Pid;

use crate::cgroup;
use crate::error::{Context, Error, Result};
use crate::id::Name;
use crate::io::attach::{Options, Outcome};
use crate::moment::Moment;
use crate::monitor;
use crate::net;
use crate::process::signals;
use crate::spec::{Dirs, Signal};
use crate::state::{Container, Exit, Record, Status, Store, View, Wish, events, info, log, undo};
use crate::sys;

use super::Warn;

/// Takes a container that does not run. Waits for one that is about to end.
fn own_stopped(store: &Store, id: &Name) -> Result<Container> {
    let start = Instant::now();
    loop {
        if let Some(container) = store.own(id)? {
            return Ok(container);
        }
        let view = View::of(store, id)?;
        if view.status.is_alive() || view.status == Status::Restarting {
            return Err(Error::new(format!("the container {} is {}", view.called(), view.status)));
        }
        if start.elapsed() > PATIENCE {
            return Err(Error::new(format!("another xnet is busy with the container {}", view.called())));
        }
        sleep(TICK);
    }
}

/// How long the end of a container may take after its last process has ended: plugins may have to run.
const PATIENCE: Duration = Duration::from_secs(60);
const TICK: Duration = Duration::from_millis(2);

/// Starts a container that does not run, with a monitor. One that runs already is left alone.
pub(crate) fn start(store: &Store, dirs: &Dirs, id: &Name) -> Result<()> {
    if View::of(store, id)?.status.is_alive() {
        return Ok(());
    }
    let container = begin(store, id)?;
    let spec = container.spec()?;
    monitor::spawn(store, dirs, container, &spec, None)
}

/// Starts a container that does not run, and stays until it has ended.
pub(crate) fn start_attached(
    store: &Store,
    dirs: &Dirs,
    id: &Name,
    options: &Options,
    warn: Warn<'_>,
) -> Result<Outcome> {
    let container = begin(store, id)?;
    super::start_attached(store, container, dirs, options, warn)
}

fn begin(store: &Store, id: &Name) -> Result<Container> {
    let mut container = own_stopped(store, id)?;
    if container.spec()?.life.auto_remove {
        container.record(&Record::Container { data: container.data.clone() })?;
    }
    Ok(container)
}

/// Removes a container that does not run, or, with `force`, any. With `volumes`, those that were made for it go, too.
pub(crate) fn remove(store: &Store, id: &Name, force: bool, volumes: bool) -> Result<()> {
    let view = View::of(store, id);
    if force && view.is_ok() {
        end_with(store, id, Signal::KILL, Duration::ZERO, Wish::Person)?;
        if !store.data(id).is_dir() {
            return Ok(());
        }
    }
    let mut container = own_stopped(store, id).map_err(|error| match view.map(|view| view.status) {
        Ok(status) if !force && status.is_alive() => {
            Error::new(format!("{}: stop it first, or use --force", error.message))
        }
        _ => error,
    })?;
    if !volumes {
        container.keep_volumes()?;
    }
    let spec = container.spec();
    container.record(&Record::Container { data: container.data.clone() })?;
    undo::finish(store, container, false)?;
    if let Ok(spec) = spec {
        events::append(store, &spec, "destroy", &[]);
    }
    Ok(())
}

/// Gives a container another name, whether it runs or not.
pub(crate) fn rename(store: &Store, id: &Name, name: &Name) -> Result<()> {
    let old = store.spec(id)?.name.map(|name| name.to_string()).unwrap_or_default();
    store.rename(id, name)?;
    net::link::rename(store, id, name)?;
    events::append(store, &store.spec(id)?, "rename", &[("oldName", old)]);
    Ok(())
}

/// How an attempt to stop has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stopped {
    /// It did not run.
    Already,
    /// It has ended of the signal.
    Gracefully,
    /// It had to be killed.
    Killed {
        /// Whether the first process has no handler for the signal, so that the kernel never gave it to it.
        ignored: bool,
    },
}

/// Ends a container: with its stop signal, and after `timeout` (its own by default) without mercy. Comes back when it has ended
/// and what its run has made is gone.
pub(crate) fn stop(
    store: &Store,
    id: &Name,
    signal: Option<Signal>,
    timeout: Option<Duration>,
    wish: Wish,
) -> Result<Stopped> {
    let life = store.spec(id)?.life;
    let timeout = timeout.unwrap_or_else(|| Duration::from_secs(life.stop_timeout.into()));
    end_with(store, id, signal.unwrap_or(life.stop_signal), timeout, wish)
}

fn end_with(store: &Store, id: &Name, signal: Signal, timeout: Duration, wish: Wish) -> Result<Stopped> {
    let spec = store.spec(id)?;
    if !store.is_owned(id) || store.info(id).is_none() {
        return Ok(Stopped::Already);
    }
    store.mark_stopping(id, wish)?;
    let mut stopped = Stopped::Gracefully;
    let start = Instant::now();
    while store.is_owned(id) {
        // A monitor that was about to start it again may have done so before it saw the mark.
        let run = store.info(id);
        if let Some(pidfd) = run.as_ref().and_then(|run| run.task().open()) {
            stopped = end_process(&View::of(store, id)?, &pidfd, signal, timeout);
        } else if let Some(run) = run {
            // It may be waiting to start the container again.
            run.monitor.signal(libc::SIGTERM);
        }
        if start.elapsed() > timeout + PATIENCE {
            return Err(Error::new(format!("the container {} has ended, but its xnet does not", id.short())));
        }
        sleep(TICK);
    }
    store.settle()?;
    events::append(store, &spec, "stop", &[]);
    Ok(stopped)
}

fn end_process(view: &View, pidfd: &OwnedFd, signal: Signal, timeout: Duration) -> Stopped {
    let pid = view.run.as_ref().map_or(0, |run| run.pid);
    let minds = signals::minds(Pid::from_raw(pid), signal.number());
    let _ = sys::signal::send(pidfd.as_fd(), signal.number());
    thaw(view);
    if info::has_ended_within(pidfd, timeout) {
        return Stopped::Gracefully;
    }
    let _ = sys::signal::send(pidfd.as_fd(), libc::SIGKILL);
    info::has_ended_within(pidfd, Duration::from_secs(5));
    Stopped::Killed { ignored: !minds }
}

/// What has a signal in its queue must run to see it.
fn thaw(view: &View) {
    if view.status == Status::Paused {
        let _ = cgroup::freeze::set(&view.cgroups, false);
    }
}

/// Sends a signal to the first process of a container that runs.
pub(crate) fn kill(store: &Store, id: &Name, signal: Signal) -> Result<()> {
    let view = View::of(store, id)?;
    let task = view.run.as_ref().map(|run| run.task());
    let Some(pidfd) = task.and_then(info::Task::open) else {
        return Err(Error::new(format!("the container {} is not running", view.called())));
    };
    if signal == Signal::KILL || signal == view.spec.life.stop_signal {
        store.mark_stopping(id, Wish::Person)?;
    }
    sys::signal::send(pidfd.as_fd(), signal.number())
        .map_err(|errno| Error::new(format!("signal the container {}: {}", view.called(), errno.desc())))?;
    events::append(store, &view.spec, "kill", &[("signal", signal.number().to_string())]);
    if signal == Signal::KILL {
        thaw(&view);
    }
    Ok(())
}

/// Freezes a container, or lets it go on.
pub(crate) fn freeze(store: &Store, id: &Name, frozen: bool) -> Result<()> {
    let view = View::of(store, id)?;
    match (view.status, frozen) {
        (Status::Running, true) | (Status::Paused, false) => {
            cgroup::freeze::set(&view.cgroups, frozen)?;
            events::append(store, &view.spec, if frozen { "pause" } else { "unpause" }, &[]);
            Ok(())
        }
        (Status::Paused, true) => Err(Error::new(format!("the container {} is already paused", view.called()))),
        (Status::Running, false) => Err(Error::new(format!("the container {} is not paused", view.called()))),
        _ => Err(Error::new(format!("the container {} is not running", view.called()))),
    }
}

/// Waits for the end of the present run of the container that `reference` means. Answers its exit status; none if nobody
/// knows it. One that does not run has ended already.
pub(crate) fn wait(store: &Store, reference: &str) -> Result<Option<u8>> {
    match store.find(reference) {
        Ok(id) => wait_for(store, &id),
        Err(error) => just_ended(store, reference).ok_or(error),
    }
}

fn wait_for(store: &Store, id: &Name) -> Result<Option<u8>> {
    let mut log = loop {
        // Opened before anything else is looked at: it can be read to its end even when its name is gone, as with --rm.
        match File::open(store.place(id).join("log")) {
            Ok(log) => break log,
            // One log has gone, and the next run's is about to come.
            Err(_) if store.is_owned(id) => sleep(TICK),
            Err(_) => return written(store, id),
        }
    };
    if let Some(pidfd) = store.info(id).and_then(|run| run.task().open()) {
        info::has_ended_within(&pidfd, Duration::MAX);
    }
    let mut text = String::new();
    loop {
        let owned = store.is_owned(id);
        log.read_to_string(&mut text).context(|| "read the container's log")?;
        let ended = log::parse(&text)?.into_iter().rev().find_map(|record| match record {
            Record::Ended { exit } => Some(exit.exit_code),
            _ => None,
        });
        match ended {
            Some(code) => return Ok(code),
            None if !owned => return written(store, id),
            None => sleep(TICK),
        }
    }
}

/// The status on record of a run that is over, whether the container is still there or not.
fn written(store: &Store, id: &Name) -> Result<Option<u8>> {
    match Exit::read(&store.data(id))? {
        Some(exit) => Ok(exit.exit_code),
        None => Ok(events::last_end(store, |event| event["Actor"]["ID"] == id.as_str()).flatten()),
    }
}

/// How the container that `reference` means has ended, if it was there when this process was started, and has gone since. A
/// whole id can mean no other container, whenever it has ended.
fn just_ended(store: &Store, reference: &str) -> Option<Option<u8>> {
    let since = info::birth().map_or(i128::MAX, Moment::nanoseconds);
    events::last_end(store, |event| {
        let (id, name) = (event["Actor"]["ID"].as_str().unwrap_or_default(), &event["Actor"]["Attributes"]["name"]);
        let meanwhile = event["timeNano"].as_i64().is_some_and(|time| i128::from(time) >= since);
        id == reference || meanwhile && (id.starts_with(reference) || name == reference)
    })
}
