//! Containers wired by CNI plugins: the runtime's side of one attachment.
//!
//! ADD is run with the pinned namespace, DEL with what is left of it. For plugins of our own the log is written in the
//! order attachment, namespace; read backwards, the namespace goes first, and the kernel takes the container's links with
//! it, which costs nobody any time. They then find the rest, leases and rules, without a namespace. Plugins of others may
//! need to see it, so for them the order is the other way round.
//!
//! What DEL needs is in the container's own directory: the list as it was at ADD (in the log) and the result (in a cache of
//! libcni's format). It is removed with the container, and no other program's garbage collection takes it for its own.
//! Plugins see a clean environment, and run with the signals blocked that `xnet` has blocked: a Ctrl-C in a terminal goes
//! to all its processes, and would tear a plugin out of the middle of its work.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use cni::runtime::{ConfList, DEFAULT_TIMEOUT, Environment, Runtime, RuntimeConf};

use crate::error::{Context, Error, Result};
use crate::state::{Container, Record, Store};
use crate::{suite, sys};

use super::resolv::Dns;
use super::{Wired, default};

/// The name of the interface inside.
const INTERFACE: &str = "eth0";

/// A list of plugins, and where to find them.
#[derive(Debug, Clone)]
pub struct Network {
    list: ConfList,
    plugin_path: Vec<PathBuf>,
}

impl Network {
    /// The network of the list in `file`, or the built-in one; by the plugins in `plugin_path`, or our own if it is empty.
    pub fn load(file: Option<&Path>, plugin_path: Vec<PathBuf>) -> Result<Self> {
        let list = match file {
            Some(file) => ConfList::from_file(file).context(|| format!("the network {}", file.display()))?,
            None => ConfList::from_slice(&default::for_host()?).context(|| "the built-in network")?,
        };
        list.network().context(|| "the network's name")?;
        let network = Self { list, plugin_path };
        network.check_plugins()?;
        Ok(network)
    }

    /// Refuses a list with a plugin that is nowhere to be found: neither ADD nor, what is worse, DEL could be run.
    fn check_plugins(&self) -> Result<()> {
        let here = |name: &str| self.plugin_path.iter().any(|dir| dir.join(name).is_file());
        let known = |name: &str| if self.is_foreign() { here(name) } else { suite::names().any(|n| n == name) };
        match self.list.plugins().iter().find(|plugin| !known(plugin.plugin())) {
            None => Ok(()),
            Some(plugin) if self.is_foreign() => {
                let places: Vec<_> = self.plugin_path.iter().map(|dir| dir.display().to_string()).collect();
                Err(Error::new(format!("there is no plugin {:?} in {}", plugin.plugin(), places.join(":"))))
            }
            Some(plugin) => Err(Error::new(format!(
                "xnet has no plugin {:?} inside; --cni-path says where others are",
                plugin.plugin()
            ))),
        }
    }

    /// Whether the plugins are not those inside xnet.
    pub(crate) fn is_foreign(&self) -> bool {
        !self.plugin_path.is_empty()
    }

    /// Directories of plugins that others could put a program into.
    pub fn distrusted(&self) -> impl Iterator<Item = Error> + '_ {
        self.plugin_path.iter().filter_map(|dir| cni::runtime::distrusted(dir)).map(Error::new)
    }

    /// What must be undone once the plugins have been called.
    pub(crate) fn record(&self, netns: &Path) -> Record {
        Record::Network {
            conflist: String::from_utf8_lossy(self.list.bytes()).into_owned(),
            plugin_path: self.plugin_path.clone(),
            ifname: INTERFACE.to_owned(),
            netns: netns.to_owned(),
        }
    }
}

/// Attaches the container to `network`. A failure has already been undone as far as the plugins can.
pub(crate) fn add(network: &Network, store: &Store, container: &Container, netns: &Path) -> Result<Wired> {
    let runtime = runtime(store, container, &network.plugin_path)?;
    let conf = conf(container, INTERFACE, &netns.to_string_lossy())?;
    let result = runtime.add_or_undo(&network.list, &conf).context(|| "wire the container")?;
    Ok(Wired {
        addresses: result.ips.iter().map(|ip| ip.address.ip()).collect(),
        dns: Dns {
            nameservers: result.dns.nameservers,
            domain: Some(result.dns.domain).filter(|domain| !domain.is_empty()),
            search: result.dns.search,
            options: result.dns.options,
        },
    })
}

/// Undoes a [`Record::Network`]. Any number of times, and whether or not ADD came to an end.
pub(crate) fn undo(
    store: &Store,
    container: &Container,
    (conflist, plugin_path): (&str, &[PathBuf]),
    ifname: &str,
    netns: &Path,
) -> Result<()> {
    let list = ConfList::from_slice(conflist.as_bytes()).context(|| "the recorded network")?;
    let netns = if is_pinned(netns) { netns.to_string_lossy() } else { "".into() };
    let conf = conf(container, ifname, &netns)?;
    runtime(store, container, plugin_path)?.del_all(&list, &conf).context(|| "unwire the container")
}

fn runtime(store: &Store, container: &Container, plugin_path: &[PathBuf]) -> Result<Runtime> {
    let plugin_dirs = if plugin_path.is_empty() { vec![suite::directory(store)?] } else { plugin_path.to_vec() };
    let cache_dir = container.workplace("cni")?;
    Ok(Runtime { plugin_dirs, cache_dir, timeout: DEFAULT_TIMEOUT, env: Environment::clean() })
}

fn conf(container: &Container, ifname: &str, netns: &str) -> Result<RuntimeConf> {
    Ok(RuntimeConf {
        container_id: container.id.as_str().parse().context(|| "the container's id")?,
        netns: netns.to_owned(),
        ifname: ifname.parse().context(|| "the interface's name")?,
        args: Vec::new(),
        capability_args: serde_json::Map::new(),
    })
}

/// Whether a network namespace is mounted at `path`, which is an empty file before and nothing afterwards.
fn is_pinned(path: &Path) -> bool {
    File::open(path).is_ok_and(|file| sys::ns::is_net(file.as_fd()).unwrap_or(false))
}
