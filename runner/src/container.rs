//! The life of a container, from its parent's side.
//!
//! The order is what makes it safe. Before anything is made, the container has a directory, a lock that dies with this
//! process, and a log; what is made is first written there. Whatever happens then, a failure here, a signal, the end of
//! the command or the death of this process, the way back is the same: read the log backwards.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::unistd::geteuid;

use crate::cgroup::{self, Group, Hierarchy, devices};
use crate::error::{Context, Error, Result};
use crate::namespaces::{self, Joins};
use crate::net::{Connected, Prepared, hosts, lookup};
use crate::process::channel;
use crate::process::child::Child;
use crate::process::signals::Signals;
use crate::process::wait::Running;
use crate::setup::{self, Op};
use crate::spec::{Dirs, NamespaceMode, Spec};
use crate::state::{Container, Info, Record, Store, undo};
use crate::sys::clone::{Cloned, clone3};
use crate::sys::ns::Kind;
use crate::{fault, sys};

/// Runs `spec` to its end and removes everything. Answers the command's exit status; an error means that the command
/// did not run. `warn` gets what went wrong without changing the status.
pub fn run(spec: &Spec, dirs: &Dirs, warn: &mut dyn FnMut(&Error)) -> Result<u8> {
    if !geteuid().is_root() {
        return Err(Error::new("a container can only be made by root; running without it is not supported yet"));
    }
    let networks = lookup(spec, dirs)?;
    let store = Store::open(&dirs.state)?;
    // What the dead have left goes first: it may hold the name, or the address, that is wanted now.
    undo::abandoned(&store, false)?.1.iter().for_each(&mut *warn);
    let prepared = Prepared::new(spec, networks, dirs, &store)?;
    prepared.warnings().for_each(|warning| warn(&warning));
    let joins = Joins::find(spec, &store)?;
    let signals = Signals::block()?;
    let mut container = store.create(&spec.id, spec.name.as_ref())?;
    let result = Start { spec, store: &store, prepared, joins, signals }.run(&mut container, warn);
    if let Err(error) = undo::all(&store, container, false) {
        warn(&error);
    }
    result
}

/// The set-up steps of `spec`, for people.
pub fn explain(spec: &Spec, dirs: &Dirs) -> Result<Vec<Op>> {
    let networks = lookup(spec, dirs)?;
    Ok(plan(spec, &Prepared::new(spec, networks, dirs, &Store::open(&dirs.state)?)?))
}

fn plan(spec: &Spec, prepared: &Prepared) -> Vec<Op> {
    setup::plan(spec, prepared.netns_to_enter(), prepared.hostname.clone(), prepared.domainname())
}

struct Start<'a> {
    spec: &'a Spec,
    store: &'a Store,
    prepared: Prepared,
    joins: Joins,
    signals: Signals,
}

/// A container's groups, by version.
type Groups = (Vec<PathBuf>, Option<PathBuf>);

impl Start<'_> {
    fn run(&self, container: &mut Container, warn: &mut dyn FnMut(&Error)) -> Result<u8> {
        let hierarchies = cgroup::of_host()?;
        let (ones, two) = self.groups(&hierarchies, container)?;
        let (running, netns) = self.first_process(&hierarchies, ones, two.as_deref(), container)?;
        let wired = self.wire(&running, netns, container, warn);
        let attended = wired.and_then(|connected| running.attend(|| self.announce(&connected, warn)));
        attended.map_err(|error| running.kill(error))
    }

    fn groups(&self, hierarchies: &[Hierarchy], container: &mut Container) -> Result<Groups> {
        let group = Group::new(hierarchies, &self.spec.cgroup_parent, &self.spec.id);
        if let Some((control, controllers)) = group.controllers_to_enable(&self.spec.limits) {
            container.record(&Record::Controllers { control, controllers })?;
        }
        container.record(&Record::Cgroups { dirs: group.dirs() })?;
        fault::point("log-cgroups")?;
        let made = group.create(&self.spec.limits)?;
        if !self.spec.process.privileged {
            let rules = [devices::usual(), self.spec.limits.devices.clone()].concat();
            group.guard_devices(&rules)?;
        }
        fault::point("make-cgroups")?;
        if self.spec.namespaces.pid != NamespaceMode::Private && made.0.is_empty() && made.1.is_none() {
            return Err(Error::new(
                "a container without a pid namespace of its own needs a cgroup, by which all its processes can be \
                 ended, and none could be made",
            ));
        }
        Ok(made)
    }

    /// Starts the child; it sets itself up while this process goes on to the network.
    fn first_process(
        &self,
        hierarchies: &[Hierarchy],
        groups: Vec<PathBuf>,
        unified: Option<&Path>,
        container: &mut Container,
    ) -> Result<(Running<'_>, Option<OwnedFd>)> {
        let ops = plan(self.spec, &self.prepared);
        self.prepared.pin_joined(container)?;
        let staging = container.workplace("staging")?;
        let child = Child { spec: self.spec, ops: &ops, staging, groups, hierarchies, shm: self.joins.shm() };
        let unified =
            unified.map(|dir| fs::File::open(dir).context(|| format!("open {}", dir.display()))).transpose()?;
        let (ours, theirs) = channel::pair()?;
        let unified = unified.as_ref().map(AsFd::as_fd);
        let clone = || clone3(namespaces::flags(self.spec), unified).context(|| "make a process in new namespaces");
        match self.joins.around(clone, |born| matches!(born, Cloned::Parent { .. }))? {
            Cloned::Child => {
                drop(ours);
                child.run(theirs)
            }
            Cloned::Parent { pid, pidfd } => {
                drop(theirs);
                fault::point("clone")?;
                let running = Running { pid, pidfd, channel: ours, signals: &self.signals };
                let start = undo::start_time(pid).unwrap_or_default();
                let known = container.record(&Record::Process { pid: pid.as_raw(), start });
                let netns = known.and_then(|()| self.netns(&running));
                match netns {
                    Ok(netns) => Ok((running, netns)),
                    Err(error) => Err(running.kill(error)),
                }
            }
        }
    }

    fn netns(&self, running: &Running<'_>) -> Result<Option<OwnedFd>> {
        let open = || sys::ns::of_process(running.pidfd.as_fd(), running.pid, Kind::Net);
        self.prepared.is_private().then(open).transpose().context(|| "open the container's network namespace")
    }

    /// Has the network made, tells the world, and lets the child go on.
    fn wire(
        &self,
        running: &Running<'_>,
        netns: Option<OwnedFd>,
        container: &mut Container,
        warn: &mut dyn FnMut(&Error),
    ) -> Result<Connected> {
        let (connected, files) = self.prepared.connect(container, self.store, netns.as_ref(), warn)?;
        let (id, name) = (self.spec.id.clone(), self.spec.name.clone());
        container.publish(&Info { id, name, pid: running.pid.as_raw() })?;
        fault::point("publish")?;
        // A child that has failed meanwhile has closed its end; its reason is waiting in the queue.
        let _ = running.channel.network_ready(&files);
        fault::point("release")?;
        Ok(connected)
    }

    /// What nobody has to wait for: the neighbours get to know the container.
    fn announce(&self, connected: &Connected, warn: &mut dyn FnMut(&Error)) {
        if let Err(error) = hosts::announce(self.store, connected) {
            warn(&error);
        }
    }
}
