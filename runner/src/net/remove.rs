//! Removing networks, and what containers that are gone have left in them.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use cni::runtime::{Cache, ConfList, DEFAULT_TIMEOUT, Environment, Runtime, cache};
use cni::{ContainerId, IfName};
use kernel::{Handle, link};
use serde_json::Value;

use crate::error::{Context, Error, Result};
use crate::rootless;
use crate::spec::Dirs;
use crate::state::Store;
use crate::suite;

use super::catalog::{self, Source};
use super::connected::{Connected, members};
use super::fence;

/// Removes the network called `name`: its file, what the plugins keep for it, and its bridge if nothing else is on it.
///
/// # Errors
/// It is not one of ours, or a container is on it.
pub(crate) fn remove(name: &str, store: &Store, dirs: &Dirs) -> Result<()> {
    let (list, source) = catalog::locate(name, dirs)?;
    let path = match source {
        Source::Ours(path) => path,
        Source::BuiltIn => return Err(Error::new(format!("network {name} is built in and cannot be removed"))),
        Source::Host => {
            return Err(Error::new(format!(
                "network {name} is configured in {}, which is not xnet's",
                dirs.conf.display()
            )));
        }
    };
    let users = members(store, name);
    if !users.is_empty() {
        let users: Vec<&str> = users.iter().map(Connected::title).collect();
        return Err(Error::new(format!("network {name} is in use by container {}", users.join(", "))));
    }
    collect(&list, &[], store)?;
    std::fs::remove_file(&path).context(|| format!("remove {}", path.display()))?;
    remove_bridge(&list)?;
    fence::lower(&list)
}

/// Removes the networks of ours that no container is on, and answers their names.
///
/// # Errors
/// The first that could not be removed.
pub(crate) fn prune(store: &Store, dirs: &Dirs) -> Result<Vec<String>> {
    let mut pruned = Vec::new();
    for (name, source) in catalog::all(dirs)? {
        if matches!(source, Source::Ours(_)) && name != "bridge" && members(store, &name).is_empty() {
            remove(&name, store, dirs)?;
            pruned.push(name);
        }
    }
    Ok(pruned)
}

/// Has the plugins of our networks forget whatever belongs to no container any more: after a reboot the leases are still
/// there and nobody else knows it. What other runtimes have on record for a network of the same name stays.
///
/// # Errors
/// What could not be removed.
pub(crate) fn collect_all(store: &Store, dirs: &Dirs) -> Vec<Error> {
    if rootless::caller().is_some() {
        // Who can make no attachments leaves none.
        return Vec::new();
    }
    let networks = match catalog::all(dirs) {
        Ok(networks) => networks,
        Err(error) => return vec![error],
    };
    let mut failures = Vec::new();
    for (name, source) in networks {
        // Nothing was ever attached where no directory of leases is.
        if source == Source::Host || !leases(&name).is_dir() {
            continue;
        }
        let valid = valid(&name, store, dirs);
        let done = catalog::find(&name, dirs).and_then(|list| collect(&list, &valid, store));
        failures.extend(done.err());
    }
    failures
}

/// Leases of our networks whose attachments are gone, each with the id of the container that had it: what [`collect_all`] removes.
///
/// # Errors
/// The networks can't be listed.
pub(crate) fn stale_leases(store: &Store, dirs: &Dirs) -> Result<Vec<(PathBuf, String)>> {
    let mut found = Vec::new();
    for (name, source) in catalog::all(dirs)? {
        if source == Source::Host || !leases(&name).is_dir() {
            continue;
        }
        let valid = valid(&name, store, dirs);
        for entry in std::fs::read_dir(leases(&name)).into_iter().flatten().flatten() {
            let (path, file) = (entry.path(), entry.file_name());
            let is_lease = file.to_str().is_some_and(|name| name.replace('_', ":").parse::<IpAddr>().is_ok());
            let Some(text) = std::fs::read_to_string(&path).ok().filter(|_| is_lease) else { continue };
            let owner = text.lines().next().unwrap_or_default().trim();
            if !valid.iter().any(|(id, _)| id.as_str() == owner) {
                found.push((path, owner.to_owned()));
            }
        }
    }
    Ok(found)
}

fn leases(network: &str) -> PathBuf {
    Path::new("/var/lib/cni/networks").join(network)
}

/// The attachments to `network` that are alive: those of our containers, those in libcni's cache (of `xnet cni add`, for
/// one), and those of containers of another state directory, whose namespaces are pinned beside ours.
fn valid(network: &str, store: &Store, dirs: &Dirs) -> Vec<(ContainerId, IfName)> {
    let mut valid = Vec::new();
    for member in members(store, network) {
        let on = member.endpoints.iter().filter(|endpoint| endpoint.network == network);
        valid.extend(on.filter_map(|e| Some((member.id.as_str().parse().ok()?, e.ifname.parse().ok()?))));
    }
    let recorded = Cache::new(cache::DEFAULT_DIR).attachments(None).unwrap_or_default();
    let same = recorded.into_iter().filter(|found| found.network.as_str() == network);
    valid.extend(same.map(|found| (found.conf.container_id, found.conf.ifname)));
    let pins = std::fs::read_dir(&dirs.netns).into_iter().flatten().flatten();
    for id in pins.filter_map(|pin| pin.file_name().to_str()?.parse::<ContainerId>().ok()) {
        valid.extend((0..MOST_INTERFACES).filter_map(|n| Some((id.clone(), format!("eth{n}").parse().ok()?))));
    }
    valid
}

/// How many interfaces a container is taken to have at most.
const MOST_INTERFACES: usize = 16;

fn collect(list: &ConfList, valid: &[(ContainerId, IfName)], store: &Store) -> Result<()> {
    let runtime = Runtime {
        plugin_dirs: vec![suite::directory(store)?],
        // No record of ours is there: each container has its own.
        cache_dir: store.root().join(".members"),
        timeout: DEFAULT_TIMEOUT,
        env: Environment::clean(),
        start: suite::start,
    };
    runtime.gc(list, Some(valid)).context(|| format!("clean up network {}", list.name()))
}

fn remove_bridge(list: &ConfList) -> Result<()> {
    let list: Value = serde_json::from_slice(list.bytes()).unwrap_or_default();
    let plugins = list.get("plugins").and_then(Value::as_array).into_iter().flatten();
    let mut bridges = plugins.filter(|plugin| plugin.get("type").and_then(Value::as_str) == Some("bridge"));
    let Some(name) = bridges.find_map(|plugin| plugin.get("bridge")?.as_str()) else { return Ok(()) };
    let mut host = Handle::here().context(|| "open a route socket")?;
    let refused = |error: kernel::netlink::Error| Error::new(format!("remove the bridge {name}: {error}"));
    let Some(bridge) = host.link(name).map_err(refused)?.filter(|link| link.is("bridge")) else { return Ok(()) };
    let ports = host.links().map_err(refused)?.into_iter().any(|link| link.master == Some(bridge.index));
    if ports { Ok(()) } else { host.call(link::del(name)).map_err(refused) }
}
