//! Taking the place of a monitor that was killed.
//!
//! The new monitor is not the container's parent: that is now whoever inherits orphans. So it cannot wait for it, but a
//! process descriptor tells of the end. The status is in the table of processes until somebody has reaped the process, and
//! since Linux 6.15 the descriptor tells it afterwards. With an older kernel and a quick reaper it is unknown, which is what
//! is written down then.

use std::os::fd::{AsFd, OwnedFd};
use std::process::{Command, Stdio};

use nix::poll::PollTimeout;
use nix::unistd::Pid;

use crate::cgroup;
use crate::error::{Context, Error, Result};
use crate::id::Name;
use crate::moment::Moment;
use crate::process::signals::Signals;
use crate::spec::Dirs;
use crate::state::{Container, Exit, Info, Store, Task, info, recover};
use crate::sys;
use crate::sys::clone::{Cloned, fork};

use super::{Monitor, isolate};

/// Starts a monitor for container `id`, whose lock must be free.
pub(crate) fn spawn(id: &Name, dirs: &Dirs) -> Result<()> {
    let mut command = Command::new("/proc/self/exe");
    command.arg("--root").arg(&dirs.data).arg("--state-dir").arg(&dirs.state).arg("--netns-dir").arg(&dirs.netns);
    command.arg("--cni-conf-dir").arg(&dirs.conf);
    command.arg("monitor").arg(id.as_str());
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).status();
    match status.context(|| format!("start a monitor for container {}", id.short()))? {
        status if status.success() => Ok(()),
        status => Err(Error::new(format!("the monitor for container {} could not be started: {status}", id.short()))),
    }
}

/// What `xnet monitor ID` does: becomes the monitor of the container, unless it has one. Comes back in the caller at once.
pub(crate) fn run(id: &Name, dirs: &Dirs) -> Result<()> {
    let store = Store::open(dirs)?;
    // Taken before the fork, so that whoever has started this finds the container owned.
    let Some(container) = store.own(id)? else { return Ok(()) };
    let Some(info) = container.info() else { return store.release(container) };
    match fork().context(|| "start the monitor")? {
        Cloned::Parent { .. } => Ok(()),
        Cloned::Child => {
            let attended = attend(&store, dirs, container, info);
            sys::exit_now(attended.map_or_else(|error| error.status.code(), |()| 0))
        }
    }
}

fn attend(store: &Store, dirs: &Dirs, container: Container, info: Info) -> Result<()> {
    isolate(&container, None)?;
    let spec = container.spec()?;
    let monitor = Monitor { store, dirs, spec: &spec, signals: Signals::block()? };
    let ended = match info.task().open() {
        Some(pidfd) => {
            container.publish(&Info { monitor: Task::of(Pid::this()), ..info.clone() })?;
            watch(&pidfd, &container, &info)
        }
        None => recover::last(&container, &info),
    };
    monitor.go_on(container, Ok(ended), &mut |_| ());
    Ok(())
}

/// Waits for the end of the process behind `pidfd`, and for its status.
fn watch(pidfd: &OwnedFd, container: &Container, info: &Info) -> Exit {
    info::has_ended_within(pidfd, PollTimeout::NONE);
    let finished_at = Moment::now();
    let exit_code = status(pidfd, info.task());
    let unknown =
        "the exit status is unknown: the container's monitor was killed, and the kernel has not kept the status";
    Exit {
        exit_code,
        started_at: Some(info.started_at),
        finished_at: Some(finished_at),
        error: exit_code.map_or_else(|| unknown.to_owned(), |_| String::new()),
        restarts: info.restarts,
        stopped: container.is_stopping(),
        oom_killed: cgroup::stats::oom_kills(&container.cgroups()) > 0,
    }
}

/// The exit status of a process that has ended: from the table of processes until it has been reaped, from the descriptor
/// afterwards.
fn status(pidfd: &OwnedFd, task: Task) -> Option<u8> {
    task.zombie_status().or_else(|| sys::pidfd::exit_status(pidfd.as_fd()).ok().flatten())
}
