//! The runtime side of CNI: what a container engine does with a network's configuration.
//!
//! A network is a *list*: plugins in order, under one name and one version of the protocol ([`ConfList`]). A container
//! is *attached* to it by running ADD of every plugin, each being told what those before it achieved (`prevResult`), and
//! detached by DEL of every plugin in reverse, each being told what ADD had achieved in the end. [`Runtime`] does that,
//! as libcni does for containerd, CRI-O and podman: same files read, same bytes sent to plugins, same error texts, and
//! the same cache on disk, so that an attachment made by one can be removed by the other.
//!
//! Who does what:
//!
//! * `conflist` and `directory` read lists, folders of plugins, and single plugin configurations of old.
//! * `config` derives what one plugin receives: its own object with name, version, prevResult and those of the caller's
//!   capability arguments that it has declared. `environment` says which variables its process gets, `call` starts it.
//! * `attach` holds ADD and CHECK of a list, `detach` DEL, `maintain` GC, STATUS and the check of a list against its
//!   plugins.
//! * [`cache`] remembers between ADD and DEL what the protocol obliges a runtime to remember.
//!
//! Where it departs from libcni, and why that is safe:
//!
//! * Names are checked before they become part of a path, in every operation and not in ADD alone; `CNI_ARGS` that would
//!   read as other pairs than were given are refused.
//! * ADD finds all its plugins, and looks at version and cache, before it runs the first: what can be known to fail leaves
//!   nothing half attached.
//! * [`Runtime::add_or_undo`], [`Runtime::del_all`] and [`Runtime::del_cached`] exist beside libcni's `add` and `del`, for
//!   a runner that has no kubelet above it to come back and clean up.
//! * The cache is written atomically, and a cached list includes the plugins of its folder.
//! * A cache folder that can not be listed fails GC, where libcni would report success and do nothing.

mod answer;
mod attach;
mod base64;
pub mod cache;
mod call;
mod config;
mod conflist;
mod detach;
mod directory;
mod environment;
mod json;
mod maintain;
mod trust;

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Map, Value};

pub use self::cache::{Attachment, Cache};
pub use self::config::PluginConf;
pub use self::conflist::ConfList;
pub use self::environment::Environment;
pub use self::trust::distrusted;
use crate::{ContainerId, IfName, exec};

/// How long a plugin may take, if the caller has no opinion. Only a DHCP client on a silent network takes longer.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

/// Runs lists: where plugins are found, what is remembered where, and how plugins are started.
#[derive(Debug, Clone)]
pub struct Runtime {
    /// Where plugins are looked for, in this order; they are told of it as `CNI_PATH`.
    pub plugin_dirs: Vec<PathBuf>,
    /// Where the result cache is, normally [`cache::DEFAULT_DIR`].
    pub cache_dir: PathBuf,
    /// How long one plugin may take before it and its children are killed.
    pub timeout: Duration,
    /// What a plugin's process inherits.
    pub env: Environment,
    /// Starts a plugin: [`exec::run`], unless the caller knows better.
    pub start: exec::Start,
}

/// The parameters of one attachment, which the list says nothing about.
#[derive(Debug, Clone, PartialEq)]
pub struct RuntimeConf {
    /// `CNI_CONTAINERID`.
    pub container_id: ContainerId,
    /// `CNI_NETNS`, the path of the namespace. DEL accepts an empty one: the namespace is gone.
    pub netns: String,
    /// `CNI_IFNAME`, the interface's name within the namespace.
    pub ifname: IfName,
    /// `CNI_ARGS`, as pairs.
    pub args: Vec<(String, String)>,
    /// What the caller offers by capability (`portMappings`, `mac`, ...). A plugin receives what it declares.
    pub capability_args: Map<String, Value>,
}

#[cfg(test)]
mod tests;
