//! The calls of CNI plugins: the runtime's side of one attachment.
//!
//! Both ADD and DEL are run with the pinned namespace, as long as it is there. Unless others have joined it, DEL is told
//! that the namespace goes right afterwards ([`NETNS_ENDS`]): our plugins then leave a pair to the kernel, which takes it
//! with the namespace while nobody waits; those of others do as they always do.
//!
//! What DEL needs is in the container's own directory: the list as it was at ADD (in the log) and the result, with the
//! arguments, in a cache of libcni's format. It is removed with the container, and no other program's garbage collection
//! takes it for its own. Plugins see a clean environment, and run with the signals blocked that `xnet` has blocked: a
//! Ctrl-C in a terminal goes to all its processes, and would tear a plugin out of the middle of its work.

use std::fs::File;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cni::ContainerId;
use cni::exec::{self, Command, Output};
use cni::result::AddResult;
use cni::runtime::{ConfList, DEFAULT_TIMEOUT, Environment, Runtime, RuntimeConf};
use plugins::lifecycle::NETNS_ENDS;
use serde_json::{Map, Value, json};

use crate::error::{Context, Error, Result};
use crate::id::Name;
use crate::state::{Container, Store};
use crate::{suite, sys, trace};

use super::connected::{self, Connected};
use super::ports::Mapping;
use super::{Network, fence, hosts};

/// What the caller wants of an attachment, beside the attachment itself.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wishes {
    /// Addresses, at most one a family.
    pub(crate) addresses: Vec<IpAddr>,
    /// A hardware address.
    pub(crate) mac: Option<crate::spec::Mac>,
    /// Ports of the host that lead to the container.
    pub(crate) ports: Vec<Mapping>,
    /// More names.
    pub(crate) aliases: Vec<String>,
}

/// Where the plugins work, and for whom.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) store: &'a Store,
    pub(crate) id: &'a Name,
    pub(crate) netns: &'a Path,
    pub(crate) ifname: &'a str,
}

/// Attaches a container to `network`. A failure has already been undone as far as the plugins can.
///
/// # Errors
/// The plugin's own error, with its code.
pub(crate) fn add(network: &Network, place: Place<'_>, wishes: &Wishes) -> Result<AddResult> {
    fence::raise(&network.list)?;
    let runtime = runtime(place.store, place.id, &network.list, &network.plugin_path)?;
    let mut conf = conf(place.id, place.ifname, &place.netns.to_string_lossy())?;
    (conf.args, conf.capability_args) = arguments(network, wishes);
    runtime.add_or_undo(&network.list, &conf).context(|| format!("wire the container to network {}", network.name))
}

/// By capability where a plugin has declared it, and by `CNI_ARGS` where not.
fn arguments(network: &Network, wishes: &Wishes) -> (Vec<(String, String)>, Map<String, Value>) {
    let (mut args, mut capabilities) = (Vec::new(), Map::new());
    if !wishes.ports.is_empty() {
        capabilities.insert("portMappings".to_owned(), wishes.ports.iter().copied().map(Mapping::to_cni).collect());
    }
    if let Some(mac) = wishes.mac {
        capabilities.insert("mac".to_owned(), mac.to_string().into());
        if !network.is_capable_of("mac") {
            args.push(("MAC".to_owned(), mac.to_string()));
        }
    }
    if !wishes.addresses.is_empty() {
        let texts: Vec<String> = wishes.addresses.iter().map(ToString::to_string).collect();
        if !network.is_capable_of("ips") {
            args.push(("IP".to_owned(), texts.join(",")));
        }
        capabilities.insert("ips".to_owned(), json!(texts));
    }
    if !wishes.aliases.is_empty() {
        capabilities.insert("aliases".to_owned(), json!({ &network.name: wishes.aliases }));
    }
    if !args.is_empty() {
        args.insert(0, ("IgnoreUnknown".to_owned(), "1".to_owned()));
    }
    (args, capabilities)
}

/// Undoes a record of an attachment. Any number of times, and whether or not ADD came to an end.
///
/// # Errors
/// What the plugins could not remove.
pub(crate) fn undo(
    store: &Store,
    container: &Container,
    network: &str,
    (conflist, plugin_path): (&str, &[PathBuf]),
    (ifname, netns): (&str, &Path),
) -> Result<()> {
    connected::leave(store, network, &container.id)?;
    hosts::forget(store, network, &container.id);
    let list = ConfList::from_slice(conflist.as_bytes()).context(|| "the recorded network")?;
    let is_shared = Connected::read(store, &container.id).is_some_and(|connected| connected.is_shared);
    del(&list, plugin_path, Place { store, id: &container.id, netns, ifname }, !is_shared)
}

/// Runs DEL with the result and the arguments of ADD. The namespace may end right afterwards: `ends`.
///
/// # Errors
/// What the plugins could not remove.
pub(crate) fn del(list: &ConfList, plugin_path: &[PathBuf], place: Place<'_>, ends: bool) -> Result<()> {
    let runtime = runtime(place.store, place.id, list, plugin_path)?;
    let is_pinned = is_pinned(place.netns);
    let netns = if is_pinned { place.netns.to_string_lossy() } else { "".into() };
    let mut conf = conf(place.id, place.ifname, &netns)?;
    let network = list.network().context(|| "the recorded network")?;
    if let Ok(Some((_, recorded))) = runtime.recorded(&network, &conf.container_id, &conf.ifname) {
        (conf.args, conf.capability_args) = (recorded.args, recorded.capability_args);
    }
    if ends && is_pinned {
        let told = [("IgnoreUnknown", "1"), (NETNS_ENDS, "1")];
        conf.args.extend(told.map(|(key, value)| (key.to_owned(), value.to_owned())));
    }
    runtime.del_all(list, &conf).context(|| format!("unwire the container from network {network}"))
}

/// What runs plugins for the container `id`.
fn runtime(store: &Store, id: &Name, list: &ConfList, plugin_path: &[PathBuf]) -> Result<Runtime> {
    let mut plugin_dirs = plugin_path.to_vec();
    // Behind the others, so that theirs come first; in front of nobody, when only they were asked for.
    if plugin_dirs.is_empty() {
        plugin_dirs.push(suite::directory(store)?);
    }
    let cache_dir = store.place(id).join(if is_addition(list) { "cni-added" } else { "cni" });
    Ok(Runtime { plugin_dirs, cache_dir, timeout: timeout()?, env: Environment::clean(), start })
}

/// As [`suite::start`], on record.
fn start(command: &Command<'_>) -> Result<Output, exec::Error> {
    trace::plugin::call(command, suite::start)
}

/// The key under which a plugin is told what those before it have achieved.
pub(super) const BEFORE: &str = "prevResult";

/// Whether the list is about an attachment that another list has made ([`super::handover`]), and on record apart from that.
fn is_addition(list: &ConfList) -> bool {
    let list: Value = serde_json::from_slice(list.bytes()).unwrap_or_default();
    list.pointer("/plugins/0").is_some_and(|first| first.get(BEFORE).is_some())
}

/// How long one plugin may take: `XNET_CNI_TIMEOUT` in seconds, or what is usual.
fn timeout() -> Result<Duration> {
    match std::env::var("XNET_CNI_TIMEOUT") {
        Err(_) => Ok(DEFAULT_TIMEOUT),
        Ok(text) => match text.parse() {
            Ok(seconds) if seconds > 0 => Ok(Duration::from_secs(seconds)),
            _ => Err(Error::new(format!("XNET_CNI_TIMEOUT={text:?} is not a number of seconds"))),
        },
    }
}

fn conf(id: &Name, ifname: &str, netns: &str) -> Result<RuntimeConf> {
    Ok(RuntimeConf {
        container_id: container_id(id)?,
        netns: netns.to_owned(),
        ifname: ifname.parse().context(|| "the interface's name")?,
        args: Vec::new(),
        capability_args: Map::new(),
    })
}

/// The id as plugins know it.
pub(crate) fn container_id(id: &Name) -> Result<ContainerId> {
    id.as_str().parse().context(|| "the container's id")
}

/// Whether a network namespace is mounted at `path`, which is an empty file before and nothing afterwards.
fn is_pinned(path: &Path) -> bool {
    File::open(path).is_ok_and(|file| sys::ns::is_net(file.as_fd()).unwrap_or(false))
}
