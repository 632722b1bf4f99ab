//! The part of a route that leads through one link. A route with several next hops may lead through several.

use super::{ONLINK, Verbatim};
use crate::netlink::attribute::number;
use crate::route::parse::HOP;

const RTA_MULTIPATH: u16 = 9;
/// `RTA_NH_ID`: the number of a next hop object. The hops themselves are told too, and a request may say one of both.
const RTA_NH_ID: u16 = 30;
/// Where `struct rtmsg` says who made the route, and of what type it is.
const PROTOCOL: usize = 5;
const TYPE: usize = 7;
/// `RTN_UNICAST`.
const UNICAST: u8 = 1;
/// `RTPROT_REDIRECT`, `RTPROT_KERNEL`, `RTPROT_RA`: who makes routes without being told.
const AUTOMATIC: [u8; 3] = [1, 2, 9];

impl Verbatim {
    /// Whether somebody has asked for it, rather than that it follows from an address or from what a router said.
    #[must_use]
    pub fn is_deliberate(&self) -> bool {
        self.header[TYPE] == UNICAST && !AUTOMATIC.contains(&self.header[PROTOCOL])
    }

    /// The table that it is in.
    #[must_use]
    pub fn table(&self) -> Option<u32> {
        self.hops.first().and_then(|hop| hop.table)
    }

    /// The route with those of its next hops that leave by the link with index `oif`; none when there are none.
    #[must_use]
    pub fn through(&self, oif: u32) -> Option<Self> {
        self.part(|index| index == Some(oif))
    }

    /// The route with those of its next hops that leave by other links; none when there are none.
    #[must_use]
    pub fn around(&self, oif: u32) -> Option<Self> {
        self.part(|index| index != Some(oif))
    }

    fn part(&self, wanted: impl Fn(Option<u32>) -> bool) -> Option<Self> {
        let mut part = self.clone();
        part.attributes.retain(|(kind, _)| *kind != RTA_NH_ID);
        part.hops.retain(|hop| wanted(hop.oif));
        if let Some((_, hops)) = part.attributes.iter_mut().find(|(kind, _)| *kind == RTA_MULTIPATH) {
            *hops = records(hops).filter(|hop| wanted(Some(number(&hop[4..])))).flat_map(reported_no_more).collect();
        }
        (!part.hops.is_empty()).then_some(part)
    }
}

/// The next hops (`struct rtnexthop` with attributes), each with its padding.
fn records(mut all: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let length = u16::from_ne_bytes(*all.first_chunk()?);
        let (hop, rest) = all.split_at_checked(usize::from(length).max(HOP).next_multiple_of(4).min(all.len()))?;
        all = rest;
        (hop.len() >= HOP).then_some(hop)
    })
}

/// A next hop without what the kernel reports about it (dead, no carrier), which it does not take back.
fn reported_no_more(hop: &[u8]) -> Vec<u8> {
    let mut hop = hop.to_vec();
    hop[2] &= ONLINK;
    hop
}

#[cfg(test)]
mod tests {
    use crate::Handle;
    use crate::sandbox::{alone, ip};

    fn shown(family: &str, table: &str) -> String {
        ip(&format!("{family} route show table {table} default")).split_whitespace().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_route_through_two_links_is_parted() {
        alone(|| {
            let mut handle = Handle::here().unwrap();
            let [a, _] = ["net1", "net2"].map(|name| {
                ip(&format!("link add {name} type veth peer name {name}p"));
                ip(&format!("link set {name}p up"));
                ip(&format!("link set {name} up"));
                handle.link(name).unwrap().unwrap().index
            });
            for line in [
                "address add 10.1.0.2/24 dev net1",
                "address add 10.2.0.2/24 dev net2",
                "-6 address add fd01::2/64 dev net1 nodad",
                "-6 address add fd02::2/64 dev net2 nodad",
                "route add default nexthop via 10.1.0.1 nexthop via 10.2.0.1 nexthop via 10.1.0.9",
                "-6 route add default nexthop via fd01::1 nexthop via fd02::1 nexthop via fd01::9",
            ] {
                ip(line);
            }
            let all = handle.routes_through(a).unwrap();
            let defaults: Vec<_> =
                all.iter().filter(|route| route.dst().is_some_and(|dst| dst.prefix() == 0)).collect();
            assert_eq!(defaults.len(), 2, "{all:?}");
            for (route, one, other) in [
                (defaults[0], "10.1.0.", "default via 10.2.0.1 dev net2"),
                (defaults[1], "fd01::", "default via fd02::1 dev net2"),
            ] {
                let family = if one.contains(':') { "-6" } else { "-4" };
                let before = shown(family, "main");
                assert!(route.is_deliberate());
                handle.call(route.through(a).unwrap().in_table(1000).add()).unwrap();
                let moved = shown(family, "1000");
                assert!(moved.matches(one).count() == 2 && !moved.contains("dev net2"), "{moved}");
                handle.call(route.around(a).unwrap().replace()).unwrap();
                assert!(shown(family, "main").starts_with(other), "{}", shown(family, "main"));
                handle.call(route.replace()).unwrap();
                assert_eq!(shown(family, "main"), before);
                assert_eq!(route.around(a).unwrap().through(a), None);
            }
        });
    }

    #[test]
    fn what_follows_from_addresses_is_not_deliberate() {
        alone(|| {
            let mut handle = Handle::here().unwrap();
            ip("link add net1 type veth peer name net2");
            ip("link set net2 up");
            ip("link set net1 up");
            ip("address add 10.1.0.2/24 dev net1");
            ip("-6 address add fd01::2/64 dev net1 nodad");
            ip("route add 10.9.0.0/16 dev net1 table 77");
            let index = handle.link("net1").unwrap().unwrap().index;
            let all = handle.routes_through(index).unwrap();
            assert!(all.len() > 4, "{all:?}");
            let deliberate: Vec<_> = all.iter().filter(|route| route.is_deliberate()).collect();
            assert_eq!(deliberate.len(), 1);
            assert_eq!(deliberate[0].table(), Some(77));
        });
    }
}
