//! Commands in containers that run: `xnet exec`.
//!
//! A command gets the container's namespaces, groups, rights and limits, and a process descriptor and an exit status of its own.
//! Without a terminal and in the foreground it has its caller's streams, and the caller attends it. With a terminal, or in
//! the background, a process of its own does ([`attendant`]): it holds the terminal, so that the caller can detach.

mod attendant;
mod enter;
mod record;

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use nix::sched::CloneFlags;
use nix::sys::prctl;
use nix::unistd::Pid;

use crate::error::{Context, Result};
use crate::io::session::Session;
use crate::io::streams::Stdio;
use crate::process::channel::{self, Born, ParentEnd};
use crate::process::signals::Signals;
use crate::process::wait::Running;
use crate::spec::{Process, Spec};
use crate::state::Task;
use crate::sys;
use crate::sys::clone::{Cloned, clone3};
use crate::trace::{self, Part, told};

use enter::Enter;

pub(crate) use attendant::spawn;
pub(crate) use record::ids;

/// A container that runs, pinned: what is entered is what was looked at.
#[derive(Debug)]
pub(crate) struct Target {
    /// What it is.
    pub(crate) spec: Spec,
    /// Its first process.
    pub(crate) pidfd: OwnedFd,
    /// The number of that process on the host.
    pub(crate) pid: Pid,
    /// Its groups in all hierarchies.
    pub(crate) groups: Vec<PathBuf>,
    /// Its state directory.
    pub(crate) state: PathBuf,
}

/// One command in a container.
#[derive(Debug)]
pub(crate) struct Exec<'a> {
    pub(crate) target: &'a Target,
    /// The command, its user, its rights.
    pub(crate) process: Process,
    pub(crate) stdio: Stdio,
}

impl Exec<'_> {
    /// Runs the command to its end and answers its status. `executed` is told when it is executed; an error means that
    /// it never was. `session` moves what it says, if anything is to be moved.
    pub(crate) fn run(
        &self,
        signals: &Signals,
        session: &mut Session,
        forward: bool,
        executed: &mut dyn FnMut() -> Result<()>,
    ) -> Result<u8> {
        // Whatever is forked from here on cannot be looked into, not even in its first moment.
        prctl::set_dumpable(false).context(|| "make this process private")?;
        let channel = self.first_process()?;
        session.connect(&channel, None, None)?;
        let Born { pid, pidfd } = channel.await_birth()?;
        let recorded = record::Recorded::new(&self.target.state, Task::of(pid), &self.process.argv);
        let running = Running { pid, pidfd, channel, signals, notify: None };
        let code = running.attend(forward, session.pump(), executed);
        drop(recorded);
        code.map_err(|error| running.kill(error))
    }

    fn first_process(&self) -> Result<ParentEnd> {
        let (unified, groups): (Vec<_>, Vec<_>) =
            self.target.groups.iter().cloned().partition(|dir| !dir.join("tasks").exists());
        let unified = unified.first().map(File::open).transpose().context(|| "open the container's cgroup")?;
        let (ours, theirs) = channel::pair()?;
        let target = self.target.pidfd.try_clone().context(|| "duplicate a descriptor")?;
        let enter = Enter {
            process: &self.process,
            security: &self.target.spec.security,
            namespaces: self.target.namespaces()?,
            groups: &groups,
            stdio: &self.stdio,
        };
        trace::plan_child(|| trace::plan::of_entering(self.target, enter.namespaces, &self.process))?;
        let clone =
            || clone3(0, unified.as_ref().map(AsFd::as_fd)).context(|| "make a process in the container's cgroup");
        match trace::step(Part::Process, "clone3", || told::clone3(0, unified.is_some()), clone)? {
            Cloned::Child => {
                drop(ours);
                enter.run(theirs, target)
            }
            Cloned::Parent { pidfd, .. } => {
                drop(theirs);
                // It ends as soon as it has made the other, or has said why not.
                let _ = sys::signal::reap(Some(pidfd.as_fd()));
                Ok(ours)
            }
        }
    }
}

impl Target {
    /// The namespaces of the container's first process that are to be entered. Entering one's own again does nothing, but with a
    /// user namespace that is an error, and without the host's rights so it is with those of the host.
    fn namespaces(&self) -> Result<CloneFlags> {
        let of = |who: &str, kind: &str| std::fs::read_link(format!("/proc/{who}/ns/{kind}"));
        let pid = self.pid.to_string();
        let is_own = |kind: &str| of(&pid, kind).ok() == of("self", kind).ok();
        let theirs = of(&pid, "user").context(|| "look at the container's user namespace")?;
        let other_user = theirs != of("self", "user").context(|| "look at this user namespace")?;
        let all = KINDS.into_iter().chain([("time", CloneFlags::from_bits_retain(TIME))]);
        let mut flags = if other_user { CloneFlags::CLONE_NEWUSER } else { CloneFlags::empty() };
        if sys::ns::in_initial_user() {
            let has_time = of("self", "time").is_ok();
            flags.extend(all.filter(|(kind, _)| *kind != "time" || has_time).map(|(_, flag)| flag));
        } else {
            flags.extend(all.filter(|(kind, _)| !is_own(kind)).map(|(_, flag)| flag));
        }
        Ok(flags)
    }
}

/// The namespaces that every kernel has which runs containers.
const KINDS: [(&str, CloneFlags); 6] = [
    ("mnt", CloneFlags::CLONE_NEWNS),
    ("pid", CloneFlags::CLONE_NEWPID),
    ("net", CloneFlags::CLONE_NEWNET),
    ("ipc", CloneFlags::CLONE_NEWIPC),
    ("uts", CloneFlags::CLONE_NEWUTS),
    ("cgroup", CloneFlags::CLONE_NEWCGROUP),
];

/// `CLONE_NEWTIME` of linux/sched.h, which the wrapper has no name for.
const TIME: i32 = 0x80;
