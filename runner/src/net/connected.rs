//! What a container is connected to: `STATE/ID/net.json`, written in one step, and the register of each network.
//!
//! The register of a network is the directory `STATE/.members/NETWORK` with a link for every container on it, so that
//! neighbours, and whether a network is in use, are found without a look at all the others.

use std::fs::{self, DirBuilder};
use std::io::ErrorKind;
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt, symlink};
use std::path::{Path, PathBuf};

use cni::result::AddResult;
use serde::{Deserialize, Serialize};

use crate::error::{Context, Error, Result};
use crate::id::Name;
use crate::state::Store;

use super::ports::Mapping;

/// The network side of a running container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Connected {
    /// The container.
    pub(crate) id: Name,
    /// Its name.
    pub(crate) name: Option<Name>,
    /// The host name inside; the host's own when the container has no other.
    pub(crate) hostname: String,
    /// The domain name.
    pub(crate) domainname: Option<String>,
    /// The namespace's file; none in the host's.
    pub(crate) netns: Option<PathBuf>,
    /// The namespace's inode; 0 in the host's.
    pub(crate) inode: u64,
    /// The container whose namespace this is, if it is another's.
    pub(crate) joined: Option<Name>,
    /// Where `hosts`, `hostname` and `resolv.conf` are.
    pub(crate) files: PathBuf,
    /// Its attachments, in order.
    pub(crate) endpoints: Vec<Endpoint>,
    /// The ports of the host that lead to it.
    pub(crate) ports: Vec<Mapping>,
    /// Published ports that lead nowhere, because no network of the container can publish.
    #[serde(default)]
    pub(crate) waiting: Vec<Mapping>,
    /// Whether others have joined its namespace, which therefore may outlive it.
    #[serde(default)]
    pub(crate) is_shared: bool,
}

/// One attachment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Endpoint {
    /// The network's name.
    pub(crate) network: String,
    /// The interface inside.
    pub(crate) ifname: String,
    /// Its hardware address, as the plugins tell it.
    pub(crate) mac: Option<String>,
    /// Its addresses.
    pub(crate) addresses: Vec<Assigned>,
    /// More names on this network.
    pub(crate) aliases: Vec<String>,
    /// Whether it is the way out, to everything that no network of the container has.
    pub(crate) is_default: bool,
    /// Whether it is where the published ports lead to.
    #[serde(default)]
    pub(crate) publishes: bool,
}

/// An address with what belongs to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Assigned {
    /// The address.
    pub(crate) address: IpAddr,
    /// The length of its network's prefix, in bits.
    pub(crate) prefix: u8,
    /// The way out of its network.
    pub(crate) gateway: Option<IpAddr>,
}

const FILE: &str = "net.json";

impl Connected {
    /// What is on record of the container `id`; none before it is connected, and after.
    pub(crate) fn read(store: &Store, id: &Name) -> Option<Self> {
        read(&store.place(id).join(FILE))
    }

    /// Puts it on record, and the container into the registers of its networks.
    ///
    /// # Errors
    /// A file can't be written.
    pub(crate) fn write(&self, store: &Store) -> Result<()> {
        let dir = store.place(&self.id);
        let (new, path) = (dir.join("net.json.new"), dir.join(FILE));
        let text = serde_json::to_vec(self).context(|| "encode what is connected")?;
        fs::write(&new, text).and_then(|()| fs::rename(&new, &path)).context(|| format!("write {}", path.display()))?;
        self.endpoints.iter().try_for_each(|endpoint| enter(store, &endpoint.network, &self.id))
    }

    /// The name to call it by, for people.
    pub(crate) fn title(&self) -> &str {
        self.name.as_ref().map_or(self.id.short(), Name::as_str)
    }

    /// Every name by which others on `endpoint`'s network find it, best first.
    pub(crate) fn names(&self, endpoint: &Endpoint) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        let name = self.name.as_ref().map(|name| name.as_str().to_owned());
        let own = name.into_iter().chain([self.hostname.clone()]).chain(endpoint.aliases.iter().cloned());
        for name in own.chain([self.id.short().to_owned()]) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }
}

impl Endpoint {
    /// What ADD has answered, for interface `ifname`.
    pub(crate) fn of(network: &str, ifname: &str, result: &AddResult) -> Self {
        let inside = result.interfaces.iter().find(|each| each.name == ifname && !each.sandbox.is_empty());
        let assigned = |ip: &cni::result::IpConfig| Assigned {
            address: ip.address.ip(),
            prefix: ip.address.prefix(),
            gateway: ip.gateway,
        };
        Self {
            network: network.to_owned(),
            ifname: ifname.to_owned(),
            mac: inside.map(|each| each.mac.clone()).filter(|mac| !mac.is_empty()),
            addresses: result.ips.iter().map(assigned).collect(),
            aliases: Vec::new(),
            publishes: false,
            is_default: result.routes.iter().any(|route| route.dst.prefix() == 0),
        }
    }
}

/// The containers on `network`.
pub(crate) fn members(store: &Store, network: &str) -> Vec<Connected> {
    let entries = fs::read_dir(register(store, network)).into_iter().flatten().flatten();
    let mut found: Vec<_> = entries.filter_map(|entry| read(&entry.path())).collect();
    found.sort_by(|a, b| a.id.cmp(&b.id));
    found
}

/// Strikes the container `id` out of the register of `network`.
///
/// # Errors
/// The link is there and can't be removed.
pub(crate) fn leave(store: &Store, network: &str, id: &Name) -> Result<()> {
    let path = register(store, network).join(id.as_str());
    match fs::remove_file(&path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).context(|| format!("remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

fn enter(store: &Store, network: &str, id: &Name) -> Result<()> {
    let dir = register(store, network);
    DirBuilder::new().recursive(true).mode(0o700).create(&dir).context(|| format!("make {}", dir.display()))?;
    let target = Path::new("../..").join(id.as_str()).join(FILE);
    match symlink(target, dir.join(id.as_str())) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            Err(error).context(|| format!("enter the register {}", dir.display()))
        }
        _ => Ok(()),
    }
}

fn register(store: &Store, network: &str) -> PathBuf {
    registers(store).join(network)
}

/// Where the registers of all networks are.
pub(super) fn registers(store: &Store) -> PathBuf {
    store.root().join(".members")
}

fn read(path: &Path) -> Option<Connected> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

/// What is on record of a container that must be connected to something.
///
/// # Errors
/// Nothing is.
pub(crate) fn expect(store: &Store, id: &Name) -> Result<Connected> {
    Connected::read(store, id).ok_or_else(|| Error::new(format!("container {} is just starting or ending", id.short())))
}
