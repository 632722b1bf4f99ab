//! The address pool: which addresses may be given out, and in which order.
//!
//! Everything here is pure. A [`Range`] is one `start..end` of a subnet with its gateway; a [`RangeSet`] is the
//! list of ranges out of which an attachment gets one address. What is in use comes from outside, as an
//! [`Occupancy`] that answers for 512 addresses at a time; so the search for a free one costs a look at each
//! full block that lies in the way, and not a look at each address.
//!
//! The order is round robin: the search begins one behind the address that was given out last, goes through the
//! ranges as they are listed, wraps, and tries the last one last. A container that crashes in a loop thus does
//! not get the same address again and again.

mod block;
#[cfg(test)]
mod tests;

use std::fmt;
use std::net::IpAddr;

use ipnetwork::IpNetwork;
use thiserror::Error;

use super::addr::{Addr, BLOCK_BITS};
pub(crate) use block::Block;

/// Tells which addresses are in use.
pub(crate) trait Occupancy {
    type Error;

    /// The addresses in use among `block << 9 ..= block << 9 | 511`.
    fn block(&mut self, block: u128) -> Result<Block, Self::Error>;
}

/// Why a range, a set or a list of sets is refused. The texts are those of the Go suite.
#[derive(Debug, Error, PartialEq, Eq)]
pub(crate) enum PoolError {
    #[error("IP <nil> not v4 nor v6")]
    NoSubnet,
    #[error("Network {0} too small to allocate from")]
    TooSmall(String),
    #[error("IPNet IP and Mask version mismatch")]
    MaskMismatch,
    #[error("Network has host bits set. For a subnet mask of length {0} the network address is {1}")]
    HostBits(u8, IpAddr),
    #[error("RangeStart {0} not in network {1}")]
    StartOutside(IpAddr, IpNetwork),
    #[error("RangeEnd {0} not in network {1}")]
    EndOutside(IpAddr, IpNetwork),
    #[error("RangeStart {0} lies behind {1}, the last address that network {2} gives out")]
    StartBehindEnd(IpAddr, IpAddr, IpNetwork),
    #[error("empty range set")]
    EmptySet,
    #[error("mixed address families")]
    MixedFamilies,
    #[error("subnets {0} and {1} overlap")]
    Overlap(String, String),
}

/// A subnet as the config spells it: the text of the address decides which mask length it may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cidr {
    pub(crate) ip: IpAddr,
    pub(crate) prefix: u8,
}

/// The limits of a range as the config gives them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) subnet: Option<Cidr>,
    pub(crate) start: Option<IpAddr>,
    pub(crate) end: Option<IpAddr>,
    pub(crate) gateway: Option<IpAddr>,
}

/// A validated run of addresses, both ends included, of one family, inside its subnet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Range {
    start: Addr,
    end: Addr,
    gateway: Addr,
    prefix: u8,
}

impl Range {
    /// Validates the limits and fills in what they leave open: the gateway and the start are the first address
    /// behind the network's, the end is the last one before the IPv4 broadcast address or the last IPv6 address.
    pub(crate) fn new(limits: &Limits) -> Result<Self, PoolError> {
        let subnet = network(limits.subnet)?;
        let first = Addr::from(subnet.network());
        let default_start = first.next().unwrap_or(first);
        let end = limits.end.map(Addr::from);
        let range = Self {
            start: limits.start.map_or(default_start, Addr::from),
            end: end.unwrap_or_else(|| default_end(subnet)),
            gateway: limits.gateway.map_or(default_start, Addr::from),
            prefix: subnet.prefix(),
        };
        if let Some(start) = limits.start {
            let too_late = end.is_some_and(|end| end.is_v4() == range.start.is_v4() && end < range.start);
            if !inside(subnet, range.start) || too_late {
                return Err(PoolError::StartOutside(Addr::from(start).ip(), subnet));
            }
        }
        if let Some(end) = limits.end
            && (!inside(subnet, range.end) || range.end < range.start)
        {
            return Err(PoolError::EndOutside(Addr::from(end).ip(), subnet));
        }
        // The Go suite lets this pass, and then gives out addresses of the networks behind this one.
        if range.end < range.start {
            return Err(PoolError::StartBehindEnd(range.start.ip(), range.end.ip(), subnet));
        }
        Ok(range)
    }

    pub(crate) fn contains(&self, addr: Addr) -> bool {
        // `::/0` and its like have all of IPv4's numbers between their ends.
        addr.is_v4() == self.is_v4() && (self.start..=self.end).contains(&addr)
    }

    pub(crate) fn is_v4(&self) -> bool {
        self.start.is_v4()
    }

    pub(crate) fn gateway(&self) -> Addr {
        self.gateway
    }

    /// An address of this range with the prefix length of its subnet.
    pub(crate) fn with_prefix(&self, addr: Addr) -> Option<IpNetwork> {
        IpNetwork::new(addr.ip(), self.prefix).ok()
    }

    /// How many addresses the range can give out; the gateway is not one of them.
    fn size(&self) -> u128 {
        let all = (self.end.bits() - self.start.bits()).saturating_add(1);
        all - u128::from(self.contains(self.gateway))
    }

    fn overlaps(&self, other: &Self) -> bool {
        self.is_v4() == other.is_v4() && self.start <= other.end && other.start <= self.end
    }

    /// The lowest free address of `from..=to` other than the gateway.
    fn first_free<O: Occupancy>(&self, from: Addr, to: Addr, taken: &mut O) -> Result<Option<Addr>, O::Error> {
        let ((first, low), (last, high)) = (from.block(), to.block());
        let (gateway_block, gateway_bit) = self.gateway.block();
        for number in first..=last {
            let mut block = taken.block(number)?;
            if number == gateway_block {
                block.set(gateway_bit);
            }
            let low = if number == first { low } else { 0 };
            let high = if number == last { high } else { Block::LAST };
            if let Some(bit) = block.first_free(low, high) {
                return Ok(Some(Addr::from_bits(number << BLOCK_BITS | bit as u128)));
            }
        }
        Ok(None)
    }
}

/// `start-end`, as the Go suite's messages have it.
impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.start, self.end)
    }
}

/// The ranges of one family out of which an attachment gets one address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RangeSet(Vec<Range>);

impl RangeSet {
    /// Validates the ranges in order, then that they are of one family, then that none overlaps another.
    pub(crate) fn new(limits: &[Limits]) -> Result<Self, PoolError> {
        let mut ranges: Vec<Range> = Vec::with_capacity(limits.len());
        for limits in limits {
            let range = Range::new(limits)?;
            if ranges.first().is_some_and(|first| first.is_v4() != range.is_v4()) {
                return Err(PoolError::MixedFamilies);
            }
            ranges.push(range);
        }
        if ranges.is_empty() {
            return Err(PoolError::EmptySet);
        }
        for (i, one) in ranges.iter().enumerate() {
            if let Some(other) = ranges.iter().skip(i + 1).find(|other| one.overlaps(other)) {
                return Err(PoolError::Overlap(one.to_string(), other.to_string()));
            }
        }
        Ok(Self(ranges))
    }

    pub(crate) fn is_v4(&self) -> bool {
        self.0.first().is_some_and(Range::is_v4)
    }

    /// The range that an address belongs to.
    pub(crate) fn range_for(&self, addr: Addr) -> Option<&Range> {
        self.0.iter().find(|range| range.contains(addr))
    }

    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        self.0.iter().any(|one| other.0.iter().any(|two| one.overlaps(two)))
    }

    /// How many addresses the set can give out.
    pub(crate) fn size(&self) -> u128 {
        self.0.iter().fold(0, |sum, range| sum.saturating_add(range.size()))
    }

    /// The next free address in round robin order, with its range; `None` when all are in use.
    pub(crate) fn next_free<O: Occupancy>(
        &self,
        last: Option<Addr>,
        taken: &mut O,
    ) -> Result<Option<(Addr, &Range)>, O::Error> {
        for (range, from, to) in self.rounds(last) {
            if let Some(addr) = range.first_free(from, to, taken)? {
                return Ok(Some((addr, range)));
            }
        }
        Ok(None)
    }

    /// The runs of addresses to search, in order. They cover every address of the set once.
    fn rounds(&self, last: Option<Addr>) -> Vec<(&Range, Addr, Addr)> {
        let whole = |range| {
            let &Range { start, end, .. } = range;
            (range, start, end)
        };
        let Some((last, at)) = last.and_then(|last| Some((last, self.0.iter().position(|r| r.contains(last))?))) else {
            return self.0.iter().map(whole).collect();
        };
        let (before, rest) = self.0.split_at(at);
        let mut rounds = Vec::with_capacity(self.0.len() + 1);
        let mut rest = rest.iter();
        let current = rest.next();
        if let Some(range) = current
            && let Some(from) = last.next().filter(|from| range.contains(*from))
        {
            rounds.push((range, from, range.end));
        }
        rounds.extend(rest.map(whole));
        rounds.extend(before.iter().map(whole));
        rounds.extend(current.map(|range| (range, range.start, last)));
        rounds
    }
}

/// The ranges, separated by commas, as the Go suite's messages have them.
impl fmt::Display for RangeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, range) in self.0.iter().enumerate() {
            let comma = if i == 0 { "" } else { "," };
            write!(f, "{comma}{range}")?;
        }
        Ok(())
    }
}

/// Validates the subnet alone: there is one, it has room, it is spelled in its own family, it has no host bits.
fn network(subnet: Option<Cidr>) -> Result<IpNetwork, PoolError> {
    let cidr = subnet.ok_or(PoolError::NoSubnet)?;
    let ip = Addr::from(cidr.ip).ip();
    let bits = if cidr.ip.is_ipv4() { 32 } else { 128 };
    let mapped = cidr.ip.is_ipv6() && ip.is_ipv4();
    if cidr.prefix > bits - 2 {
        let shown = if mapped { cidr.prefix.saturating_sub(96) } else { cidr.prefix };
        return Err(PoolError::TooSmall(format!("{ip}/{shown}")));
    }
    if mapped {
        return Err(PoolError::MaskMismatch);
    }
    let network = IpNetwork::new(ip, cidr.prefix).map_err(|_| PoolError::MaskMismatch)?;
    if network.network() != ip {
        return Err(PoolError::HostBits(cidr.prefix, network.network()));
    }
    Ok(network)
}

fn inside(subnet: IpNetwork, addr: Addr) -> bool {
    subnet.contains(addr.ip())
}

fn default_end(subnet: IpNetwork) -> Addr {
    let last = Addr::from(subnet.broadcast());
    let broadcast = u128::from(subnet.is_ipv4());
    Addr::from_bits(last.bits() - broadcast)
}
