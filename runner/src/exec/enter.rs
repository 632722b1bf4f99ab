//! The way into a container that runs.
//!
//! Two processes take it one after the other, so that nobody inside ever meets one that has more rights than the container.
//! The first is born into the container's version 2 group, moves itself into the others, enters all namespaces, connects
//! the streams, becomes the user and gives up all that the container's own command had to give up. Its own pid namespace is still
//! the host's, so nobody in the container can see it, trace it, or open what it holds. Only then it makes the second, which is
//! born inside, as a child of the process that attends it (so it has no parent inside: `PPid` 0), holds nothing but its
//! streams and the line to that process, and executes the command.

use std::convert::Infallible;
use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::libc;
use nix::sched::{CloneFlags, setns};
use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::sys::stat::{Mode, fstat, makedev, umask};
use nix::unistd::setsid;

use crate::error::{Context, Error, Result};
use crate::io::streams::Stdio;
use crate::process::channel::ChildEnd;
use crate::process::exec::{self, Command};
use crate::process::signals;
use crate::seccomp::{self, Filter};
use crate::service::Sockets;
use crate::setup::path::{Root, go_to};
use crate::setup::{console, kernel, privilege};
use crate::spec::{Process, Security};
use crate::sys::clone::{Cloned, fork_sibling};
use crate::{fault, sys, trace};

/// What is to be executed, and where.
#[derive(Debug)]
pub(super) struct Enter<'a> {
    /// The command, its user, its rights.
    pub(super) process: &'a Process,
    /// The container's.
    pub(super) security: &'a Security,
    /// Which namespaces of the container's first process are to be entered.
    pub(super) namespaces: CloneFlags,
    /// The version 1 groups.
    pub(super) groups: &'a [PathBuf],
    /// The standard streams.
    pub(super) stdio: &'a Stdio,
}

/// The only descriptors besides stdio that the first process keeps: the line to the one that attends it, and the
/// container's first process.
const CHANNEL: RawFd = 3;
const TARGET: RawFd = 4;

impl Enter<'_> {
    /// The first process: goes in, makes the second, and ends.
    pub(super) fn run(&self, channel: ChildEnd, target: OwnedFd) -> ! {
        trace::mark(0);
        let (channel, target) = match self.stdio.install().and_then(|()| isolate(channel, target)) {
            Ok(kept) => kept,
            // Without the line there is nobody to be told; the parent sees its end.
            Err(error) => sys::exit_now(error.status.code()),
        };
        let error = match self.go_in(&channel, target) {
            Ok(never) => match never {},
            Err(error) => error,
        };
        trace::mark_failure();
        let code = error.status.code();
        channel.failed(error);
        sys::exit_now(code)
    }

    fn go_in(&self, channel: &ChildEnd, target: OwnedFd) -> Result<Infallible> {
        prctl::set_pdeathsig(Signal::SIGKILL).context(|| "tie the command's life to ours")?;
        prctl::set_dumpable(false).context(|| "make the process private")?;
        umask(Mode::from_bits_truncate(0o022));
        trace::mark(1);
        let filters = seccomp::filters(self.security, self.process.capabilities.bounding)?;
        for group in self.groups {
            // A single thread that moves itself waits for nothing.
            std::fs::write(group.join("tasks"), "0").context(|| format!("join {}", group.display()))?;
        }
        if let Some(score) = self.process.oom_score_adj {
            kernel::set_oom_score(score)?;
        }
        fault::point("exec-enter")?;
        sys::memory::forget_environment();
        trace::mark(2);
        if !sys::ns::in_initial_user() {
            privilege::groups_are_fixed();
        }
        setns(&target, self.namespaces).map_err(|errno| match errno {
            Errno::ESRCH => Error::new("the container has just ended"),
            errno => Error::new(format!("enter the container's namespaces: {}", errno.desc())),
        })?;
        drop(target);
        trace::mark(3);
        self.connect(channel)?;
        trace::mark(4);
        let account = self.become_user(&filters)?;
        trace::mark(5);
        fault::point("exec-fork")?;
        match fork_sibling().context(|| "make a process in the container")? {
            Cloned::Child => {
                let command = Command {
                    process: self.process,
                    home: Some(account),
                    filters: &filters,
                    sockets: Sockets::default(),
                };
                self.execute(&command, channel)
            }
            Cloned::Parent { pid, pidfd } => {
                channel.born(pid, pidfd.as_fd())?;
                sys::exit_now(0)
            }
        }
    }

    /// Connects what only exists inside, and goes to the working directory.
    fn connect(&self, channel: &ChildEnd) -> Result<()> {
        let root = Root::open(Path::new("/")).context(|| "open /")?;
        let terminal = match self.stdio {
            Stdio::Terminal => {
                let (master, terminal) = console::open(&root)?;
                channel.hand_over(master.as_fd())?;
                Some(terminal)
            }
            _ => None,
        };
        self.stdio.complete(terminal.as_ref(), &|| null(&root))?;
        let path = &self.process.workdir;
        go_to(root.find_dir(path)).context(|| format!("the working directory {}", path.display()))
    }

    fn become_user(&self, filters: &[Filter]) -> Result<String> {
        for limit in &self.process.rlimits {
            kernel::limit(limit).context(|| format!("limit {limit}"))?;
        }
        kernel::leave_keyring()?;
        Ok(privilege::become_user(self.process, filters, self.stdio)?.home)
    }

    /// The second process.
    fn execute(&self, command: &Command<'_>, channel: &ChildEnd) -> Result<Infallible> {
        trace::mark(6);
        // What the first one has become, this one is; only its session and its parent are its own.
        setsid().context(|| "setsid")?;
        if matches!(self.stdio, Stdio::Terminal) {
            self.stdio.control()?;
        }
        prctl::set_pdeathsig(Signal::SIGKILL).context(|| "tie the command's life to ours")?;
        signals::reset()?;
        fault::point("exec")?;
        exec::exec(command, channel)
    }
}

/// Lets go of everything but stdio and the two descriptors that are still needed.
fn isolate(channel: ChildEnd, target: OwnedFd) -> Result<(ChildEnd, OwnedFd)> {
    let what = || "move a descriptor";
    // Out of the way first: either may have the other's number.
    let away = |fd: OwnedFd| sys::copy_fd(fd.as_fd(), TARGET + 1).context(what);
    let (channel, target) = (away(channel.into_fd())?, away(target)?);
    let channel = sys::move_fd(channel, CHANNEL).context(what)?;
    let target = sys::move_fd(target, TARGET).context(what)?;
    sys::close_from(TARGET.cast_unsigned() + 1).context(|| "close inherited descriptors")?;
    Ok((ChildEnd::from_fd(channel), target))
}

/// The container's null device, after a look at what it is.
fn null(root: &Root) -> Result<OwnedFd> {
    let fd =
        root.open_file("dev/null", OFlag::O_RDWR | OFlag::O_NOCTTY).context(|| "open /dev/null of the container")?;
    let stat = fstat(&fd).context(|| "look at /dev/null of the container")?;
    if stat.st_mode & libc::S_IFMT == libc::S_IFCHR && stat.st_rdev == makedev(1, 3) {
        return Ok(fd);
    }
    Err(Error::new("/dev/null of the container is not the null device"))
}
