//! [`AddResult`] into the document of every version.
//!
//! The structs below are the documents: their fields stand in the order in which they are printed. That order is the
//! alphabet's in 1.x, because the existing plugins print by way of a map, and the specification's before.

use std::net::IpAddr;

use ipnetwork::IpNetwork;
use serde::Serialize;

use crate::address::canonical;
use crate::error::Error;
use crate::json;
use crate::result::{AddResult, Dns, Interface, IpConfig, Route};
use crate::version::{Format, Version};

impl AddResult {
    /// The document of `version`: indented by four spaces, no newline at the end. Fails for 0.1.0 and 0.2.0 when there is
    /// no address, because such a document could say nothing.
    pub fn to_json(&self, version: Version) -> Result<String, Error> {
        let document = match version.format() {
            Format::Families => json::indented(&families(self, version)?),
            Format::Tagged => json::indented(&tagged(self, version)),
            Format::Plain => json::indented(&plain(self, version)),
        };
        document.map_err(|error| Error::internal(format!("cannot encode the result: {error}")))
    }
}

fn is_zero(number: &Option<u32>) -> bool {
    number.is_none_or(|number| number == 0)
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Plain<'a> {
    cni_version: Version,
    #[serde(skip_serializing_if = "Option::is_none")]
    dns: Option<PlainDns<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    interfaces: Vec<PlainInterface<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ips: Vec<PlainIp>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    routes: Vec<PlainRoute>,
}

#[derive(Serialize)]
struct PlainDns<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    domain: &'a str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    nameservers: &'a [String],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    options: &'a [String],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    search: &'a [String],
}

#[derive(Serialize)]
struct PlainInterface<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    mac: &'a str,
    #[serde(skip_serializing_if = "is_zero")]
    mtu: Option<u32>,
    name: &'a str,
    #[serde(rename = "pciID", skip_serializing_if = "str::is_empty")]
    pci_id: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    sandbox: &'a str,
    #[serde(rename = "socketPath", skip_serializing_if = "str::is_empty")]
    socket_path: &'a str,
}

#[derive(Serialize)]
struct PlainIp {
    address: IpNetwork,
    #[serde(skip_serializing_if = "Option::is_none")]
    gateway: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    interface: Option<usize>,
}

#[derive(Serialize)]
struct PlainRoute {
    #[serde(skip_serializing_if = "is_zero")]
    advmss: Option<u32>,
    dst: IpNetwork,
    #[serde(skip_serializing_if = "Option::is_none")]
    gw: Option<IpAddr>,
    #[serde(skip_serializing_if = "is_zero")]
    mtu: Option<u32>,
    #[serde(skip_serializing_if = "is_zero")]
    priority: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    table: Option<u32>,
}

fn plain(result: &AddResult, cni_version: Version) -> Plain<'_> {
    let AddResult { interfaces, ips, routes, dns } = result;
    Plain {
        cni_version,
        dns: (!dns.is_empty()).then(|| plain_dns(dns)),
        interfaces: interfaces.iter().map(plain_interface).collect(),
        ips: ips.iter().map(plain_ip).collect(),
        routes: routes.iter().map(plain_route).collect(),
    }
}

fn plain_dns(dns: &Dns) -> PlainDns<'_> {
    let Dns { nameservers, domain, search, options } = dns;
    PlainDns { domain, nameservers, options, search }
}

fn plain_interface(interface: &Interface) -> PlainInterface<'_> {
    let Interface { name, mac, mtu, sandbox, socket_path, pci_id } = interface;
    PlainInterface { mac, mtu: *mtu, name, pci_id, sandbox, socket_path }
}

fn plain_ip(ip: &IpConfig) -> PlainIp {
    let address = canonical(ip.address);
    PlainIp { address, gateway: ip.gateway.map(|gateway| gateway.to_canonical()), interface: ip.interface }
}

fn plain_route(route: &Route) -> PlainRoute {
    let Route { dst, gw, mtu, advmss, priority, table, scope } = *route;
    PlainRoute { advmss, dst: canonical(dst), gw: gw.map(|gw| gw.to_canonical()), mtu, priority, scope, table }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Tagged<'a> {
    cni_version: Version,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    interfaces: Vec<TaggedInterface<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ips: Vec<TaggedIp>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    routes: Vec<OrderedRoute>,
    dns: &'a Dns,
}

#[derive(Serialize)]
struct TaggedInterface<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    mac: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    sandbox: &'a str,
}

#[derive(Serialize)]
struct TaggedIp {
    version: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    interface: Option<usize>,
    address: IpNetwork,
    #[serde(skip_serializing_if = "Option::is_none")]
    gateway: Option<IpAddr>,
}

#[derive(Serialize)]
struct OrderedRoute {
    dst: IpNetwork,
    #[serde(skip_serializing_if = "Option::is_none")]
    gw: Option<IpAddr>,
    #[serde(skip_serializing_if = "is_zero")]
    mtu: Option<u32>,
    #[serde(skip_serializing_if = "is_zero")]
    advmss: Option<u32>,
    #[serde(skip_serializing_if = "is_zero")]
    priority: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    table: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<u8>,
}

impl From<PlainRoute> for OrderedRoute {
    fn from(route: PlainRoute) -> OrderedRoute {
        let PlainRoute { advmss, dst, gw, mtu, priority, scope, table } = route;
        OrderedRoute { dst, gw, mtu, advmss, priority, table, scope }
    }
}

fn tagged(result: &AddResult, cni_version: Version) -> Tagged<'_> {
    Tagged {
        cni_version,
        interfaces: result.interfaces.iter().map(tagged_interface).collect(),
        ips: result.ips.iter().map(tagged_ip).collect(),
        routes: result.routes.iter().map(|route| plain_route(route).into()).collect(),
        dns: &result.dns,
    }
}

fn tagged_interface(interface: &Interface) -> TaggedInterface<'_> {
    let Interface { name, mac, sandbox, .. } = interface;
    TaggedInterface { name, mac, sandbox }
}

fn tagged_ip(ip: &IpConfig) -> TaggedIp {
    let PlainIp { address, gateway, interface } = plain_ip(ip);
    TaggedIp { version: if address.is_ipv4() { "4" } else { "6" }, interface, address, gateway }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Families<'a> {
    cni_version: Version,
    #[serde(skip_serializing_if = "Option::is_none")]
    ip4: Option<Family>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ip6: Option<Family>,
    dns: &'a Dns,
}

#[derive(Serialize)]
struct Family {
    ip: IpNetwork,
    #[serde(skip_serializing_if = "Option::is_none")]
    gateway: Option<IpAddr>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    routes: Vec<Hop>,
}

#[derive(Serialize)]
struct Hop {
    dst: IpNetwork,
    #[serde(skip_serializing_if = "Option::is_none")]
    gw: Option<IpAddr>,
}

fn families(result: &AddResult, cni_version: Version) -> Result<Families<'_>, Error> {
    let (ip4, ip6) = (family(result, IpNetwork::is_ipv4), family(result, IpNetwork::is_ipv6));
    if ip4.is_none() && ip6.is_none() {
        return Err(Error::internal("cannot convert: no valid IP addresses"));
    }
    Ok(Families { cni_version, ip4, ip6, dns: &result.dns })
}

/// The first address of a family and all routes of it. Without an address the routes are lost.
fn family(result: &AddResult, of_family: fn(&IpNetwork) -> bool) -> Option<Family> {
    let PlainIp { address, gateway, .. } = result.ips.iter().map(plain_ip).find(|ip| of_family(&ip.address))?;
    let routes = result.routes.iter().map(plain_route).filter(|route| of_family(&route.dst));
    let routes = routes.map(|PlainRoute { dst, gw, .. }| Hop { dst, gw }).collect();
    Some(Family { ip: address, gateway, routes })
}
