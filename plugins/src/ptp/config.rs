//! The configuration of the `ptp` plugin: as it is written, and as it is meant.

use cni::Error;
use cni::plugin::Call;
use cni::result::Dns;
use kernel::link::Pair;
use serde::Deserialize;

use crate::masquerade::Backend;
use crate::netconf::{self, WrittenDns, WrittenIpam};

/// The keys as they are written. All are optional.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Written {
    ip_masq: bool,
    ip_masq_backend: Option<String>,
    mtu: i64,
    link_type: String,
    ipam: WrittenIpam,
    dns: WrittenDns,
    /// Read where it is needed; here only so that one which is no object is refused at once.
    prev_result: Option<serde_json::Map<String, serde_json::Value>>,
}

/// What the configuration means.
#[derive(Clone, Debug)]
pub(super) struct Config {
    /// What leaves the container's network does so with the host's address.
    pub(super) ip_masq: bool,
    /// By which means, as it is written; looked at by ADD only.
    ip_masq_backend: Option<String>,
    /// Bytes as written; looked at by ADD only.
    mtu: i64,
    /// What the pair of links is made of.
    pub(super) link_type: Pair,
    /// The IPAM plugin's name.
    pub(super) ipam: String,
    /// Replaces what IPAM says, when any of its keys is written.
    pub(super) dns: Option<Dns>,
}

impl Config {
    /// Reads the configuration.
    ///
    /// # Errors
    ///
    /// When it does not decode.
    pub(super) fn load(call: &Call) -> Result<Self, Error> {
        let written: Written = call.config().map_err(|error| error.context("failed to load netconf"))?;
        Ok(Self {
            ip_masq: written.ip_masq,
            ip_masq_backend: written.ip_masq_backend,
            mtu: written.mtu,
            link_type: netconf::link_type(&written.link_type)?,
            ipam: written.ipam.r#type,
            dns: written.dns.any(),
        })
    }

    /// The MTU in bytes; none for the kernel's default.
    ///
    /// # Errors
    ///
    /// When no link can have it.
    pub(super) fn mtu(&self) -> Result<Option<u32>, Error> {
        netconf::mtu(self.mtu)
    }

    /// By which means to masquerade; none when not to.
    ///
    /// # Errors
    ///
    /// When the means is not known.
    pub(super) fn masquerade(&self) -> Result<Option<Backend>, Error> {
        let backend = Backend::parse(self.ip_masq_backend.as_deref())?;
        Ok(self.ip_masq.then_some(backend))
    }
}
