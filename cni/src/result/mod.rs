//! What ADD answers: interfaces, addresses, routes and DNS settings.
//!
//! In memory there is one shape, that of specification 1.1.0. Each version's document is decoded into it and encoded from
//! it, so a plugin never meets a version. What an older document can not hold is lost on the way out: 0.1.0 and 0.2.0 hold
//! one address a family and no interfaces, 0.3.0 to 0.4.0 no MTU, socket or PCI address. Everything else survives.

mod encode;
mod parse;

use std::net::IpAddr;

use ipnetwork::IpNetwork;
use serde::{Deserialize, Deserializer, Serialize};

use crate::address;

/// The result of an attachment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddResult {
    /// Every interface that the attachment made or uses, in the host and in the container.
    pub interfaces: Vec<Interface>,
    /// The addresses, with the interface that each belongs to.
    pub ips: Vec<IpConfig>,
    /// The routes inside the container.
    pub routes: Vec<Route>,
    /// How names are resolved inside the container.
    pub dns: Dns,
}

/// One interface of a result.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Interface {
    /// Its name inside its namespace.
    pub name: String,
    /// Its hardware address; empty when it has none.
    pub mac: String,
    /// Its MTU in bytes, if known. Documents can not tell 0 from unknown.
    #[serde(deserialize_with = "nonzero")]
    pub mtu: Option<u32>,
    /// The namespace that it is in, as `CNI_NETNS` gave it; empty for the host.
    pub sandbox: String,
    /// The socket that belongs to it, for interfaces of user space.
    pub socket_path: String,
    /// The PCI address of its device.
    #[serde(rename = "pciID")]
    pub pci_id: String,
}

/// One address of a result.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct IpConfig {
    /// Which of the result's interfaces has it.
    #[serde(default)]
    pub interface: Option<usize>,
    /// The address and the length of its prefix; host bits are kept.
    #[serde(deserialize_with = "address::cidr")]
    pub address: IpNetwork,
    /// The router of its subnet.
    #[serde(default, deserialize_with = "address::ip")]
    pub gateway: Option<IpAddr>,
}

/// A route inside the container.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Route {
    /// Where it leads.
    #[serde(deserialize_with = "address::cidr")]
    pub dst: IpNetwork,
    /// The next hop; none for a destination on the link.
    #[serde(default, deserialize_with = "address::ip")]
    pub gw: Option<IpAddr>,
    /// The MTU along it in bytes.
    #[serde(default, deserialize_with = "nonzero")]
    pub mtu: Option<u32>,
    /// The TCP segment size to announce along it in bytes.
    #[serde(default, deserialize_with = "nonzero")]
    pub advmss: Option<u32>,
    /// Its metric; lower wins.
    #[serde(default, deserialize_with = "nonzero")]
    pub priority: Option<u32>,
    /// The routing table; none is the main one.
    #[serde(default)]
    pub table: Option<u32>,
    /// Its scope as rtnetlink numbers them (0 global, 253 link, 254 host).
    #[serde(default)]
    pub scope: Option<u8>,
}

impl Route {
    /// A route with neither metric nor any other attribute.
    pub fn new(dst: IpNetwork, gw: Option<IpAddr>) -> Route {
        Route { dst, gw, mtu: None, advmss: None, priority: None, table: None, scope: None }
    }
}

/// How names are resolved inside the container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Dns {
    /// The servers, most preferred first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub nameservers: Vec<String>,
    /// The local domain.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub domain: String,
    /// Domains to try for short names, most preferred first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub search: Vec<String>,
    /// Options for the resolver.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
}

impl Dns {
    /// Whether nothing is set.
    pub fn is_empty(&self) -> bool {
        *self == Dns::default()
    }
}

/// Numbers that documents leave out when they are 0.
fn nonzero<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    Ok(Option::<u32>::deserialize(deserializer)?.filter(|&number| number != 0))
}

#[cfg(test)]
mod tests;
