//! What is in the way of a new mapping: what is left of containers that are gone, and ports that another container has.
//!
//! In one network an address belongs to one attachment, so a mapping that leads to ours is left from somebody who had the
//! address before us. Any other may be alive, unless the link that is noted with its address is gone; or, if it is one of
//! the Go suite's, its address is on record for somebody else now.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use cni::{Error, NetName, Owner};
use ipnetwork::IpNetwork;
use kernel::iptables::{self, Family, Restore, Rule, Saved, Wanted};
use kernel::plan::Machine;
use kernel::{Handle, netlink};

use super::{CHAIN, Config, DNAT, HostPorts, Mapping, NAT, Target, entry, removal};
use crate::error::attempt;
use crate::iptables::{Change, FAMILIES, Where, clear};
use crate::masquerade::nf_tables;
use crate::records::Records;

/// Does the same before ports are mapped by other means. Rules of iptables look at the same packets, and whichever were
/// there first win.
///
/// # Errors
///
/// When a port is another container's, or the kernel or a program can't be asked.
pub(crate) fn make_way(machine: &mut Machine, target: &Target, config: &Config) -> Result<(), Error> {
    let ports = HostPorts { target: target.clone(), config: config.clone() };
    FAMILIES.into_iter().try_for_each(|family| {
        if target.ip(family == Family::V6).is_none() || !is_anything_mapped(machine, family)? {
            return Ok(());
        }
        let place = Where { family, table: NAT, wanted: Wanted::Chain(DNAT) };
        clear(machine, place, &|_, found| {
            let mut changes = Restore::new(family, NAT);
            ports.claim(found, &mut changes)?;
            Ok(Change::to(found, changes))
        })
    })
}

/// Whether there are mappings in iptables. So a node that once had some, and has the chains still, is not listed.
fn is_anything_mapped(machine: &mut Machine, family: Family) -> Result<bool, Error> {
    let failed = |error: iptables::Error| attempt("look for port mappings in iptables", error);
    if iptables::is_legacy_in_use(family, NAT).map_err(failed)? {
        return Ok(true);
    }
    let Some(nft) = nf_tables(machine).map_err(|error| failed(error.into()))? else { return Ok(false) };
    let jumps = iptables::outline(nft, family, NAT, DNAT).map_err(failed)?;
    Ok(jumps.is_some_and(|jumps| !jumps.rules.is_empty()))
}

impl HostPorts {
    /// Refuses mappings of ports that another container has; removes what is left of containers that are gone.
    pub(super) fn claim(&self, found: &Saved, changes: &mut Restore) -> Result<(), Error> {
        let Some(address) = self.target.ip(found.family == Family::V6).map(|ip| ip.ip()) else { return Ok(()) };
        let owner = &self.target.owner;
        let network = format!("{}-", owner.network_prefix());
        let is_past = |note: &entry::Note<'_>| note.address == address && note.tag.starts_with(&network);
        for note in entry::notes(found).filter(|note| is_past(note) && !note.is_of(owner)) {
            changes.delete(note.rule.clone());
        }
        let chains: BTreeSet<&str> = found.chain(DNAT).filter_map(Rule::target).collect();
        let mine = owner.chain(CHAIN);
        for chain in chains.into_iter().filter(|chain| chain.starts_with(CHAIN) && *chain != mine) {
            let neighbour = Neighbour { found, chain };
            if neighbour.is_of(&owner.net) && neighbour.targets().any(|to| to.ip() == address) {
                neighbour.forget(address, changes);
            } else if let Some((mapping, to)) = self.conflict(&neighbour) {
                if !neighbour.is_gone(to.ip())? {
                    return Err(neighbour.refusal(mapping, to));
                }
                neighbour.forget(to.ip(), changes);
            }
        }
        Ok(())
    }

    /// The mapping whose packets go to the other container, and where there. Jumps with conditions may well be for
    /// different packets.
    fn conflict<'a>(&'a self, other: &Neighbour<'a>) -> Option<(&'a Mapping, SocketAddr)> {
        if !self.conditions(other.found.family).is_empty() {
            return None;
        }
        let is_for = |mapping: &&Mapping| mapping.is_for(other.found.family == Family::V6);
        self.config.mappings.iter().filter(is_for).find_map(|mapping| {
            let (protocol, port) = (mapping.protocol.as_str(), mapping.host_port.to_string());
            other.jumps().find(|jump| entry::is_plain(jump) && leads(jump, (protocol, &port)))?;
            let takes = |rule: &&Rule| {
                let [its_protocol, its_port, its_address] = entry::packets(rule);
                let its_address = its_address.and_then(|address| address.parse().ok()).map(|net: IpNetwork| net.ip());
                // What a rule for one address leaves is there to be had.
                let is_for_ours = its_address.is_none() || its_address == mapping.specific_ip();
                is_for_ours && its_protocol == Some(protocol) && its_port == Some(port.as_str())
            };
            let to = other.found.chain(other.chain).filter(takes).find_map(entry::destination)?;
            Some((mapping, to))
        })
    }
}

/// Another container's chain.
struct Neighbour<'a> {
    found: &'a Saved,
    chain: &'a str,
}

impl<'a> Neighbour<'a> {
    fn jumps(&self) -> impl Iterator<Item = &'a Rule> + use<'a> {
        let chain = self.chain;
        self.found.chain(DNAT).filter(move |jump| jump.target() == Some(chain))
    }

    fn targets(&self) -> impl Iterator<Item = SocketAddr> + use<'a> {
        self.found.chain(self.chain).filter_map(entry::destination)
    }

    fn is_of(&self, net: &NetName) -> bool {
        let network = entry::network(net.as_str());
        self.jumps().any(|jump| jump.comment().is_some_and(|comment| comment.starts_with(&network)))
    }

    /// The network and container that its jumps name.
    fn names(&self) -> Option<(&'a str, &'a str)> {
        self.jumps().find_map(Rule::comment).and_then(entry::names)
    }

    /// Whether whoever had `address` is gone.
    fn is_gone(&self, address: IpAddr) -> Result<bool, Error> {
        let (net, id) = self.names().unwrap_or_default();
        let is_its = |owner: &Owner| owner.net.as_str() == net && owner.id.as_str() == id;
        let mut notes = entry::notes(self.found).filter(|note| note.address == address);
        let note = notes.find(|note| note.owner().as_ref().is_none_or(is_its));
        match note.as_ref().and_then(entry::Note::link) {
            Some(link) => exists(link).map(|exists| !exists),
            None => Ok(is_anothers(net, id, address)),
        }
    }

    /// Removes what leads to `address`.
    fn forget(&self, address: IpAddr, changes: &mut Restore) {
        let staying: Vec<IpAddr> = self.targets().map(|to| to.ip()).filter(|other| *other != address).collect();
        removal::reduce(self.found, self.chain, &staying, changes);
    }

    fn refusal(&self, mapping: &Mapping, to: SocketAddr) -> Error {
        let (port, protocol) = (mapping.host_port, mapping.protocol);
        let who = match self.names() {
            Some((net, id)) => {
                format!("container {id} in network {net}, {to}; DEL that attachment, or GC network {net}")
            }
            None => format!("the rules in {}, {to}; delete them", self.chain),
        };
        Error::internal(format!("host port {port}/{protocol} is taken by {who} if the container is gone"))
    }
}

fn leads(jump: &Rule, wanted: entry::Port<'_>) -> bool {
    entry::ports(jump).any(|port| port == wanted)
}

fn exists(link: &str) -> Result<bool, Error> {
    let found = Handle::here().map_err(netlink::Error::from).and_then(|mut host| host.link(link));
    found.map(|found| found.is_some()).map_err(|error| attempt(format_args!("look for link {link}"), error))
}

/// Whether an address that container `id` had in network `net` is on record for another now, so that `id` is gone.
fn is_anothers(net: &str, id: &str, address: IpAddr) -> bool {
    let Ok(Ok(records)) = net.parse::<NetName>().map(|net| Records::of(&net)) else { return false };
    let mut holders = records.iter().filter(|record| record.addresses.contains(&address)).peekable();
    holders.peek().is_some() && holders.all(|record| record.id != id)
}
