//! Networks of containers.
//!
//! In `bridge` and `none` mode the container's first process is born in a new network namespace; its parent pins it in
//! `/run/netns` under the container's id and lets plugins work on that path (`bridge`), or nobody (`none`). `lo` is set up by
//! the process itself. `host` makes no namespace. `container:X` enters the namespace that X has pinned, or joined.

pub mod bridge;
pub mod default;
pub(crate) mod pin;
pub(crate) mod resolv;

use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;

use crate::error::{Error, Result};
use crate::setup::files::Files;
use crate::spec::{NetMode, Spec};
use crate::state::{Info, Store};

use resolv::Dns;

/// What the network gave the container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Wired {
    pub(crate) addresses: Vec<IpAddr>,
    pub(crate) dns: Dns,
}

/// The network mode with its references looked up.
#[derive(Debug)]
pub(crate) struct Resolved {
    /// The container that is joined.
    pub(crate) joined: Option<Info>,
    /// The name that the container gets; none when it keeps the host's.
    pub(crate) hostname: Option<String>,
}

impl Resolved {
    /// Looks up the container that `spec` joins, and decides on the host name.
    pub(crate) fn new(spec: &Spec, store: &Store) -> Result<Self> {
        let asked = spec.net.hostname.as_ref().map(|h| h.as_str().to_owned());
        let (joined, hostname) = match &spec.net.mode {
            NetMode::Host => (None, asked),
            NetMode::Bridge | NetMode::None => (None, Some(asked.unwrap_or_else(|| spec.id.short().to_owned()))),
            NetMode::Container(target) => {
                if asked.is_some() {
                    return Err(Error::new(
                        "--hostname cannot be used with --net container:, which shares the other's name",
                    ));
                }
                let info = store.resolve(target.as_str())?;
                let hostname = Some(info.hostname.clone()).filter(|name| !name.is_empty());
                (Some(info), hostname)
            }
        };
        Ok(Self { joined, hostname })
    }

    /// The namespace file to enter; none when the other container uses the host's stack.
    pub(crate) fn netns(&self) -> Option<PathBuf> {
        self.joined.as_ref()?.netns.clone()
    }

    /// The files of /etc for a container wired like this.
    pub(crate) fn files(&self, net: &NetMode, wired: &Wired) -> Files {
        let host = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let hostname = self.hostname.clone().unwrap_or_else(|| host("/proc/sys/kernel/hostname").trim().to_owned());
        let (hosts, resolv) = match (net, &self.joined) {
            (_, Some(other)) => (other.hosts.clone(), other.resolv.clone()),
            (NetMode::Host, None) => (host("/etc/hosts"), host("/etc/resolv.conf")),
            (_, None) => (
                resolv::hosts(&hostname, &wired.addresses),
                resolv::from_dns(&wired.dns).unwrap_or_else(|| resolv::without_loopback(&host("/etc/resolv.conf"))),
            ),
        };
        Files { hostname, hosts, resolv }
    }
}
