//! One run of a container, from its parent's side: from nothing to the end of the command.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};

use nix::unistd::Pid;

use crate::cgroup::systemd::{self, Scope};
use crate::cgroup::{self, Group, Groups, Hierarchy, devices};
use crate::error::{Context, Error, Result};
use crate::exec::Target;
use crate::health::checker::Checker;
use crate::io::session::Session;
use crate::io::streams::Stdio;
use crate::moment::Moment;
use crate::namespaces::{self, Joins};
use crate::net::{Connected, Network, Prepared, hosts};
use crate::process::channel;
use crate::process::child::Child;
use crate::process::signals::Signals;
use crate::process::wait::Running;
use crate::service::Service;
use crate::service::notify::{self, Notify};
use crate::setup::files::Files;
use crate::spec::{Capability, Dirs, NamespaceMode, Spec};
use crate::state::{Container, Exit, Info, Record, Store, Task, events};
use crate::storage::Place;
use crate::sys::clone::{Cloned, clone3};
use crate::sys::ns::Kind;
use crate::trace::{self, Part, told};
use crate::{fault, sys, userns};

use super::{Warn, end, plan};

/// The groups of a run.
struct Made {
    groups: Groups,
    /// Held until the first process is in it.
    scope: Option<Scope>,
    /// Whether they say which devices may be opened, or all may.
    guarded: bool,
}

/// A run that is about to begin.
pub(crate) struct Start<'a> {
    pub(crate) spec: &'a Spec,
    pub(crate) dirs: &'a Dirs,
    pub(crate) store: &'a Store,
    /// Whether the container is to outlive this process.
    pub(crate) detached: bool,
    /// How often the restart policy has started it again.
    pub(crate) restarts: u32,
    /// What the manager of services has given.
    pub(crate) service: Service,
    prepared: Prepared,
    joins: Joins,
    pub(crate) signals: &'a Signals,
}

impl<'a> Start<'a> {
    /// Looks up the containers that `spec` refers to, and takes its ports. Nothing is made. `networks` are those that it names.
    pub(crate) fn new(
        spec: &'a Spec,
        networks: Vec<Network>,
        store: &'a Store,
        dirs: &'a Dirs,
        signals: &'a Signals,
        warn: Warn<'_>,
    ) -> Result<Self> {
        let prepared = Prepared::new(spec, networks, dirs, store)?;
        prepared.warnings().for_each(|warning| warn(&warning));
        let joins = Joins::find(spec, store)?;
        Ok(Self {
            spec,
            dirs,
            store,
            detached: false,
            restarts: 0,
            service: Service::default(),
            prepared,
            joins,
            signals,
        })
    }
}

impl Start<'_> {
    /// Runs the container to its end. `executed` is told when its command is. An error means that it never was.
    pub(crate) fn run(
        &self,
        container: &mut Container,
        session: &mut Session,
        executed: &mut dyn FnMut() -> Result<()>,
        warn: Warn<'_>,
    ) -> Result<Exit> {
        let stdio = session.begin(self.spec, self.detached, (&container.dir, &container.data))?;
        let hierarchies = cgroup::of_host()?;
        let made = || self.groups(&hierarchies, container);
        let mut made = trace::step(Part::Cgroups, "cgroups", || told::cgroups(&hierarchies, self.spec), made)?;
        let scope = made.scope.take();
        let main = self.detached.then(std::process::id);
        let open = |manager| Notify::open(&container.dir, manager, main);
        let notify = self.manager().map(open).transpose()?;
        let (mut running, task, netns) = self.first_process(&hierarchies, made, &stdio, container)?;
        running.notify = notify.as_ref();
        if let Some(scope) = scope {
            let handed = scope.hand_over(&Group::of(&hierarchies, self.spec), &self.spec.limits);
            handed.map_err(|error| running.kill(error))?;
        }
        drop(stdio);
        let wired = self.wire((&running, task), netns, container, session, warn);
        let mut checker = None;
        let attended = wired.and_then(|(connected, started_at)| {
            let code = running.attend(!self.detached, session.pump(), &mut || {
                trace::end();
                self.executed(&running, container)?;
                checker = self.checker(&running, container, &hierarchies)?;
                notify.iter().for_each(Notify::introduce);
                executed()?;
                self.announce(&connected, warn);
                if self.detached {
                    sys::memory::give_back();
                }
                Ok(())
            })?;
            Ok(self.ended(code, started_at, container, &hierarchies))
        });
        // It writes where things are about to be taken away.
        drop(checker);
        let ended = attended.map_err(|error| running.kill(error));
        end::tell_unlogged(self.store, self.spec, session.drain(), warn);
        ended
    }

    /// Where the manager of services listens, unless the command is told of another one.
    fn manager(&self) -> Option<&str> {
        let told = self.spec.process.env.iter().any(|entry| entry.starts_with("NOTIFY_SOCKET="));
        self.service.notify.as_deref().filter(|_| !told)
    }

    /// The command has taken over.
    fn executed(&self, running: &Running<'_>, container: &mut Container) -> Result<()> {
        if let Some(path) = &self.spec.life.pidfile {
            fs::write(path, running.pid.to_string()).context(|| format!("write {}", path.display()))?;
        }
        fault::point("executed")?;
        if !self.spec.life.auto_remove {
            container.record(&Record::Keep)?;
        }
        events::append(self.store, self.spec, "start", &[]);
        Ok(())
    }

    /// Whoever asks the container whether it works, if anybody shall.
    fn checker(
        &self,
        running: &Running<'_>,
        container: &Container,
        hierarchies: &[Hierarchy],
    ) -> Result<Option<Checker>> {
        let Some(health) = &self.spec.life.health else { return Ok(None) };
        let target = Target {
            spec: self.spec.clone(),
            pidfd: running.pidfd.try_clone().context(|| "duplicate a descriptor")?,
            pid: running.pid,
            groups: Group::of(hierarchies, self.spec).dirs(),
            state: container.dir.clone(),
        };
        Checker::start(health, target, self.store).map(Some)
    }

    fn ended(&self, code: u8, started_at: Moment, container: &Container, hierarchies: &[Hierarchy]) -> Exit {
        let group = Group::of(hierarchies, self.spec);
        Exit {
            oom_killed: group.oom_kills() > 0,
            exit_code: Some(code),
            started_at: Some(started_at),
            finished_at: Some(Moment::now()),
            stopped: container.is_stopped_by_person(),
            restarts: self.restarts,
            ..Exit::default()
        }
    }

    fn groups(&self, hierarchies: &[Hierarchy], container: &mut Container) -> Result<Made> {
        let group = Group::of(hierarchies, self.spec);
        if let Some((control, controllers)) = group.controllers_to_enable(&self.spec.limits) {
            container.record(&Record::Controllers { control, controllers })?;
        }
        if let Some(unit) = self.spec.scope.clone() {
            container.record(&Record::Scope { unit })?;
        }
        container.record(&Record::Cgroups { dirs: group.dirs() })?;
        fault::point("log-cgroups")?;
        let rules = [devices::usual(), self.spec.limits.devices.clone()].concat();
        // Without the host's rights there is nothing to guard: no node can be made that could be opened.
        let guard = (!self.spec.process.privileged && sys::ns::in_initial_user()).then_some(rules.as_slice());
        let (groups, scope) = match &self.spec.scope {
            Some(unit) => {
                let (groups, scope) = systemd::prepare(unit, &group, &self.spec.limits, guard)?;
                (groups, Some(scope))
            }
            None => (group.create(&self.spec.limits)?, None),
        };
        let guarded = guard.map_or(Ok(true), |rules| group.guard_devices(rules))?;
        if !guarded && self.spec.process.capabilities.bounding.has(Capability::MKNOD) {
            return Err(Error::new(
                "the devices that the container opens cannot be guarded, as its cgroup could not be made; so it may \
                 not make device nodes: drop MKNOD",
            ));
        }
        fault::point("make-cgroups")?;
        if self.spec.namespaces.pid != NamespaceMode::Private && groups.0.is_empty() && groups.1.is_none() {
            return Err(Error::new(
                "a container without a pid namespace of its own needs a cgroup, by which all its processes can be \
                 ended, and none could be made",
            ));
        }
        Ok(Made { groups, scope, guarded })
    }

    /// Starts the child; it sets itself up while this process goes on to the network.
    fn first_process(
        &self,
        hierarchies: &[Hierarchy],
        made: Made,
        stdio: &Stdio,
        container: &mut Container,
    ) -> Result<(Running<'_>, Task, Option<OwnedFd>)> {
        let equipped = self.manager().map(|_| notify::equip(self.spec, &container.dir)).transpose()?;
        let spec = equipped.as_ref().unwrap_or(self.spec);
        let ops = plan(spec, &self.prepared);
        self.prepared.pin_joined(container, self.store)?;
        let place = Place::of(&self.dirs.data, &self.spec.id);
        let (shm, detached, data, sockets) = (self.joins.shm(), self.detached, &self.dirs.data, &self.service.sockets);
        let (Made { groups: (groups, unified), guarded, .. }, place) = (made, &place);
        let child = Child { spec, ops: &ops, data, place, groups, guarded, hierarchies, shm, stdio, detached, sockets };
        trace::plan_child(|| trace::plan::of_setup(&child))?;
        let unified =
            unified.map(|dir| fs::File::open(&dir).context(|| format!("open {}", dir.display()))).transpose()?;
        let (ours, theirs) = channel::pair()?;
        let unified = unified.as_ref().map(AsFd::as_fd);
        let (flags, netns) = (namespaces::flags(self.spec), self.dirs.netns.join(self.spec.id.as_str()));
        let clone = || clone3(flags, unified).context(|| "make a process in new namespaces");
        let clone =
            || trace::step(Part::Namespaces, "clone3", || told::birth(&child, flags, unified.is_some(), &netns), clone);
        match self.joins()?.around(clone, |born| matches!(born, Cloned::Parent { .. }))? {
            Cloned::Child => {
                drop(ours);
                child.run(theirs)
            }
            Cloned::Parent { pid, pidfd } => {
                drop(theirs);
                fault::point("clone")?;
                let running = Running { pid, pidfd, channel: ours, signals: self.signals, notify: None };
                let task = Task::of(pid);
                let known = container.record(&Record::Process { pid: task.pid, start: task.start });
                let mapped = known.and_then(|()| self.map_users(&running, &child));
                let netns = mapped.and_then(|()| self.netns(&running));
                match netns {
                    Ok(netns) => Ok((running, task, netns)),
                    Err(error) => Err(running.kill(error)),
                }
            }
        }
    }

    /// What the child is to be born into. The root of a user namespace could not enter somebody else's network later.
    fn joins(&self) -> Result<Joins> {
        let joins = Joins::find(self.spec, self.store)?;
        match self.prepared.netns_to_enter().filter(|_| self.spec.namespaces.user.is_some()) {
            Some(path) => joins.and_net(&path),
            None => Ok(joins),
        }
    }

    fn map_users(&self, running: &Running<'_>, child: &Child<'_>) -> Result<()> {
        match &self.spec.namespaces.user {
            Some(users) => trace::step(
                Part::Namespaces,
                "map-users",
                || told::users(users),
                || userns::provide(running, users, child),
            ),
            None => Ok(()),
        }
    }

    fn netns(&self, running: &Running<'_>) -> Result<Option<OwnedFd>> {
        let open = || sys::ns::of_process(running.pidfd.as_fd(), running.pid, Kind::Net);
        self.prepared.is_private().then(open).transpose().context(|| "open the container's network namespace")
    }

    /// Has the network made, tells the world, and lets the child go on.
    fn wire(
        &self,
        (running, task): (&Running<'_>, Task),
        netns: Option<OwnedFd>,
        container: &mut Container,
        session: &mut Session,
        warn: Warn<'_>,
    ) -> Result<(Connected, Moment)> {
        let (connected, files) = self.prepared.connect(container, self.store, netns.as_ref(), warn)?;
        session.connect(&running.channel, self.spec.io.size, Some((&container.dir, &running.pidfd)))?;
        let publish = || self.publish(task, container, session.holder());
        let started_at = trace::step(Part::State, "publish", || told::publish(container), publish)?;
        fault::point("publish")?;
        // A child that has failed meanwhile has closed its end; its reason is waiting in the queue.
        let _ = running.channel.network_ready(&files, &self.etc(running, &files)?);
        fault::point("release")?;
        Ok((connected, started_at))
    }

    /// The files of the container's own in /etc, if its first process cannot open them.
    fn etc(&self, running: &Running<'_>, files: &Files) -> Result<Vec<OwnedFd>> {
        match &self.spec.namespaces.user {
            None => Ok(Vec::new()),
            users if userns::translated(users.as_ref()).is_none() => files.open(None),
            Some(_) => files.open(Some(userns::namespace(running)?.as_fd())),
        }
    }

    /// Tells the world. Answers when the run has begun.
    fn publish(&self, Task { pid, start }: Task, container: &Container, holder: Task) -> Result<Moment> {
        let started_at = Moment::now();
        container.publish(&Info {
            id: self.spec.id.clone(),
            pid,
            start,
            started_at,
            monitor: Task::of(Pid::this()),
            holder,
            manager: self.manager().map(str::to_owned),
            detached: self.detached,
            restarts: self.restarts,
        })?;
        if !self.spec.life.auto_remove {
            let begun = Exit { started_at: Some(started_at), restarts: self.restarts, ..Exit::default() };
            begun.write(&container.data)?;
        }
        Ok(started_at)
    }

    /// What nobody has to wait for: the neighbours get to know the container.
    fn announce(&self, connected: &Connected, warn: Warn<'_>) {
        if let Err(error) = hosts::announce(self.store, connected) {
            warn(&error);
        }
    }
}
