//! The container's first process, from its birth to the moment in which the command replaces it.

use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::path::{Path, PathBuf};

use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::sys::stat::{Mode, umask};

use crate::cgroup::Hierarchy;
use crate::error::{Context, Result};
use crate::io::streams::Stdio;
use crate::seccomp;
use crate::service::Sockets;
use crate::setup::apply::{Masks, Setup, Trees};
use crate::setup::files::Files;
use crate::setup::trees::Maker;
use crate::setup::{Op, SharedMemory};
use crate::spec::{Spec, Users};
use crate::storage::Place;
use crate::{fault, sys, trace, userns};

use super::channel::ChildEnd;
use super::exec::Command;
use super::{exec, init, signals};

/// What the child needs of its parent's knowledge.
#[derive(Debug)]
pub(crate) struct Child<'a> {
    pub(crate) spec: &'a Spec,
    pub(crate) ops: &'a [Op],
    /// The data directory.
    pub(crate) data: &'a Path,
    /// Where the container's changes are.
    pub(crate) place: &'a Place,
    pub(crate) groups: Vec<PathBuf>,
    /// Whether a cgroup says which devices may be opened, or none need be kept from it.
    pub(crate) guarded: bool,
    pub(crate) hierarchies: &'a [Hierarchy],
    /// Where `/dev/shm` comes from, if it is not the container's own.
    pub(crate) shm: Option<SharedMemory>,
    /// Whether the command lives on when the parent does not.
    pub(crate) detached: bool,
    pub(crate) stdio: &'a Stdio,
    /// Descriptors behind standard error that are the command's.
    pub(crate) sockets: &'a Sockets,
}

impl Child<'_> {
    /// What makes the container's file systems, here or in the parent.
    pub(crate) fn maker<'a>(&'a self, userns: Option<BorrowedFd<'a>>) -> Maker<'a> {
        let users = userns::translated(self.spec.namespaces.user.as_ref());
        let userns = userns.filter(|_| users.is_some());
        Maker {
            root: &self.spec.root,
            data: self.data,
            place: self.place,
            // Where nobody says which devices may be opened, those of the root file system may not. In a user namespace
            // there are none to be made.
            nodev: !self.guarded || self.spec.namespaces.user.is_some() && !self.spec.process.privileged,
            userns,
            owner: userns.and(users).map(Users::root),
        }
    }

    /// Sets the container up and becomes the command; or tells the parent why not, and ends.
    pub(crate) fn run(&self, channel: ChildEnd) -> ! {
        trace::mark(0);
        let channel = match self.stdio.install().and_then(|()| isolate(channel, self.sockets.end())) {
            Ok(channel) => channel,
            // Without the line there is nobody to be told; the parent sees its end.
            Err(error) => sys::exit_now(error.status.code()),
        };
        let error = match self.become_command(&channel) {
            Ok(never) => match never {},
            Err(error) => error,
        };
        trace::mark_failure();
        let code = error.status.code();
        channel.failed(error);
        sys::exit_now(code)
    }

    fn become_command(&self, channel: &ChildEnd) -> Result<std::convert::Infallible> {
        prctl::set_pdeathsig(Signal::SIGKILL).context(|| "tie the container's life to ours")?;
        // Until the command is executed this is a copy of xnet; nobody in the container may look into it.
        prctl::set_dumpable(false).context(|| "make the process private")?;
        fault::point("child")?;
        sys::memory::forget_environment();
        // The modes of what is made from here on are those that are written here, and the command begins with the usual mask.
        umask(Mode::from_bits_truncate(0o022));
        let filters = seccomp::filters(&self.spec.security, self.spec.process.capabilities.bounding)?;
        let mut setup = Setup {
            maker: self.maker(None),
            groups_are_roots: false,
            tasks: None,
            etc: Vec::new(),
            trees: Trees::default(),
            user_namespace: self.spec.namespaces.user.is_some(),
            nested: !sys::ns::in_initial_user(),
            masks: Masks::default(),
            groups: self.groups.clone(),
            hierarchies: self.hierarchies,
            process: &self.spec.process,
            filters: &filters,
            shm: self.shm.clone(),
            account: None,
            stdio: self.stdio,
            terminal: None,
            channel,
            files: Files::default(),
            root: None,
            null: None,
        };
        setup.run(self.ops)?;
        let home = setup.account.take().map(|account| account.home);
        drop(setup);
        let command = Command { process: &self.spec.process, home, filters: &filters, sockets: self.sockets.clone() };
        fault::point("exec")?;
        if self.detached {
            // If the parent is gone by now, the line to it is, too, and the command is not executed.
            prctl::set_pdeathsig(None).context(|| "untie the container's life from ours")?;
        }
        if self.spec.process.init {
            init::run(&command, channel)
        } else {
            signals::reset()?;
            exec::exec(&command, channel)
        }
    }
}

/// Lets go of every descriptor from number `first` on, but the line to the parent, which takes that place: the container's lock,
/// the log, and whatever the caller of `xnet` has left open.
fn isolate(channel: ChildEnd, first: RawFd) -> Result<ChildEnd> {
    let mut fd = channel.into_fd();
    if fd.as_raw_fd() != first {
        fd = sys::move_fd(fd, first).context(|| "move the line to the parent")?;
    }
    sys::close_from(first.cast_unsigned() + 1).context(|| "close inherited descriptors")?;
    Ok(ChildEnd::from_fd(fd))
}
