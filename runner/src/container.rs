//! The life of a container, from its parent's side.
//!
//! The order is what makes it safe. Before anything is made, the container has a directory, a lock that dies with this
//! process, and a log; what is made is first written there. Whatever happens then, a failure here, a signal, the end of
//! the command or the death of this process, the way back is the same: read the log backwards.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::libc;
use nix::unistd::geteuid;

use crate::cgroup::{self, Group, Hierarchy, devices};
use crate::error::{Context, Error, Result};
use crate::net::bridge::Network;
use crate::net::{self, Resolved, Wired, pin};
use crate::process::channel;
use crate::process::child::Child;
use crate::process::signals::Signals;
use crate::process::wait::Running;
use crate::setup::{self, Op};
use crate::spec::{Dirs, NamespaceMode, Namespaces, Spec};
use crate::state::{Container, Info, Record, Store, undo};
use crate::sys::clone::{Cloned, clone3};
use crate::{fault, sys};

/// Runs `spec` to its end and removes everything. Answers the command's exit status; an error means that the command
/// did not run. `warn` gets what went wrong without changing the status.
pub fn run(spec: &Spec, network: Option<&Network>, dirs: &Dirs, warn: &mut dyn FnMut(&Error)) -> Result<u8> {
    if !geteuid().is_root() {
        return Err(Error::new("a container can only be made by root; running without it is not supported yet"));
    }
    let store = Store::open(&dirs.state)?;
    // What the dead have left goes first: it may hold the name, or the address, that is wanted now.
    undo::abandoned(&store, false)?.1.iter().for_each(&mut *warn);
    let resolved = Resolved::new(spec, &store)?;
    let signals = Signals::block()?;
    let mut container = store.create(&spec.id, spec.name.as_ref())?;
    let result = Start { spec, network, dirs, store: &store, resolved, signals }.run(&mut container);
    if let Err(error) = undo::all(&store, container, false) {
        warn(&error);
    }
    result
}

/// The set-up steps of `spec`, for people.
pub fn explain(spec: &Spec, dirs: &Dirs) -> Result<Vec<Op>> {
    let resolved = Resolved::new(spec, &Store::open(&dirs.state)?)?;
    Ok(setup::plan(spec, resolved.netns(), resolved.hostname))
}

struct Start<'a> {
    spec: &'a Spec,
    /// In bridge mode.
    network: Option<&'a Network>,
    dirs: &'a Dirs,
    store: &'a Store,
    resolved: Resolved,
    signals: Signals,
}

/// A container's groups, by version.
type Groups = (Vec<PathBuf>, Option<PathBuf>);

impl Start<'_> {
    fn run(&self, container: &mut Container) -> Result<u8> {
        let hierarchies = cgroup::of_host()?;
        let (ones, two) = self.groups(&hierarchies, container)?;
        let (running, netns) = self.first_process(&hierarchies, ones, two.as_deref(), container)?;
        let attended = self.wire(&running, netns, container).and_then(|()| running.attend());
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
        let ops = setup::plan(self.spec, self.resolved.netns(), self.resolved.hostname.clone());
        let staging = container.workplace("staging")?;
        let child = Child { spec: self.spec, ops: &ops, staging, groups, hierarchies };
        let unified =
            unified.map(|dir| fs::File::open(dir).context(|| format!("open {}", dir.display()))).transpose()?;
        let (ours, theirs) = channel::pair()?;
        let cloned = clone3(namespaces(self.spec), unified.as_ref().map(AsFd::as_fd));
        match cloned.context(|| "make a process in new namespaces")? {
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
        let open = || sys::ns::of_process(running.pidfd.as_fd(), running.pid);
        self.spec.net.mode.is_private().then(open).transpose().context(|| "open the container's network namespace")
    }

    /// Pins the namespace, has it wired, tells the world, and lets the child go on.
    fn wire(&self, running: &Running<'_>, netns: Option<OwnedFd>, container: &mut Container) -> Result<()> {
        let path = self.dirs.netns.join(self.spec.id.as_str());
        if let Some(network) = self.network.filter(|n| !n.is_foreign()) {
            container.record(&network.record(&path))?;
        }
        if let Some(netns) = &netns {
            container.record(&Record::Netns { path: path.clone() })?;
            fault::point("log-netns")?;
            pin::pin(netns.as_fd(), &path)?;
            fault::point("pin-netns")?;
        }
        let wired =
            self.network.map_or_else(|| Ok(Wired::default()), |network| self.attach(network, &path, container))?;
        self.release(running, netns.map(|_| path), &wired, container)
    }

    fn attach(&self, network: &Network, netns: &Path, container: &mut Container) -> Result<Wired> {
        if network.is_foreign() {
            container.record(&network.record(netns))?;
        }
        fault::point("log-network")?;
        let wired = net::bridge::add(network, self.store, container, netns)?;
        fault::point("network")?;
        Ok(wired)
    }

    fn release(
        &self,
        running: &Running<'_>,
        netns: Option<PathBuf>,
        wired: &Wired,
        container: &Container,
    ) -> Result<()> {
        let files = self.resolved.files(&self.spec.net.mode, wired);
        container.publish(&Info {
            id: self.spec.id.clone(),
            name: self.spec.name.clone(),
            hostname: self.resolved.hostname.clone().unwrap_or_default(),
            pid: running.pid.as_raw(),
            netns: netns.or_else(|| self.resolved.netns()),
            hosts: files.hosts.clone(),
            resolv: files.resolv.clone(),
        })?;
        fault::point("publish")?;
        // A child that has failed meanwhile has closed its end; its reason is waiting in the queue.
        let _ = running.channel.network_ready(&files);
        fault::point("release")
    }
}

/// Those that the container gets for itself at birth.
fn namespaces(spec: &Spec) -> libc::c_int {
    let own = |mode: &NamespaceMode, flag| if *mode == NamespaceMode::Private { flag } else { 0 };
    let net = if spec.net.mode.is_private() { libc::CLONE_NEWNET } else { 0 };
    let Namespaces { pid, ipc, uts, .. } = &spec.namespaces;
    let rest = own(pid, libc::CLONE_NEWPID) | own(ipc, libc::CLONE_NEWIPC) | own(uts, libc::CLONE_NEWUTS);
    libc::CLONE_NEWNS | net | rest
}
