//! How a container is connected, and what it is called.

mod device;
mod mode;
mod names;
mod port;

use std::net::IpAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use device::NetDevice;
pub use mode::{Carrier, NetMode};
pub use names::{Domain, ExtraHost, HostAddress, Hostname, Mac};
pub use port::{Expose, HostPort, Protocol, Publish};

/// The network part of a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Net {
    /// `--net`: which network, or networks, it gets.
    pub mode: NetMode,
    /// `--hostname`; without it the id's first twelve digits, or what the mode says.
    pub hostname: Option<Hostname>,
    /// `--domainname`.
    #[serde(default)]
    pub domainname: Option<Domain>,
    /// `-p`, one entry a port of the container.
    #[serde(default)]
    pub publish: Vec<Publish>,
    /// `-P`: every exposed port gets a free port of the host.
    #[serde(default)]
    pub publish_all: bool,
    /// `--expose`, and what the image exposes.
    #[serde(default)]
    pub exposed: Vec<Expose>,
    /// `--ip` and `--ip6`: the addresses on the first network.
    #[serde(default)]
    pub addresses: Vec<IpAddr>,
    /// `--mac-address`, on the first network.
    #[serde(default)]
    pub mac: Option<Mac>,
    /// `--network-alias`: more names on its networks.
    #[serde(default)]
    pub aliases: Vec<Hostname>,
    /// `--dns`, `--dns-search`, `--dns-option`.
    #[serde(default)]
    pub dns: Dns,
    /// `--add-host`.
    #[serde(default)]
    pub extra_hosts: Vec<ExtraHost>,
    /// `--netdev`: devices of the host that it gets.
    #[serde(default)]
    pub devices: Vec<NetDevice>,
    /// `--conf`: a list of plugins in the place of the default network's.
    #[serde(default)]
    pub conf: Option<PathBuf>,
    /// `--cni-path`: where the plugins are; empty for those inside xnet.
    #[serde(default)]
    pub plugin_path: Vec<PathBuf>,
}

/// What the caller has said about name resolution. Each part that is not empty replaces what the network or the host says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dns {
    /// Addresses of servers.
    pub servers: Vec<IpAddr>,
    /// Domains to complete names with; a single `.` for none at all.
    pub search: Vec<String>,
    /// Options of the resolver, such as `ndots:2`.
    pub options: Vec<String>,
}

impl Net {
    /// A container in `mode` about which nothing else was said.
    #[must_use]
    pub fn of(mode: NetMode) -> Self {
        Self {
            mode,
            hostname: None,
            domainname: None,
            publish: Vec::new(),
            publish_all: false,
            exposed: Vec::new(),
            addresses: Vec::new(),
            mac: None,
            aliases: Vec::new(),
            dns: Dns::default(),
            extra_hosts: Vec::new(),
            devices: Vec::new(),
            conf: None,
            plugin_path: Vec::new(),
        }
    }
}
