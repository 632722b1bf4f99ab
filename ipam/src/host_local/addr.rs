//! An IP address as the pool and the index handle it: one ordered number space for both families.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The number of addresses that one occupancy block covers is `1 << BLOCK_BITS`.
pub(crate) const BLOCK_BITS: u32 = 9;

const V4_PREFIX: u128 = 0xffff_0000_0000;

/// An address, kept as its IPv6 number; IPv4 lives in `::ffff:0:0/96`.
///
/// The Go suite treats `::ffff:10.1.0.2` and `10.1.0.2` as one address, and so the mapping loses nothing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Addr(u128);

impl Addr {
    pub(crate) const fn from_bits(bits: u128) -> Self {
        Self(bits)
    }

    pub(crate) const fn bits(self) -> u128 {
        self.0
    }

    pub(crate) const fn is_v4(self) -> bool {
        self.0 >> 32 == V4_PREFIX >> 32
    }

    pub(crate) fn ip(self) -> IpAddr {
        let v6 = Ipv6Addr::from_bits(self.0);
        v6.to_ipv4_mapped().map_or(IpAddr::V6(v6), IpAddr::V4)
    }

    /// The address that a file name spells, in whatever spelling.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        name.parse::<IpAddr>().ok().map(Self::from)
    }

    /// The address whose lease file has this name: only the canonical spelling counts, because only that name
    /// keeps another process from creating the same lease.
    pub(crate) fn from_lease_name(name: &str) -> Option<Self> {
        Self::parse(name).filter(|addr| addr.to_string() == name)
    }

    pub(crate) fn next(self) -> Option<Self> {
        self.0.checked_add(1).map(Self)
    }

    /// The occupancy block that holds this address, and the address's bit in it.
    pub(crate) fn block(self) -> (u128, usize) {
        let mask = (1u128 << BLOCK_BITS) - 1;
        // Nine bits always fit.
        (self.0 >> BLOCK_BITS, usize::try_from(self.0 & mask).unwrap_or(0))
    }
}

impl From<IpAddr> for Addr {
    fn from(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(v4) => Self::from(v4),
            IpAddr::V6(v6) => Self(v6.to_bits()),
        }
    }
}

impl From<Ipv4Addr> for Addr {
    fn from(v4: Ipv4Addr) -> Self {
        Self(V4_PREFIX | u128::from(v4.to_bits()))
    }
}

/// The canonical text: dotted, or as in RFC 5952. It is the name of the lease file.
impl fmt::Display for Addr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.ip().fmt(f)
    }
}

impl fmt::Debug for Addr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mapped_and_plain_ipv4_are_one_address() {
        let mapped = Addr::parse("::ffff:10.1.0.9").unwrap();
        assert_eq!(Addr::parse("10.1.0.9"), Some(mapped));
        assert!(mapped.is_v4());
        assert_eq!(mapped.to_string(), "10.1.0.9");
    }

    #[test]
    fn only_the_canonical_name_is_a_lease() {
        for name in ["10.1.0.9", "fd77::2", "::", "0.0.0.0", "::102:304"] {
            assert_eq!(Addr::from_lease_name(name).unwrap().to_string(), name);
        }
        for name in ["::ffff:10.1.0.9", "FD77::2", "fd77:0::2", "10.1.0.09", "lock", "last_reserved_ip.0", "::1.2.3.4"]
        {
            assert_eq!(Addr::from_lease_name(name), None, "{name}");
        }
    }

    #[test]
    fn blocks_hold_512_addresses() {
        let (first, bit) = Addr::parse("10.1.0.0").unwrap().block();
        assert_eq!(bit, 0);
        assert_eq!(Addr::parse("10.1.1.255").unwrap().block(), (first, 511));
        assert_eq!(Addr::parse("10.1.2.0").unwrap().block(), (first + 1, 0));
    }
}
