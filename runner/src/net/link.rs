//! Connecting a running container to another network, and disconnecting it.
//!
//! The container belongs to another process, its runner. What is done here is written into the same log, so that the
//! runner undoes it in the end. A lock keeps the two apart: it is held here while plugins work, and by the runner from
//! before it reads the log until the container is gone.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use cni::runtime::ConfList;

use crate::error::{Context, Error, Result};
use crate::id::Name;
use crate::spec::Dirs;
use crate::state::{Record, Store, log};

use super::attach::{self, Place, Wishes};
use super::connected::{self, Connected, Endpoint};
use super::{Network, handover, hosts, join};

/// Keeps everybody else from changing what the container of the state directory `dir` is connected to.
///
/// # Errors
/// The directory is gone.
pub(crate) fn lock(dir: &Path) -> Result<File> {
    let path = dir.join("net.lock");
    let mut options = OpenOptions::new();
    options.write(true).create(true).mode(0o600).custom_flags(nix::libc::O_NOFOLLOW | nix::libc::O_CLOEXEC);
    let file = options.open(&path).context(|| format!("open {}", path.display()))?;
    file.lock().context(|| format!("lock {}", path.display()))?;
    Ok(file)
}

/// Attaches the running container `target` to the network called `name`, as its next interface.
///
/// # Errors
/// There is no such container or network, it is attached already, or a plugin refuses.
pub(crate) fn connect(store: &Store, dirs: &Dirs, target: &str, name: &str, wishes: &Wishes) -> Result<Endpoint> {
    let network = Network::find(name, dirs, &[])?;
    let (_lock, mut connected) = hold(store, target)?;
    let title = connected.title().to_owned();
    let netns = own_namespace(&connected)?.to_owned();
    if connected.endpoints.iter().any(|endpoint| endpoint.network == network.name) {
        return Err(Error::new(format!("container {title} is on network {} already", network.name)));
    }
    let leads_out = connected.endpoints.iter().any(|endpoint| endpoint.is_default);
    let network = if leads_out { network.without_default_routes()? } else { network };
    let publishes = !connected.waiting.is_empty() && network.is_capable_of(handover::PUBLISHES);
    let network = if publishes { network } else { network.without_ports()? };
    let mut wishes = wishes.clone();
    if publishes {
        wishes.ports.clone_from(&connected.waiting);
    }
    let ifname = next_interface(&connected);
    record(store, &connected.id, &network, &ifname, &netns)?;
    let place = Place { store, id: &connected.id, netns: &netns, ifname: &ifname };
    let result = attach::add(&network, place, &wishes)?;
    let mut endpoint = Endpoint { publishes, ..Endpoint::of(&network.name, &ifname, &result) };
    endpoint.aliases = wishes.aliases;
    if publishes {
        connected.ports.append(&mut connected.waiting);
    }
    connected.endpoints.push(endpoint.clone());
    connected.write(store)?;
    hosts::join(store, &connected, &endpoint)?;
    Ok(endpoint)
}

/// Writes down that plugins are about to be called for interface `ifname` of the container `id`.
pub(super) fn record(store: &Store, id: &Name, network: &Network, ifname: &str, netns: &Path) -> Result<()> {
    let log = store.place(id).join("log");
    let mut log = OpenOptions::new().append(true).open(&log).context(|| format!("open {}", log.display()))?;
    log::append(&mut log, &network.record(ifname, netns))
}

/// Detaches the running container `target` from the network called `name`. If that was its way out, or where its ports led,
/// another of its networks takes over.
///
/// # Errors
/// It is not on it, something could not be removed, or could not be handed over.
pub(crate) fn disconnect(store: &Store, dirs: &Dirs, target: &str, name: &str) -> Result<()> {
    let (_lock, mut connected) = hold(store, target)?;
    let Some(at) = connected.endpoints.iter().position(|endpoint| endpoint.network == name) else {
        return Err(Error::new(format!("container {} is not on network {name}", connected.title())));
    };
    let endpoint = connected.endpoints.remove(at);
    let netns = own_namespace(&connected)?.to_owned();
    for (list, plugin_path) in recorded(store, &connected, &endpoint)? {
        let place = Place { store, id: &connected.id, netns: &netns, ifname: &endpoint.ifname };
        attach::del(&list, &plugin_path, place, false)?;
    }
    if endpoint.publishes {
        connected.waiting.append(&mut connected.ports);
    }
    connected.write(store)?;
    connected::leave(store, name, &connected.id)?;
    hosts::part(store, &connected, &endpoint)?;
    if endpoint.is_default {
        handover::default_route(dirs, &mut connected, &netns)?;
        connected.write(store)?;
    }
    if endpoint.publishes {
        handover::ports(store, dirs, &mut connected, &netns)?;
        connected.write(store)?;
    }
    Ok(())
}

/// Puts it on record that the namespace of the container `id` does not end with it, because another is about to join it. Of one
/// that is gone nothing needs to be known.
///
/// # Errors
/// The record can't be written.
pub(crate) fn share(store: &Store, id: &Name) -> Result<()> {
    let Ok(_lock) = lock(&store.place(id)) else { return Ok(()) };
    match Connected::read(store, id) {
        Some(connected) if !connected.is_shared => Connected { is_shared: true, ..connected }.write(store),
        _ => Ok(()),
    }
}

/// Has the neighbours of a running container know it by its new name.
///
/// # Errors
/// A neighbour's file can't be written. The others' are.
pub(crate) fn rename(store: &Store, id: &Name, name: &Name) -> Result<()> {
    // One that is just ending needs no name.
    let Ok(_lock) = lock(&store.place(id)) else { return Ok(()) };
    let Some(mut connected) = Connected::read(store, id) else { return Ok(()) };
    connected.name = Some(name.clone());
    connected.write(store)?;
    hosts::announce(store, &connected)
}

fn hold(store: &Store, target: &str) -> Result<(File, Connected)> {
    let info = store.resolve(target)?;
    let lock = lock(&store.place(&info.id))?;
    let connected = connected::expect(store, &info.id)?;
    if connected.netns.is_some() {
        join::namespace(&info, &connected)?;
    }
    Ok((lock, connected))
}

/// The namespace's file, if the container has a namespace that is its own to change.
fn own_namespace(connected: &Connected) -> Result<&Path> {
    let title = connected.title();
    match (&connected.netns, &connected.joined) {
        (_, Some(other)) => Err(Error::new(format!(
            "container {title} shares the network of container {}: connect or disconnect that one",
            other.short()
        ))),
        (None, None) => Err(Error::new(format!("container {title} is in the host's network, which has no plugins"))),
        (Some(netns), None) if netns.file_name().is_some_and(|name| name == connected.id.as_str()) => Ok(netns),
        (Some(netns), None) => {
            Err(Error::new(format!("container {title} is in {}, which is not its own", netns.display())))
        }
    }
}

fn next_interface(connected: &Connected) -> String {
    let is_free = |name: &String| !connected.endpoints.iter().any(|endpoint| endpoint.ifname == *name);
    (0..).map(|n| format!("eth{n}")).find(is_free).unwrap_or_default()
}

/// The lists of plugins with which an attachment was made, the last one first.
fn recorded(store: &Store, connected: &Connected, endpoint: &Endpoint) -> Result<Vec<(ConfList, Vec<PathBuf>)>> {
    let mut lists: Vec<(String, Vec<PathBuf>)> = Vec::new();
    for record in log::read(&store.place(&connected.id).join("log"))?.into_iter().rev() {
        if let Record::Network { network, ifname, conflist, plugin_path, .. } = record
            && (&network, &ifname) == (&endpoint.network, &endpoint.ifname)
            // One that was left before and joined again is on record twice.
            && !lists.iter().any(|(known, _)| *known == conflist)
        {
            lists.push((conflist, plugin_path));
        }
    }
    if lists.is_empty() {
        return Err(Error::new(format!("no attachment to network {} is on record", endpoint.network)));
    }
    let decode = |text: &str| ConfList::from_slice(text.as_bytes()).context(|| "the recorded network");
    lists.into_iter().map(|(text, plugin_path)| Ok((decode(&text)?, plugin_path))).collect()
}
