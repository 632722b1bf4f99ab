//! The way of a packet from the container to the world, hop by hop.
//!
//! What is found comes from the namespace itself, not from what is on record, so that a container which somebody has wired by
//! hand is looked at as well. The record says what should be there: which links, whose masquerading, which way out.

use std::fs::File;
use std::net::IpAddr;
use std::os::fd::OwnedFd;

use ::kernel::Handle;
use ::kernel::address::Address;
use ::kernel::link::Link;
use ::kernel::route::Route;
use ipnetwork::IpNetwork;
use serde_json::Value;

use crate::error::{Context, Result};
use crate::net::Connected;
use crate::net::connected::Endpoint;
use crate::netns as namespaces;
use crate::spec::Dirs;
use crate::state::{Record, Store, log};

use super::{Report, bridge, forward, gateway, host_side, link, probe, refused, rules, twins};

/// `RT_TABLE_MAIN`.
const MAIN: u32 = 254;

/// The two ends of the way.
#[derive(Debug)]
pub(super) struct Path {
    /// Where containers are on record.
    pub(super) store: Store,
    pub(super) dirs: Dirs,
    /// Where it begins; none for our own namespace.
    netns: Option<OwnedFd>,
    /// What the container was called by.
    called: String,
    /// What its network is on record as; that of another container if it has joined one.
    pub(super) connected: Connected,
    /// The lists of plugins that have wired it, by network and interface, with whether they are those inside xnet.
    pub(super) lists: Vec<(Endpoint, Value, bool)>,
    /// Route socket in the container's namespace.
    pub(super) inside: Handle,
    /// Route socket in ours.
    pub(super) host: Handle,
}

/// What the host has at the other end of a link.
#[derive(Debug)]
pub(super) struct Far {
    /// The host's end.
    pub(super) end: Link,
    /// The bridge that it is a port of.
    pub(super) bridge: Option<Link>,
}

impl Path {
    /// The way of the container on record as `connected`, in the namespace `netns`, or ours for none.
    pub(super) fn new(
        (store, dirs): (&Store, &Dirs),
        called: &str,
        connected: Connected,
        netns: Option<OwnedFd>,
    ) -> Result<Self> {
        let inside = match &netns {
            Some(netns) => namespaces::handle(netns),
            None => Handle::here().context(|| "open a route socket"),
        }
        .context(|| format!("look into the network of container {called}"))?;
        let host = Handle::here().context(|| "open a route socket")?;
        let lists = lists(store, &connected)?;
        let (store, dirs) = (store.clone(), dirs.clone());
        Ok(Self { store, dirs, netns, called: called.to_owned(), connected, lists, inside, host })
    }

    /// Whether it begins in another namespace than ours.
    pub(super) fn is_private(&self) -> bool {
        self.netns.is_some()
    }

    /// `command` of the host's, as it is typed for the container's network.
    pub(super) fn command(&self, command: &str) -> String {
        if self.is_private() { format!("xnet netns exec {} {command}", self.called) } else { command.to_owned() }
    }

    /// What people call the container.
    pub(super) fn called(&self) -> &str {
        &self.called
    }

    /// Does `work` in the container's namespace and comes back.
    ///
    /// # Errors
    /// It can't be entered.
    pub(super) fn visit<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        match &self.netns {
            Some(netns) => namespaces::visit(netns, work),
            None => Ok(work()),
        }
    }

    /// The text of a file of /proc/net as it is inside; empty if there is none.
    pub(super) fn table(&self, name: &str) -> Result<String> {
        let path = format!("/proc/thread-self/net/{name}");
        self.visit(|| File::open(&path).and_then(std::io::read_to_string).unwrap_or_default())
    }

    /// The links inside but `lo`.
    pub(super) fn links(&mut self) -> Result<Vec<Link>> {
        Ok(self.inside.links().map_err(refused)?.into_iter().filter(|link| link.name != "lo").collect())
    }

    /// The addresses of a link inside that others can reach, of one family.
    pub(super) fn addresses(&mut self, link: &Link, is_ipv6: bool) -> Result<Vec<Address>> {
        let all = self.inside.addresses(link.index, is_ipv6).map_err(refused)?;
        // Two namespaces that are connected by hand have addresses of a link.
        let is_used = |address: &Address| address.is_global_unicast() || address.network.is_ipv4();
        Ok(all.into_iter().filter(is_used).collect())
    }

    /// The default routes inside, of one family.
    pub(super) fn default_routes(&mut self, is_ipv6: bool) -> Result<Vec<Route>> {
        let all = self.inside.routes(is_ipv6, MAIN).map_err(refused)?;
        Ok(all.into_iter().filter(|route| route.dst.prefix() == 0 && route.oif.is_some()).collect())
    }

    /// The addresses of a link of the host's, of one family.
    pub(super) fn networks_of(&mut self, link: &Link, is_ipv6: bool) -> Result<Vec<IpNetwork>> {
        let all = self.host.addresses(link.index, is_ipv6).map_err(refused)?;
        Ok(all.iter().filter(|address| address.is_global_unicast()).map(|address| address.network).collect())
    }

    /// What is on record of the interface `name`.
    pub(super) fn endpoint(&self, name: &str) -> Option<&Endpoint> {
        self.connected.endpoints.iter().find(|endpoint| endpoint.ifname == name)
    }

    /// The plugins that have wired the interface `name`.
    pub(super) fn plugins(&self, name: &str) -> impl Iterator<Item = &Value> {
        let list = self.lists.iter().find(|(endpoint, ..)| endpoint.ifname == name);
        list.and_then(|(_, list, _)| list.get("plugins")?.as_array()).into_iter().flatten()
    }

    /// Whether its bridge was to be the gateway, and not somebody else on the bridge.
    pub(super) fn is_gateway(&self, name: &str) -> bool {
        let is_on = |plugin: &Value, key: &str| plugin.get(key).and_then(Value::as_bool) == Some(true);
        self.plugins(name).any(|plugin| is_on(plugin, "isGateway") || is_on(plugin, "isDefaultGateway"))
    }

    /// Every address that is on record.
    pub(super) fn assigned(&self) -> Vec<IpAddr> {
        let endpoints = self.connected.endpoints.iter();
        endpoints.flat_map(|endpoint| endpoint.addresses.iter().map(|assigned| assigned.address)).collect()
    }
}

/// The lists with which the attachments were made, the last for each.
fn lists(store: &Store, connected: &Connected) -> Result<Vec<(Endpoint, Value, bool)>> {
    let records = log::read(&store.place(&connected.id).join("log"))?;
    let of = |endpoint: &Endpoint| {
        records.iter().rev().find_map(|record| match record {
            Record::Network { network, ifname, conflist, plugin_path, .. }
                if (network, ifname) == (&endpoint.network, &endpoint.ifname) =>
            {
                let list = serde_json::from_str(conflist).ok()?;
                Some((endpoint.clone(), list, plugin_path.is_empty()))
            }
            _ => None,
        })
    };
    Ok(connected.endpoints.iter().filter_map(of).collect())
}

/// Walks it, link by link. What comes after the first bad hop of a link is not looked at.
pub(super) fn walk(report: &mut Report, path: &mut Path) -> Result<()> {
    link::loopback(report, path)?;
    let links = path.links()?;
    let missing: Vec<_> =
        path.connected.endpoints.iter().filter(|e| !links.iter().any(|link| link.name == e.ifname)).cloned().collect();
    for endpoint in missing {
        report.bad(
            &endpoint.ifname,
            format!("it is gone: the interface on network {} is not there any more", endpoint.network),
            format!("xnet restart {}", path.called()),
        );
    }
    if links.is_empty() && path.connected.endpoints.is_empty() {
        report.ok("network", "none but lo, as asked for");
    }
    for link in links {
        let before = report.bad_ones();
        hops(report, path, &link)?;
        if report.bad_ones() > before {
            report.skip(&link.name, "what is beyond: first put right what is bad above");
        }
    }
    Ok(())
}

/// The hops behind one link, up to the first bad one.
fn hops(report: &mut Report, path: &mut Path, link: &Link) -> Result<()> {
    let before = report.bad_ones();
    let is_broken = |report: &Report| report.bad_ones() > before;
    link::up(report, path, link);
    if is_broken(report) {
        return Ok(());
    }
    let far = bridge::check(report, path, link)?;
    if is_broken(report) {
        return Ok(());
    }
    gateway::addresses(report, path, link)?;
    twins::check(report, path, link, far.as_ref())?;
    if is_broken(report) {
        return Ok(());
    }
    probe::duplicates(report, path, link)?;
    gateway::check(report, path, link)?;
    if is_broken(report) {
        return Ok(());
    }
    probe::gateway(report, path, link)?;
    match far {
        Some(far) if !is_broken(report) => beyond(report, path, link, &far),
        _ => Ok(()),
    }
}

/// The hops of the host's.
fn beyond(report: &mut Report, path: &mut Path, link: &Link, far: &Far) -> Result<()> {
    let before = report.bad_ones();
    host_side::check(report, path, link, far)?;
    if report.bad_ones() == before && path.endpoint(&link.name).is_some_and(|endpoint| endpoint.is_default) {
        let has_ipv6 = !path.addresses(link, true)?.is_empty();
        let name = far.bridge.as_ref().map(|bridge| bridge.name.as_str());
        forward::container(report, name, rules::has_firewall(path, &link.name), has_ipv6);
        rules::masquerading(report, path, &link.name)?;
    }
    if path.endpoint(&link.name).is_none() {
        report.skip("masquerading", format!("{} was wired by hand: no plugin has been asked for any", link.name));
    }
    Ok(())
}
