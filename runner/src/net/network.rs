//! One network: a list of plugins, and where the plugins are.

use std::path::{Path, PathBuf};

use cni::runtime::{ConfList, PluginConf};
use serde_json::Value;

use crate::error::{Context, Error, Result};
use crate::image::Digest;
use crate::spec::Dirs;
use crate::state::Record;
use crate::suite;

use super::{catalog, default};

/// Where the plugins of others are, when a list needs one that is not inside xnet.
const USUAL_PLACE: &str = "/opt/cni/bin";

/// A network's id: a digest of its name, so that it is the same on every look and needs no record.
pub(crate) fn id(name: &str) -> String {
    Digest::of(format!("xnet network {name}").as_bytes()).hex().to_owned()
}

/// A list of plugins, and where to find them.
#[derive(Debug, Clone)]
pub(crate) struct Network {
    /// The network's name, as the list has it.
    pub(crate) name: String,
    pub(super) list: ConfList,
    /// Empty: inside xnet.
    pub(super) plugin_path: Vec<PathBuf>,
}

impl Network {
    /// The network called `name`: one of `xnet network create`, the built-in one, or one of /etc/cni/net.d.
    ///
    /// # Errors
    /// There is none, it is none, or a plugin of it is nowhere to be found.
    pub(crate) fn find(name: &str, dirs: &Dirs, plugin_path: &[PathBuf]) -> Result<Self> {
        Self::new(catalog::find(name, dirs)?, plugin_path)
    }

    /// The network of the list in `file`.
    ///
    /// # Errors
    /// As [`Network::find`].
    pub(crate) fn from_file(file: &Path, plugin_path: &[PathBuf]) -> Result<Self> {
        let list = ConfList::from_file(file).context(|| format!("the network {}", file.display()))?;
        Self::new(list, plugin_path)
    }

    /// The network of a list.
    ///
    /// # Errors
    /// As [`Network::find`].
    pub(crate) fn new(list: ConfList, plugin_path: &[PathBuf]) -> Result<Self> {
        let name = list.network().context(|| "the network's name")?.to_string();
        let mut plugin_path = plugin_path.to_vec();
        if plugin_path.is_empty() && !types(&list).all(is_ours) {
            plugin_path.push(USUAL_PLACE.into());
        }
        let network = Self { name, list, plugin_path };
        network.check_plugins()?;
        Ok(network)
    }

    /// The built-in network, adapted to this host.
    ///
    /// # Errors
    /// None in practice: the list is a constant.
    pub(crate) fn built_in() -> Result<ConfList> {
        ConfList::from_slice(&default::for_host()?).context(|| "the built-in network")
    }

    /// Refuses a list with a plugin that is nowhere to be found: neither ADD nor, what is worse, DEL could be run.
    fn check_plugins(&self) -> Result<()> {
        if let Some(path) = types(&self.list).find(|name| name.contains('/') || [".", "..", ""].contains(name)) {
            return Err(Error::new(format!(
                "network {}: the plugin {path:?} is refused: a plugin is named, not located (code 7)",
                self.name
            )));
        }
        if !self.is_foreign() {
            return Ok(());
        }
        let here = |name: &str| self.plugin_path.iter().any(|dir| dir.join(name).is_file());
        match types(&self.list).find(|name| !here(name)) {
            None => Ok(()),
            Some(name) => {
                let places: Vec<_> = self.plugin_path.iter().map(|dir| dir.display().to_string()).collect();
                let hint = if is_ours(name) { "" } else { ", and xnet has none of that name inside" };
                Err(Error::new(format!(
                    "network {}: there is no plugin {name:?} in {}{hint}",
                    self.name,
                    places.join(":")
                )))
            }
        }
    }

    /// The bridge of the host that it is on, if it is on one.
    pub(crate) fn bridge(&self) -> Option<String> {
        let list: Value = serde_json::from_slice(self.list.bytes()).ok()?;
        let plugins = list.get("plugins").and_then(Value::as_array).into_iter().flatten();
        let mut bridges = plugins.filter(|plugin| plugin.get("type").and_then(Value::as_str) == Some("bridge"));
        bridges.find_map(|plugin| plugin.get("bridge")?.as_str().map(str::to_owned))
    }

    /// Whether the plugins are not those inside xnet.
    pub(crate) fn is_foreign(&self) -> bool {
        !self.plugin_path.is_empty()
    }

    /// Directories of plugins that others could put a program into.
    pub(crate) fn distrusted(&self) -> impl Iterator<Item = Error> + '_ {
        self.plugin_path.iter().filter_map(|dir| cni::runtime::distrusted(dir)).map(Error::new)
    }

    /// Whether one of its plugins has declared `capability`.
    pub(crate) fn is_capable_of(&self, capability: &str) -> bool {
        self.list.plugins().iter().any(|plugin| plugin.capabilities().any(|declared| declared == capability))
    }

    /// The network without those of our own plugins that do nothing for a container without published ports: a process
    /// that is not started is the fastest of all. DEL is run with the list of ADD, and so leaves them out as well.
    pub(crate) fn without_ports(self) -> Result<Self> {
        if self.is_foreign() || !types(&self.list).any(|name| name == PORTMAP) || self.list.plugins().len() < 2 {
            return Ok(self);
        }
        let mut list: Value = serde_json::from_slice(self.list.bytes()).context(|| "the network's list")?;
        if let Some(Value::Array(plugins)) = list.get_mut("plugins") {
            plugins.retain(|plugin| plugin.get("type").and_then(Value::as_str) != Some(PORTMAP));
        }
        let list = list.to_string();
        Ok(Self { list: ConfList::from_slice(list.as_bytes()).context(|| "the network's list")?, ..self })
    }

    /// The network without its default routes, for a container that has some already: the first network leads out.
    ///
    /// # Errors
    /// None in practice: the list was read before.
    pub(crate) fn without_default_routes(self) -> Result<Self> {
        let mut list: Value = serde_json::from_slice(self.list.bytes()).context(|| "the network's list")?;
        let plugins = list.get_mut("plugins").and_then(Value::as_array_mut);
        for plugin in plugins.into_iter().flatten().filter_map(Value::as_object_mut) {
            if plugin.get("isDefaultGateway").and_then(Value::as_bool) == Some(true) {
                plugin.insert("isDefaultGateway".to_owned(), false.into());
                plugin.insert("isGateway".to_owned(), true.into());
            }
            let routes = plugin.get_mut("ipam").and_then(|ipam| ipam.get_mut("routes")).and_then(Value::as_array_mut);
            let is_default =
                |route: &Value| route.get("dst").and_then(Value::as_str).is_some_and(|dst| dst.ends_with("/0"));
            routes.into_iter().for_each(|routes| routes.retain(|route| !is_default(route)));
        }
        let list = list.to_string();
        Ok(Self { list: ConfList::from_slice(list.as_bytes()).context(|| "the network's list")?, ..self })
    }

    /// Whether it has a default route to give, for IPv4 and for IPv6.
    pub(crate) fn leads_out(&self) -> [bool; 2] {
        let list: Value = serde_json::from_slice(self.list.bytes()).unwrap_or_default();
        let plugins = list.get("plugins").and_then(Value::as_array).into_iter().flatten();
        plugins.fold([false; 2], |[four, six], plugin| {
            let always = plugin.get("isDefaultGateway").and_then(Value::as_bool) == Some(true);
            let routes = plugin.pointer("/ipam/routes").and_then(Value::as_array).into_iter().flatten();
            let to: Vec<_> = routes.filter_map(|route| route.get("dst")?.as_str()).collect();
            [four || always || to.contains(&"0.0.0.0/0"), six || always || to.contains(&"::/0")]
        })
    }

    /// What must be undone once the plugins have been called for interface `ifname`.
    pub(crate) fn record(&self, ifname: &str, netns: &Path) -> Record {
        Record::Network {
            network: self.name.clone(),
            conflist: String::from_utf8_lossy(self.list.bytes()).into_owned(),
            plugin_path: self.plugin_path.clone(),
            ifname: ifname.to_owned(),
            netns: netns.to_owned(),
        }
    }
}

const PORTMAP: &str = "portmap";

fn types(list: &ConfList) -> impl Iterator<Item = &str> {
    list.plugins().iter().map(PluginConf::plugin)
}

fn is_ours(name: &str) -> bool {
    suite::names().any(|ours| ours == name)
}
