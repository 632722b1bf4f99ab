//! Flows through mappings that come and go: the kernel goes on sending them the way they began, so it is made to forget
//! those that began differently.
//!
//! When a mapping comes, that is about UDP alone: an older connection of TCP or SCTP has its two ends, and neither is the
//! container. When it goes, all that went through it is forgotten: nobody is left to end such a connection, and a client
//! that uses the same port again would be sent to whoever has the container's address by then.
//!
//! A port at any address of the host is a port at addresses that are the host's. A flow to the same port of somebody else,
//! such as a container's own questions to a name server, stays.

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;

use kernel::conntrack::Pattern;
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

    fn pattern(&self) -> Pattern {
        Pattern {
            is_ipv6: self.target.is_ipv6(),
            protocol: self.protocol.number(),
            port: self.host_port,
            address: self.host_ip,
            target: None,
        }
    }
}

/// Forgets flows of UDP at these ports, be they to an earlier container or to the host itself: they go on by the mapping.
///
/// # Errors
///
/// When the kernel can't be asked or refuses.
pub(super) fn begin_anew(machine: &mut Machine, redirects: &[Redirect]) -> Result<(), Error> {
    let mut patterns = Vec::new();
    for is_ipv6 in [false, true] {
        let udp = redirects.iter().filter(|redirect| redirect.protocol == Protocol::Udp);
        let of_family = udp.filter(|redirect| redirect.target.is_ipv6() == is_ipv6).map(Redirect::pattern);
        let (certain, any): (Vec<Pattern>, Vec<Pattern>) = of_family.partition(|pattern| pattern.address.is_some());
        patterns.extend(certain);
        if any.is_empty() {
            continue;
        }
        for address in own_addresses(machine, is_ipv6)? {
            patterns.extend(any.iter().map(|pattern| Pattern { address: Some(address), ..*pattern }));
        }
    }
    forget(machine, &patterns)
}

/// Forgets flows through these ports, which lead nowhere any more.
///
/// # Errors
///
/// As [`begin_anew`].
pub(super) fn end(machine: &mut Machine, redirects: &[Redirect]) -> Result<(), Error> {
    let through =
        |redirect: &Redirect| Pattern { target: Some((redirect.target, redirect.port)), ..redirect.pattern() };
    let mut patterns: Vec<Pattern> = Vec::new();
    for pattern in redirects.iter().map(through) {
        if !patterns.contains(&pattern) {
            patterns.push(pattern);
        }
    }
    forget(machine, &patterns)
}

/// The host's addresses at which somebody may ask from afar, and 127.0.0.1.
fn own_addresses(machine: &mut Machine, is_ipv6: bool) -> Result<BTreeSet<IpAddr>, Error> {
    let addresses = machine.host()?.own_addresses(is_ipv6)?.into_iter().map(|address| address.network.ip());
    // Every link has an address of its own for its neighbours.
    let for_neighbours = |ip: &IpAddr| matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local());
    Ok(addresses.filter(|ip| !for_neighbours(ip)).collect())
}

fn forget(machine: &mut Machine, patterns: &[Pattern]) -> Result<(), Error> {
    if patterns.is_empty() {
        return Ok(());
    }
    let nft = machine.nft().map_err(|error| Error::Io(io::Error::other(error.to_string())))?;
    nft.conntrack().forget(patterns)
}
