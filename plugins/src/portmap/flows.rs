//! Flows of UDP through mappings that come and go: the kernel goes on sending them the way they began, so it is made to
//! forget those that began differently.
//!
//! A port at any address of the host is a port at addresses that are the host's. A flow to the same port of somebody else,
//! such as a container's own questions to a name server, stays.

use std::collections::BTreeMap;
use std::net::IpAddr;

use kernel::conntrack::Flow;
use kernel::netlink::Error;
use kernel::plan::Machine;

use super::config::{Config, Mapping, Protocol};
use super::target::Target;

/// Where a port of the host leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Redirect {
    /// At which address; none for any.
    pub(super) host_ip: Option<IpAddr>,
    /// From where.
    pub(super) host_port: u16,
    /// Of which protocol.
    pub(super) protocol: Protocol,
    /// To which address.
    pub(super) target: IpAddr,
    /// To which port of it.
    pub(super) port: u16,
}

impl Redirect {
    /// Where the ports of `config` lead.
    pub(super) fn all(target: &Target, config: &Config) -> Vec<Self> {
        let one = |mapping: &Mapping, target| Self {
            host_ip: mapping.specific_ip(),
            host_port: mapping.host_port,
            protocol: mapping.protocol,
            target,
            port: mapping.container_port,
        };
        let mappings = config.mappings.iter();
        mappings.flat_map(|mapping| target.serving(mapping).map(move |ip| one(mapping, ip.ip()))).collect()
    }

    /// Whether it is about packets to this address and port.
    fn is_for(&self, address: IpAddr, port: u16) -> bool {
        self.host_port == port && self.host_ip.is_none_or(|ip| ip == address)
    }

    fn is_way_of(&self, flow: &Flow) -> bool {
        (flow.reply.source, flow.reply.source_port) == (self.target, self.port)
    }
}

/// Forgets flows at these ports that lead elsewhere, be it to an earlier container or to the host itself.
///
/// # Errors
///
/// When the kernel can't be asked or refuses.
pub(super) fn forget_others(machine: &mut Machine, redirects: &[Redirect]) -> Result<(), Error> {
    let mut own = BTreeMap::new();
    flush(machine, redirects, |machine, redirects, flow| {
        let (address, port) = (flow.original.destination, flow.original.destination_port);
        let candidates = redirects.iter().filter(|redirect| redirect.is_for(address, port));
        // A port at this very address wins over one at any.
        let Some(way) = candidates.max_by_key(|redirect| redirect.host_ip.is_some()) else { return Ok(false) };
        if way.is_way_of(flow) {
            return Ok(false);
        }
        if way.host_ip.is_none() && !own.contains_key(&address) {
            own.insert(address, machine.host()?.is_local(address)?);
        }
        Ok(way.host_ip.is_some() || own.get(&address).is_some_and(|is_local| *is_local))
    })
}

/// Forgets flows through these ports, which lead nowhere any more.
///
/// # Errors
///
/// As [`forget_others`].
pub(super) fn forget(machine: &mut Machine, redirects: &[Redirect]) -> Result<(), Error> {
    flush(machine, redirects, |_, redirects, flow| {
        let (address, port) = (flow.original.destination, flow.original.destination_port);
        let mut ways = redirects.iter().filter(|redirect| redirect.is_for(address, port));
        Ok(flow.is_redirected() && ways.any(|way| way.is_way_of(flow)))
    })
}

/// Forgets those flows at the ports of `redirects` which `is_past` picks.
fn flush(
    machine: &mut Machine,
    redirects: &[Redirect],
    mut is_past: impl FnMut(&mut Machine, &[Redirect], &Flow) -> Result<bool, Error>,
) -> Result<(), Error> {
    for is_ipv6 in [false, true] {
        let is_meant =
            |redirect: &&Redirect| redirect.protocol == Protocol::Udp && redirect.target.is_ipv6() == is_ipv6;
        let redirects: Vec<Redirect> = redirects.iter().filter(is_meant).copied().collect();
        let mut ports: Vec<u16> = redirects.iter().map(|redirect| redirect.host_port).collect();
        ports.sort_unstable();
        ports.dedup();
        if ports.is_empty() {
            continue;
        }
        let flows = netfilter(machine)?.conntrack().udp_to(&ports, is_ipv6)?;
        let mut past = Vec::new();
        for flow in flows {
            if is_past(machine, &redirects, &flow)? {
                past.push(flow);
            }
        }
        netfilter(machine)?.conntrack().delete(&past)?;
    }
    Ok(())
}

fn netfilter(machine: &mut Machine) -> Result<&mut kernel::nft::Nft, Error> {
    machine.nft().map_err(|error| Error::Io(std::io::Error::other(error.to_string())))
}
