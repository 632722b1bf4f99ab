//! The container's first process: sets itself up, waits at the gate, and becomes the command.

use std::convert::Infallible;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};

use nix::libc;
use nix::mount::{MsFlags, mount};
use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::sys::stat::{Mode, umask};
use serde::{Deserialize, Serialize};

use crate::cgroup::Hierarchy;
use crate::error::{Context, Error, Result};
use crate::io::streams::Stdio;
use crate::process::channel::ChildEnd;
use crate::process::exec::{self, Command};
use crate::process::signals;
use crate::seccomp::{self, Filter};
use crate::service::Sockets;
use crate::setup::apply::{Masks, Setup, Trees};
use crate::setup::files::Files;
use crate::setup::path::Root;
use crate::setup::trees::Maker;
use crate::setup::{Joined, Op, privilege};
use crate::spec::{self, Rootfs, Who};
use crate::storage::Place;
use crate::sys;

use super::plan::{MountStep, Origin, Plan};
use super::{devices, gate, hooks, terminal};

/// What the first process knows.
#[derive(Debug)]
pub(super) struct Init<'a> {
    pub(super) plan: &'a Plan,
    /// The container's directory.
    pub(super) dir: &'a Path,
    /// Version 1 groups to join.
    pub(super) groups: Vec<PathBuf>,
    pub(super) hierarchies: &'a [Hierarchy],
    /// The gate to wait at.
    pub(super) gate: OwnedFd,
    /// Who takes the terminal.
    pub(super) console: Option<OwnedFd>,
    /// So many descriptors behind standard error are the command's.
    pub(super) preserved: u32,
    /// Sockets in front of those, by which the service is activated.
    pub(super) sockets: Sockets,
}

/// What hooks in the container are told. Only the parent knows the process' number on the host.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct States {
    /// Before the root is changed.
    pub(super) creating: String,
    /// When the container is started.
    pub(super) created: String,
}

impl Init<'_> {
    /// Becomes the command; or tells the parent, and later whoever starts it, why not.
    pub(super) fn run(self, channel: ChildEnd) -> ! {
        let mut line = Some(channel);
        let error = match self.become_command(&mut line) {
            Ok(never) => match never {},
            Err(error) => error,
        };
        let code = error.status.code();
        if let Some(line) = line {
            line.failed(error);
        }
        sys::exit_now(code)
    }

    fn become_command(self, line: &mut Option<ChildEnd>) -> Result<Infallible> {
        let channel = line.take().ok_or_else(|| Error::new("there is no line to the parent"))?;
        let outcome = self.set_up(&channel);
        let (ready, filters, state) = match outcome {
            Ok(ready) => ready,
            Err(error) => {
                *line = Some(channel);
                return Err(error);
            }
        };
        let process = &ready.plan.process;
        if let Err(error) = channel.executing() {
            *line = Some(channel);
            return Err(error);
        }
        drop(channel);
        let started = line.insert(gate::wait(ready.gate)?);
        // The hooks are programs of the container's, so they get no more rights than its command.
        let account = privilege::become_user(process, &filters, &Stdio::Inherit { stdin: true })?;
        hooks::run("startContainer", &ready.plan.hooks.start_container, &state)?;
        let command = Command { process, home: Some(account.home), filters: &filters, sockets: ready.sockets };
        signals::reset()?;
        exec::exec(&command, started)
    }

    /// Does all that can fail, up to the gate.
    fn set_up(self, channel: &ChildEnd) -> Result<(Self, Vec<Filter>, String)> {
        prctl::set_pdeathsig(Signal::SIGKILL).context(|| "tie the container's life to ours")?;
        prctl::set_dumpable(false).context(|| "make the process private")?;
        umask(Mode::from_bits_truncate(0o022));
        self.close_others(channel)?;
        let plan = self.plan;
        let filters = seccomp::filters(&plan.security, plan.process.capabilities.bounding)?;
        let root = spec::Root::new(Rootfs::Dir(plan.rootfs.clone()));
        let (place, stdio) = (Place::at(self.dir), Stdio::Inherit { stdin: true });
        let mut setup = Setup {
            maker: Maker { root: &root, data: self.dir, place: &place, nodev: false, userns: None, owner: None },
            groups_are_roots: false,
            tasks: None,
            etc: Vec::new(),
            trees: Trees::default(),
            user_namespace: false,
            nested: !sys::ns::in_initial_user(),
            masks: Masks::default(),
            groups: self.groups.clone(),
            hierarchies: self.hierarchies,
            process: &plan.process,
            filters: &filters,
            shm: None,
            account: None,
            stdio: &stdio,
            terminal: None,
            channel,
            files: Files::default(),
            root: None,
            null: None,
        };
        setup.run(&before(plan))?;
        attach_root(&mut setup, &plan.rootfs)?;
        setup.run(&mounts(plan))?;
        self.fill_dev(&mut setup)?;
        setup.run(&walls(plan))?;
        channel.waiting()?;
        let (states, _) = channel.take::<States>()?;
        hooks::run("createContainer", &plan.hooks.create_container, &states.creating)?;
        setup.run(&after(plan))?;
        drop(setup);
        self.finish()?;
        exec::check(&plan.process)?;
        // From here on the container lives without the one who made it.
        prctl::set_pdeathsig(None).context(|| "untie the container's life from ours")?;
        Ok((self, filters, states.created))
    }

    /// Lets go of every descriptor that is not the command's or needed on the way.
    fn close_others(&self, channel: &ChildEnd) -> Result<()> {
        let mut kept: Vec<RawFd> = (3..self.sockets.end() + self.preserved.cast_signed()).collect();
        kept.extend([channel.as_fd().as_raw_fd(), self.gate.as_raw_fd()]);
        kept.extend(self.console.as_ref().map(AsRawFd::as_raw_fd));
        sys::close_all_but(kept).context(|| "close inherited descriptors")
    }

    fn fill_dev(&self, setup: &mut Setup<'_>) -> Result<()> {
        let root = setup.root.as_ref().ok_or_else(|| Error::new("the root file system is not mounted yet"))?;
        let dev = Path::new("/dev");
        let is_bind = |mount: &spec::Mount| matches!(mount.source, spec::Source::Bind { .. });
        let brought = self.plan.mounts.iter().any(|step| match step {
            MountStep::Other(mount) => mount.target == dev && is_bind(mount),
            _ => false,
        });
        // An engine that brings a whole /dev has put into it what it wants.
        if !brought {
            devices::make(root, &self.plan.devices).context(|| "set up the container: make devices")?;
        }
        setup.null = root.find("dev/null").ok().filter(devices::is_null);
        Ok(())
    }

    /// What needs the new root.
    fn finish(&self) -> Result<()> {
        if let Some(kind) = self.plan.propagation {
            let flags = MsFlags::from_bits_retain(kind);
            mount(None::<&str>, "/", None::<&str>, flags, None::<&str>).context(|| "set the root's propagation")?;
        }
        if let (Some(terminal), Some(socket)) = (&self.plan.terminal, &self.console) {
            terminal::make(*terminal, socket, uid(&self.plan.process), true)?;
        }
        Ok(())
    }
}

/// The number of a process' user, which bundles never name.
pub(super) fn uid(process: &spec::Process) -> u32 {
    match process.user.user {
        Who::Id(id) => id,
        Who::Name(_) => 0,
    }
}

/// What comes before the first mount.
fn before(plan: &Plan) -> Vec<Op> {
    let mut ops = vec![Op::Session, Op::JoinCgroups];
    match &plan.namespaces.cgroup {
        Origin::New => ops.push(Op::CgroupNamespace),
        Origin::Path(path) => ops.push(Op::Join(Joined { kind: "cgroup", path: path.clone() })),
        Origin::Shared => {}
    }
    if plan.namespaces.net == Origin::New {
        ops.push(Op::Loopback);
    }
    ops.extend(plan.namespaces.time.map(Op::Time));
    ops.extend(plan.hostname.clone().map(Op::Hostname));
    ops.extend(plan.domainname.clone().map(Op::Domainname));
    ops.extend(plan.security.sysctls.iter().cloned().map(Op::Sysctl));
    ops.extend(plan.process.oom_score_adj.map(Op::OomScore));
    ops.extend(plan.mounts.iter().filter_map(|step| match step {
        MountStep::Other(mount) => Some(Op::Source(mount.clone())),
        _ => None,
    }));
    ops.push(Op::SlaveMounts);
    ops
}

fn mounts(plan: &Plan) -> Vec<Op> {
    let op = |step: &MountStep| match step {
        MountStep::Proc => Op::Proc,
        MountStep::Sys { writable } => Op::Sys { writable: *writable },
        MountStep::Cgroups { writable } => Op::Cgroups { writable: *writable },
        MountStep::Other(mount) => Op::Mount(mount.clone()),
    };
    plan.mounts.iter().map(op).collect()
}

fn walls(plan: &Plan) -> Vec<Op> {
    let masked = plan.security.masked.iter().cloned().map(Op::Mask);
    masked.chain(plan.security.read_only.iter().cloned().map(Op::ReadOnly)).collect()
}

/// What comes after the hooks that want to see the old root.
fn after(plan: &Plan) -> Vec<Op> {
    let root = if plan.no_pivot { Op::MoveRoot } else { Op::Pivot };
    let mut ops = vec![root, Op::Workdir(plan.process.workdir.clone())];
    if plan.readonly {
        ops.push(Op::ReadOnlyRoot);
    }
    if plan.security.new_keyring {
        ops.push(Op::Keyring);
    }
    ops.extend(plan.process.rlimits.iter().cloned().map(Op::Limit));
    ops
}

/// Mounts the root directory over itself, with all that is mounted below, for this mount namespace only.
fn attach_root(setup: &mut Setup<'_>, rootfs: &Path) -> Result<()> {
    let what = || format!("set up the container: mount --rbind {0} {0}", rootfs.display());
    let source = Root::open(rootfs).context(what)?;
    let tree = sys::mount::copy_tree(source.as_fd()).context(what)?;
    let private = sys::mount::Change { propagation: libc::MS_PRIVATE, ..Default::default() };
    sys::mount::change(tree.as_fd(), &private, true).context(what)?;
    sys::mount::attach(tree.as_fd(), source.as_fd()).context(what)?;
    setup.root = Some(Root::from(tree));
    Ok(())
}
