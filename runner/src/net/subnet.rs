//! Subnets for new networks: one that nobody has.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnetwork::{IpNetwork, Ipv4Network, Ipv6Network};
use kernel::Handle;
use serde_json::Value;

use crate::error::{Context, Error, Result};
use crate::spec::Dirs;

use super::catalog;

/// What is in use, and by whom, for people.
#[derive(Debug, Default)]
pub(super) struct Taken(Vec<(IpNetwork, String)>);

/// `RT_TABLE_MAIN`.
const MAIN: u32 = 254;

/// IPv4 networks are taken from 10.214.0.0 to 10.223.255.0, 256 addresses each; IPv6 ones from the /48 of the built-in one.
const FIRST: u32 = u32::from_be_bytes([10, 214, 0, 0]);
const LAST: u32 = u32::from_be_bytes([10, 223, 255, 0]);
const SITE: u128 = 0xfd5c_7ae1_90b3_0000_0000_0000_0000_0000;

impl Taken {
    /// The subnets of all networks, and what the host has routes to. A default route takes nothing.
    ///
    /// # Errors
    /// The kernel does not tell its routes.
    pub(super) fn now(dirs: &Dirs) -> Result<Self> {
        let mut taken = Self::default();
        for (name, _) in catalog::all(dirs)? {
            let Ok(list) = catalog::find(&name, dirs) else { continue };
            let list = serde_json::from_slice(list.bytes()).unwrap_or_default();
            taken.0.extend(subnets(&list).into_iter().map(|subnet| (subnet, format!("network {name}"))));
        }
        let mut host = Handle::here().context(|| "open a route socket")?;
        for is_ipv6 in [false, true] {
            let routes = host.routes(is_ipv6, MAIN).map_err(|error| Error::new(format!("list routes: {error}")))?;
            let specific = routes.into_iter().filter(|route| route.dst.prefix() > 0);
            taken.0.extend(specific.map(|route| (route.dst, "a route of this host".to_owned())));
        }
        Ok(taken)
    }

    /// Who has a part of `subnet`.
    pub(super) fn by(&self, subnet: IpNetwork) -> Option<&str> {
        self.0.iter().find(|(other, _)| overlap(*other, subnet)).map(|(_, who)| who.as_str())
    }

    /// A free IPv4 subnet.
    ///
    /// # Errors
    /// All are taken.
    pub(super) fn free_v4(&self) -> Result<IpNetwork> {
        let candidates = (FIRST..=LAST).step_by(256);
        let subnets = candidates.filter_map(|bits| Ipv4Network::new(Ipv4Addr::from(bits), 24).ok());
        self.first_free(subnets.map(IpNetwork::V4))
    }

    /// A free IPv6 subnet.
    ///
    /// # Errors
    /// All are taken.
    pub(super) fn free_v6(&self) -> Result<IpNetwork> {
        let candidates = (1..=0xffff_u128).map(|n| Ipv6Addr::from(SITE | n << 64));
        self.first_free(candidates.filter_map(|address| Ipv6Network::new(address, 64).ok()).map(IpNetwork::V6))
    }

    fn first_free(&self, mut candidates: impl Iterator<Item = IpNetwork>) -> Result<IpNetwork> {
        let free = candidates.find(|subnet| self.by(*subnet).is_none());
        free.ok_or_else(|| Error::new("no free subnet is left: give one with --subnet, or remove networks"))
    }
}

/// All subnets that a list of plugins names for its addresses.
pub(crate) fn subnets(list: &Value) -> Vec<IpNetwork> {
    let plugins = list.get("plugins").and_then(Value::as_array).into_iter().flatten();
    let ipam = plugins.filter_map(|plugin| plugin.get("ipam"));
    ipam.flat_map(|ipam| {
        let sets = ipam.get("ranges").and_then(Value::as_array).into_iter().flatten();
        let ranges = sets.filter_map(Value::as_array).flatten().chain([ipam]);
        ranges.filter_map(|range| range.get("subnet")?.as_str()?.parse().ok()).collect::<Vec<IpNetwork>>()
    })
    .collect()
}

fn overlap(a: IpNetwork, b: IpNetwork) -> bool {
    let contains = |net: IpNetwork, ip: IpAddr| net.contains(ip);
    contains(a, b.network()) || contains(b, a.network())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(entries: &[&str]) -> Taken {
        Taken(entries.iter().map(|text| (text.parse().unwrap(), "somebody".to_owned())).collect())
    }

    #[test]
    fn the_first_subnet_that_nobody_has_a_part_of_is_taken() {
        let taken = taken(&["10.214.0.0/24", "10.214.1.128/25", "10.214.2.0/23", "fd5c:7ae1:90b3:1::/64"]);
        assert_eq!(taken.free_v4().unwrap().to_string(), "10.214.4.0/24");
        assert_eq!(taken.free_v6().unwrap().to_string(), "fd5c:7ae1:90b3:2::/64");
        assert_eq!(taken.by("10.214.0.7/32".parse().unwrap()), Some("somebody"));
        assert_eq!(taken.by("10.213.0.0/16".parse().unwrap()), None);
        assert!(super::tests::taken(&["10.0.0.0/8"]).free_v4().is_err());
    }

    #[test]
    fn subnets_are_found_in_both_spellings() {
        let list = serde_json::json!({"plugins": [
            {"ipam": {"subnet": "10.1.0.0/16"}}, {}, {"ipam": {"ranges": [[{"subnet": "10.2.0.0/16"}], [{"subnet": "fd00::/64"}]]}},
        ]});
        let found: Vec<String> = subnets(&list).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["10.1.0.0/16", "10.2.0.0/16", "fd00::/64"]);
    }
}
