//! `create`: from a bundle to a process that waits at the gate.

use std::fs::{self, File};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::libc;
use nix::unistd::Pid;

use crate::cgroup::{self, Group, Hierarchy, systemd};
use crate::error::{Context, Error, Result};
use crate::fault;
use crate::moment::Moment;
use crate::namespaces::Joins;
use crate::net::devices::{self, Given};
use crate::process::channel::{self, ParentEnd, Report};
use crate::service::{Service, Sockets, notify};
use crate::state::Task;
use crate::sys;
use crate::sys::clone::{Cloned, clone3};
use crate::sys::ns::Kind;

use super::bundle::Bundle;
use super::init::{Init, States};
use super::plan::{MountStep, Origin, Plan};
use super::state::{Held, Home, Record, Status};
use super::{control, convert, gate, hooks, terminal};

/// What was asked for beside the bundle.
#[derive(Debug, Default)]
pub(crate) struct Wishes {
    /// `--pid-file`.
    pub(crate) pid_file: Option<PathBuf>,
    /// `--console-socket`.
    pub(crate) console_socket: Option<PathBuf>,
    /// `--preserve-fds`.
    pub(crate) preserve_fds: u32,
    /// `--no-new-keyring`.
    pub(crate) no_new_keyring: bool,
    /// `--no-pivot`.
    pub(crate) no_pivot: bool,
    /// `--systemd-cgroup`.
    pub(crate) systemd: bool,
    /// What the engine's own manager has given.
    pub(crate) service: Service,
}

/// Creates the container `id` from `bundle`. An error means that nothing is left of it.
pub(crate) fn create(home: &Home, id: &str, bundle: &Path, wishes: &Wishes) -> Result<()> {
    home.check_new(id)?;
    let bundle = Bundle::read(bundle)?;
    let mut plan = convert::plan(&bundle, id, wishes.systemd)?;
    plan.no_pivot = wishes.no_pivot;
    plan.security.new_keyring &= !wishes.no_new_keyring;
    devices::check(&plan.net_devices, 0).context(|| "linux.netDevices")?;
    terminal::check(plan.terminal.is_some(), wishes.console_socket.as_deref())?;
    let hierarchies = cgroup::of_host()?;
    let group = Group::at(&hierarchies, &plan.group);
    group.check_free().context(|| "linux.cgroupsPath")?;
    let console = wishes.console_socket.as_deref().map(terminal::connect).transpose()?;
    let joins = joins(&plan)?;
    let record = Record {
        id: id.to_owned(),
        bundle: bundle.dir.clone(),
        rootfs: plan.rootfs.clone(),
        created: Moment::now(),
        groups: group.dirs(),
        group: plan.group.clone(),
        init: Task::default(),
        ready: false,
        annotations: plan.annotations.clone(),
        systemd: wishes.systemd,
        scope: plan.scope.clone(),
    };
    let mut held = home.create(record, &bundle.text)?;
    if wishes.service.notify.is_some() {
        let equipped = equip(&mut plan, &held.dir);
        if let Err(error) = equipped {
            return Err(undo(held, error));
        }
    }
    let created = Creation {
        plan: &plan,
        hierarchies: &hierarchies,
        group,
        joins,
        preserved: wishes.preserve_fds,
        sockets: wishes.service.sockets.clone(),
    }
    .run(&mut held, console)
    .and_then(|()| write_pid(&held, wishes.pid_file.as_deref()));
    match created {
        Ok(()) => Ok(()),
        Err(error) => Err(undo(held, error)),
    }
}

/// Gives the container a place to tell a manager of services how it is, unless its command is told of another one.
fn equip(plan: &mut Plan, dir: &Path) -> Result<()> {
    if plan.process.env.iter().any(|entry| entry.starts_with("NOTIFY_SOCKET=")) {
        return Ok(());
    }
    notify::prepare(dir)?;
    plan.mounts.push(MountStep::Other(notify::mount(dir)?));
    notify::tell_where(&mut plan.process.env);
    Ok(())
}

/// What is needed on the way.
struct Creation<'a> {
    plan: &'a Plan,
    hierarchies: &'a [Hierarchy],
    group: Group<'a>,
    joins: Joins,
    preserved: u32,
    sockets: Sockets,
}

impl Creation<'_> {
    fn run(self, held: &mut Held, console: Option<OwnedFd>) -> Result<()> {
        fault::point("oci-groups")?;
        let ((ones, two), scope) = match &self.plan.scope {
            Some(unit) => {
                let (made, scope) =
                    systemd::prepare(unit, &self.group, &self.plan.limits, Some(self.plan.rules.as_slice()))?;
                (made, Some(scope))
            }
            None => (self.group.create(&self.plan.limits)?, None),
        };
        if !self.group.guard_devices(&self.plan.rules)? {
            return Err(Error::new("linux.resources.devices: this host has no cgroup that could guard devices"));
        }
        let gate = gate::build(&held.dir)?;
        let unified = two.map(|dir| File::open(&dir).context(|| format!("open {}", dir.display()))).transpose()?;
        let (ours, theirs) = channel::pair()?;
        let init = Init {
            plan: self.plan,
            dir: &held.dir,
            groups: ones,
            hierarchies: self.hierarchies,
            gate,
            console,
            preserved: self.preserved,
            sockets: self.sockets.clone(),
        };
        let unified = unified.as_ref().map(AsFd::as_fd);
        let clone = || clone3(flags(self.plan), unified).context(|| "make a process in new namespaces");
        match self.joins.around(clone, |born| matches!(born, Cloned::Parent { .. }))? {
            Cloned::Child => {
                drop(ours);
                init.run(theirs)
            }
            Cloned::Parent { pid, .. } => {
                drop((theirs, init));
                held.record.init = Task::of(pid);
                held.save()?;
                fault::point("oci-clone")?;
                scope.map_or(Ok(()), |scope| scope.hand_over(&self.group, &self.plan.limits))?;
                self.lead(&ours, held)
            }
        }
    }

    /// Leads the first process to the gate.
    fn lead(&self, line: &ParentEnd, held: &mut Held) -> Result<()> {
        expect(line, &Report::Waiting)?;
        let given = self.give_devices(held.record.init)?;
        self.lead_on(line, held).map_err(|error| {
            let lost = given.map(Given::take_back).unwrap_or_default();
            let message = lost.into_iter().fold(error.message, |all, text| format!("{all}; and then: {text}"));
            Error { message, ..error }
        })
    }

    fn lead_on(&self, line: &ParentEnd, held: &mut Held) -> Result<()> {
        let state = held.for_hooks(Status::Creating);
        hooks::run("prestart", &self.plan.hooks.prestart, &state)?;
        hooks::run("createRuntime", &self.plan.hooks.create_runtime, &state)?;
        fault::point("oci-hooks")?;
        // A process that has failed meanwhile has closed its end; its reason is waiting in the queue.
        let created = held.for_hooks(Status::Created);
        let _ = line.give(&States { creating: state, created }, &[]);
        expect(line, &Report::Executing)?;
        held.record.ready = true;
        held.save()?;
        fault::point("oci-ready")
    }
}

impl Creation<'_> {
    /// Moves network devices to where the first process is now.
    fn give_devices(&self, init: Task) -> Result<Option<Given>> {
        if self.plan.net_devices.is_empty() {
            return Ok(None);
        }
        let pidfd = init.open().ok_or_else(|| Error::new("the container's first process has ended"))?;
        let netns = sys::ns::of_process(pidfd.as_fd(), Pid::from_raw(init.pid), Kind::Net);
        let netns = netns.context(|| "open the container's network namespace")?;
        devices::give(&self.plan.net_devices, &netns).map(Some)
    }
}

fn expect(line: &ParentEnd, wanted: &Report) -> Result<()> {
    match line.report()? {
        Some(Report::Failed(error)) => Err(error),
        Some(report) if report == *wanted => Ok(()),
        _ => Err(Error::new(
            "the container's first process was killed while it was being set up (out of memory?); nothing was run",
        )),
    }
}

/// Takes back what an attempt has made. What cannot be removed is left for `delete --force`.
fn undo(held: Held, error: Error) -> Error {
    match control::remove(held) {
        Ok(()) => error,
        Err(more) => Error { message: format!("{error}; and then: {more}"), ..error },
    }
}

fn write_pid(held: &Held, path: Option<&Path>) -> Result<()> {
    let Some(path) = path else { return Ok(()) };
    put_pid(path, held.record.init.pid)
}

/// Writes a pid so that a reader sees all of it or nothing.
pub(super) fn put_pid(path: &Path, pid: i32) -> Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let new = path.with_file_name(format!(".{name}"));
    fs::write(&new, pid.to_string())
        .and_then(|()| fs::rename(&new, path))
        .context(|| format!("write {}", path.display()))
}

const KINDS: [Kind; 4] = [Kind::Net, Kind::Pid, Kind::Ipc, Kind::Uts];

fn origin(plan: &Plan, kind: Kind) -> &Origin {
    match kind {
        Kind::Net => &plan.namespaces.net,
        Kind::Pid => &plan.namespaces.pid,
        Kind::Ipc => &plan.namespaces.ipc,
        _ => &plan.namespaces.uts,
    }
}

/// The namespaces that are made with the process.
fn flags(plan: &Plan) -> libc::c_int {
    let new = KINDS.iter().filter(|kind| *origin(plan, **kind) == Origin::New);
    new.fold(libc::CLONE_NEWNS, |flags, kind| flags | kind.flag())
}

/// The namespaces that the process is born into.
fn joins(plan: &Plan) -> Result<Joins> {
    KINDS.iter().try_fold(Joins::default(), |joins, kind| match origin(plan, *kind) {
        Origin::Path(path) => joins.and(*kind, path),
        Origin::New | Origin::Shared => Ok(joins),
    })
}
