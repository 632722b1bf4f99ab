//! What is done to containers that are there: started, ended, signalled, frozen, removed.

use std::os::fd::AsFd;
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::libc;
use nix::poll::PollTimeout;

use crate::cgroup;
use crate::error::{Error, Result};
use crate::id::Name;
use crate::io::attach::{Options, Outcome};
use crate::monitor;
use crate::spec::{Dirs, Signal};
use crate::state::{Container, Record, Status, Store, View, info, log, undo};
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
    if force && view.as_ref().is_ok_and(|view| view.status.is_alive() || view.status == Status::Restarting) {
        end_with(store, id, Signal::KILL, Some(Duration::ZERO))?;
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
    container.record(&Record::Container { data: container.data.clone() })?;
    undo::finish(store, container, false)
}

/// Gives a container another name, whether it runs or not.
pub(crate) fn rename(store: &Store, id: &Name, name: &Name) -> Result<()> {
    store.rename(id, name)
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
pub(crate) fn stop(store: &Store, id: &Name, signal: Option<Signal>, timeout: Option<Duration>) -> Result<Stopped> {
    let life = store.spec(id)?.life;
    let timeout = timeout.unwrap_or_else(|| Duration::from_secs(life.stop_timeout.into()));
    end_with(store, id, signal.unwrap_or(life.stop_signal), Some(timeout))
}

fn end_with(store: &Store, id: &Name, signal: Signal, timeout: Option<Duration>) -> Result<Stopped> {
    let view = View::of(store, id)?;
    let Some(run) = &view.run else { return Ok(Stopped::Already) };
    store.mark_stopping(id)?;
    let stopped = match run.task().open() {
        Some(pidfd) => {
            let minds = crate::process::signals::minds(nix::unistd::Pid::from_raw(run.pid), signal.number());
            let _ = sys::signal::send(pidfd.as_fd(), signal.number());
            thaw(&view);
            let patience = timeout.map_or(PollTimeout::NONE, |t| PollTimeout::try_from(t).unwrap_or(PollTimeout::MAX));
            if info::has_ended_within(&pidfd, patience) {
                Stopped::Gracefully
            } else {
                let _ = sys::signal::send(pidfd.as_fd(), libc::SIGKILL);
                Stopped::Killed { ignored: !minds }
            }
        }
        None => Stopped::Gracefully,
    };
    // It may be waiting to start the container again.
    run.monitor.signal(libc::SIGTERM);
    await_release(store, id)?;
    Ok(stopped)
}

/// What has a signal in its queue must run to see it.
fn thaw(view: &View) {
    if view.status == Status::Paused {
        let _ = cgroup::freeze::set(&view.cgroups, false);
    }
}

/// Waits until nobody owns the container.
fn await_release(store: &Store, id: &Name) -> Result<()> {
    let start = Instant::now();
    while store.is_owned(id) {
        if start.elapsed() > PATIENCE {
            return Err(Error::new(format!("the container {} has ended, but its xnet does not", id.short())));
        }
        sleep(TICK);
    }
    Ok(())
}

/// Sends a signal to the first process of a container that runs.
pub(crate) fn kill(store: &Store, id: &Name, signal: Signal) -> Result<()> {
    let view = View::of(store, id)?;
    let task = view.run.as_ref().map(|run| run.task());
    let Some(pidfd) = task.and_then(info::Task::open) else {
        return Err(Error::new(format!("the container {} is not running", view.called())));
    };
    if signal == Signal::KILL || signal == view.spec.life.stop_signal {
        store.mark_stopping(id)?;
    }
    sys::signal::send(pidfd.as_fd(), signal.number())
        .map_err(|errno| Error::new(format!("signal the container {}: {}", view.called(), errno.desc())))?;
    if signal == Signal::KILL {
        thaw(&view);
    }
    Ok(())
}

/// Freezes a container, or lets it go on.
pub(crate) fn freeze(store: &Store, id: &Name, frozen: bool) -> Result<()> {
    let view = View::of(store, id)?;
    match (view.status, frozen) {
        (Status::Running, true) | (Status::Paused, false) => cgroup::freeze::set(&view.cgroups, frozen),
        (Status::Paused, true) => Err(Error::new(format!("the container {} is already paused", view.called()))),
        (Status::Running, false) => Err(Error::new(format!("the container {} is not paused", view.called()))),
        _ => Err(Error::new(format!("the container {} is not running", view.called()))),
    }
}

/// Waits for the end of a container's present run. Answers its exit status; none if nobody knows it. One that does not
/// run has ended already.
pub(crate) fn wait(store: &Store, id: &Name) -> Result<Option<u8>> {
    let view = View::of(store, id)?;
    let ended = || view.exit.as_ref().and_then(|exit| exit.exit_code);
    // Opened before the end is waited for: it can be read to its end even when its name is gone, as with --rm.
    let Ok(mut log) = std::fs::File::open(view.state.join("log")) else { return Ok(ended()) };
    let Some(run) = &view.run else { return Ok(ended()) };
    if let Some(pidfd) = run.task().open() {
        info::has_ended_within(&pidfd, PollTimeout::NONE);
    }
    let mut text = String::new();
    loop {
        let owned = store.is_owned(id);
        std::io::Read::read_to_string(&mut log, &mut text).map_err(|error| Error::new(error.to_string()))?;
        let records = log::parse(&text)?;
        if let Some(Record::Ended { exit }) = records.into_iter().rev().find(|r| matches!(r, Record::Ended { .. })) {
            return Ok(exit.exit_code);
        }
        if !owned {
            return Ok(None);
        }
        sleep(TICK);
    }
}
