//! Taking the place of a monitor that was killed.
//!
//! The new monitor is not the container's parent: that is now whoever inherits orphans. So it cannot wait for it, but a
//! process descriptor tells of the end. The status is in the table of processes until somebody has reaped the process, and
//! since Linux 6.15 the descriptor tells it afterwards. With an older kernel and a quick reaper it is unknown, which is what
//! is written down then.
//!
//! What the dead monitor held is taken up: the pipes by their names, a terminal from the process that has held it as well
//! ([`crate::io::holder`]), the sockets at published ports by binding new ones.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::{Pid, pipe2};

use crate::cgroup;
use crate::container::end;
use crate::error::{Context, Error, Result};
use crate::id::Name;
use crate::io::pump::Pump;
use crate::io::session::Session;
use crate::moment::Moment;
use crate::net::Connected;
use crate::net::ports::Reserved;
use crate::process::signals::{self, Signals};
use crate::service::Service;
use crate::service::notify::Notify;
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
    // The container has a manager of its own, or none.
    command.env_remove("NOTIFY_SOCKET");
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).status();
    match status.context(|| format!("start a monitor for container {}", id.short()))? {
        status if status.success() => Ok(()),
        status => Err(Error::new(format!("the monitor for container {} could not be started: {status}", id.short()))),
    }
}

/// What `xnet monitor ID` does: becomes the monitor of the container, unless it has one. Comes back in the caller as soon as
/// the container is attended: what waits there goes on, and others can attach.
pub(crate) fn run(id: &Name, dirs: &Dirs) -> Result<()> {
    let store = Store::open(dirs)?;
    // Taken before the fork, so that whoever has started this finds the container owned.
    let Some(container) = store.own(id)? else { return Ok(()) };
    let Some(info) = container.info() else { return store.release(container) };
    let (ours, theirs) = pipe2(OFlag::O_CLOEXEC).context(|| "make a pipe")?;
    match fork().context(|| "start the monitor")? {
        Cloned::Parent { .. } => {
            drop(theirs);
            // Nothing is ever said; what is waited for is the end.
            let _ = File::from(ours).read(&mut [0]);
            Ok(())
        }
        Cloned::Child => {
            drop(ours);
            let attended = attend(&store, dirs, container, info, theirs);
            sys::exit_now(attended.map_or_else(|error| error.status.code(), |()| 0))
        }
    }
}

fn attend(store: &Store, dirs: &Dirs, container: Container, info: Info, report: OwnedFd) -> Result<()> {
    isolate(&container, std::iter::once(report.as_raw_fd()))?;
    let spec = container.spec()?;
    let signals = Signals::block()?;
    let service = Service { notify: info.manager.clone(), ..Service::default() };
    let monitor = Monitor { store, dirs, spec: &spec, signals: &signals, service, detached: true };
    // Without its streams it still must be attended.
    let mut session = Session::adopt(&spec, (&container.dir, &container.data), info.holder).unwrap_or_default();
    let ports = Connected::read(store, &container.id).map(|it| Reserved::again([it.ports, it.waiting].concat()));
    let manager = info.manager.as_deref();
    let notify = manager.and_then(|manager| Notify::open(&container.dir, manager, Some(std::process::id())).ok());
    let life = info.task().open();
    if life.is_some() {
        notify.iter().for_each(Notify::introduce);
        container.publish(&Info { monitor: Task::of(Pid::this()), ..info.clone() })?;
    }
    drop(report);
    let ended = match life {
        Some(pidfd) => {
            sys::memory::give_back();
            watch(&pidfd, &container, &info, session.pump(), notify.as_ref())
        }
        None => recover::last(&container, &info),
    };
    end::tell_unlogged(store, &spec, session.drain(), &mut |_| ());
    // The next run takes its own.
    drop(ports);
    monitor.go_on(container, Ok(ended), &mut session, &mut |_| (), &mut |_| ());
    Ok(())
}

/// Waits for the end of the process behind `pidfd`, and for its status.
fn watch(
    pidfd: &OwnedFd,
    container: &Container,
    info: &Info,
    pump: Option<&mut Pump>,
    notify: Option<&Notify>,
) -> Exit {
    serve_until_end(pidfd, info, pump, notify);
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
        stopped: container.is_stopped_by_person(),
        oom_killed: cgroup::stats::oom_kills(&container.cgroups()) > 0,
    }
}

/// Does for those who are attached, and for the manager of services, what a monitor does.
fn serve_until_end(pidfd: &OwnedFd, info: &Info, mut pump: Option<&mut Pump>, notify: Option<&Notify>) {
    loop {
        let sources = [Some(pidfd.as_fd()), pump.as_deref().map(AsFd::as_fd), notify.map(AsFd::as_fd)];
        let mut fds: Vec<_> = sources.into_iter().flatten().map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
        let _ = poll(&mut fds, PollTimeout::NONE);
        notify.map(Notify::relay);
        if info::has_ended_within(pidfd, Duration::ZERO) {
            return;
        }
        for number in pump.as_deref_mut().map(Pump::turn).transpose().ok().flatten().unwrap_or_default() {
            signals::forward(pidfd.as_fd(), Pid::from_raw(info.pid), number);
        }
    }
}

/// The exit status of a process that has ended: from the table of processes until it has been reaped, from the descriptor
/// afterwards.
fn status(pidfd: &OwnedFd, task: Task) -> Option<u8> {
    task.zombie_status().or_else(|| sys::pidfd::exit_status(pidfd.as_fd()).ok().flatten())
}
