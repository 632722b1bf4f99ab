//! Routes word for word: read from one table, written to another, with every attribute that they have.
//!
//! Whoever takes a route apart and puts it together again loses what he does not know: metrics, preferences, next hops,
//! encapsulations. So the kernel's own description is kept, and of it only the table is changed.

mod portion;

use ipnetwork::IpNetwork;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_REPLACE};
use netlink_packet_route::route::{RouteAttribute, RouteMessage, RouteProtocol};

use super::{Route, parse};
use crate::netlink::attribute::put;
use crate::netlink::rtnl::{RTM_DELROUTE, RTM_GETROUTE, RTM_NEWROUTE, request};
use crate::netlink::{Error, Frame, Request};

/// `RTA_CACHEINFO`: statistics, which are no part of a route.
const RTA_CACHEINFO: u16 = 12;
const RTA_TABLE: u16 = 15;
/// `RTNH_F_ONLINK`: the next hop is on the link, whatever the routes say. The only flag that is not a report.
const ONLINK: u8 = 4;

/// A route as the kernel describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verbatim {
    header: [u8; parse::HEADER],
    attributes: Vec<(u16, Vec<u8>)>,
    hops: Vec<Route>,
}

/// `ip route show table TABLE dev INDEX`, of every family, filtered by the kernel; to be dumped.
#[must_use]
pub fn list_all(table: u32, oif: Option<u32>) -> Request {
    let mut message = RouteMessage::default();
    message.attributes.push(RouteAttribute::Table(table));
    message.attributes.extend(oif.map(RouteAttribute::Oif));
    request(RTM_GETROUTE, &message, 0)
}

impl Verbatim {
    /// The IPv4 and IPv6 routes that answer [`list_all`].
    ///
    /// # Errors
    ///
    /// When an answer is not a route.
    pub fn from_frames(frames: &[Frame]) -> Result<Vec<Self>, Error> {
        let mut routes = Vec::new();
        for frame in frames {
            let (header, attributes) = parse::split(frame)?;
            // Multicast routing answers too.
            if [nix::libc::AF_INET, nix::libc::AF_INET6].contains(&header[0].into()) {
                let kept = parse::attributes(attributes).filter(|(kind, _)| *kind != RTA_CACHEINFO);
                let attributes = kept.map(|(kind, value)| (kind, value.to_vec())).collect();
                routes.push(Self { header: *header, attributes, hops: parse::routes(frame)? });
            }
        }
        Ok(routes)
    }

    /// Where it leads.
    #[must_use]
    pub fn dst(&self) -> Option<IpNetwork> {
        self.hops.first().map(|hop| hop.dst)
    }

    /// The route, once for each of its next hops.
    #[must_use]
    pub fn hops(&self) -> &[Route] {
        &self.hops
    }

    /// Whether somebody put it there by hand (`RTPROT_BOOT`), and neither the kernel nor a routing daemon.
    #[must_use]
    pub fn is_manual(&self) -> bool {
        self.header[5] == u8::from(RouteProtocol::Boot)
    }

    /// The same route in another table.
    #[must_use]
    pub fn in_table(&self, table: u32) -> Self {
        let mut other = self.clone();
        other.header[4] = u8::try_from(table).unwrap_or_default();
        other.attributes.retain(|(kind, _)| *kind != RTA_TABLE);
        other.attributes.push((RTA_TABLE, table.to_ne_bytes().to_vec()));
        other.hops.iter_mut().for_each(|hop| hop.table = Some(table));
        other
    }

    /// `ip route replace`.
    #[must_use]
    pub fn replace(&self) -> Request {
        self.request(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE)
    }

    /// `ip route add`.
    #[must_use]
    pub fn add(&self) -> Request {
        self.request(RTM_NEWROUTE, NLM_F_CREATE)
    }

    /// `ip route del`.
    #[must_use]
    pub fn del(&self) -> Request {
        self.request(RTM_DELROUTE, 0)
    }

    fn request(&self, kind: u16, flags: u16) -> Request {
        let mut payload = self.header.to_vec();
        payload[parse::FLAGS..].copy_from_slice(&u32::from(self.header[parse::FLAGS] & ONLINK).to_ne_bytes());
        for (kind, value) in &self.attributes {
            put(&mut payload, *kind, value);
        }
        Request { kind, flags, payload }
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use crate::Handle;
    use crate::sandbox::alone;

    fn ip(words: &str) -> String {
        let output = Command::new("ip").args(words.split_whitespace()).output().unwrap();
        assert!(output.status.success(), "{words}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn link(handle: &mut Handle, name: &str) -> u32 {
        ip(&format!("link add {name} type veth peer name {name}p"));
        for end in [format!("{name}p"), name.to_owned()] {
            ip(&format!("link set {end} addrgenmode none up"));
        }
        handle.link(name).unwrap().unwrap().index
    }

    const ROUTES: [&str; 8] = [
        "-4 route add 10.9.0.0/16 via 10.1.0.1 metric 7 mtu 1300 advmss 900 src 10.1.0.2",
        "-4 route add default via 10.1.0.1 proto static",
        "-4 route add 10.8.0.0/16 via 192.168.9.9 dev net1 onlink",
        "-4 route add 10.7.0.0/16 nexthop via 10.1.0.3 weight 3 nexthop via 10.1.0.4",
        "-4 route add 10.6.0.0/16 dev net1 tos 4 scope link",
        "-6 route add default via fd00::1 pref high",
        "-6 route add fd09::/64 via fd00::1 metric 7 mtu 1300",
        "-6 route add fd08::/64 nexthop via fd00::3 weight 3 nexthop via fd00::4",
    ];

    /// What `ip` says of a table, without what changes by itself.
    fn shown(table: &str) -> Vec<String> {
        let both = ip(&format!("-4 route show table {table}")) + &ip(&format!("-6 route show table {table}"));
        let mut lines: Vec<String> =
            both.lines().map(|line| line.replace("linkdown", "").trim_end().to_owned()).collect();
        lines.sort();
        lines
    }

    #[test]
    fn every_attribute_survives_the_move() {
        alone(|| {
            let mut handle = Handle::here().unwrap();
            let (a, _) = (link(&mut handle, "net1"), link(&mut handle, "net2"));
            ip("address add 10.1.0.2/24 dev net1");
            ip("-6 address add fd00::2/64 dev net1 nodad");
            ip("address add 10.2.0.2/24 dev net2");
            ROUTES.iter().for_each(|line| drop(ip(line)));
            let all = shown("main");
            let routes = handle.link_routes(254, a).unwrap();
            assert!(routes.len() == ROUTES.len() + 2, "{routes:?}");
            for route in &routes {
                handle.call(route.in_table(1000).replace()).unwrap();
            }
            let of_b = |line: &&String| line.contains("dev net2");
            let moved: Vec<&String> = all.iter().filter(|line| !of_b(line)).collect();
            let there = shown("1000");
            assert_eq!(there.iter().collect::<Vec<_>>(), moved);
            let (hopping, direct): (Vec<_>, Vec<_>) =
                routes.iter().partition(|route| route.hops().iter().any(|hop| hop.gateway.is_some()));
            for route in hopping.iter().chain(&direct) {
                handle.call(route.del()).unwrap();
            }
            assert_eq!(shown("main"), all.iter().filter(of_b).cloned().collect::<Vec<_>>());
            for route in direct.iter().chain(&hopping) {
                handle.call(route.add()).unwrap();
            }
            assert_eq!(shown("main"), all);
        });
    }

    #[test]
    fn a_table_is_seen_to_be_free() {
        alone(|| {
            let mut handle = Handle::here().unwrap();
            let a = link(&mut handle, "net1");
            assert!(handle.table_routes(1000).unwrap().is_empty());
            ip("-6 route add fd09::/64 dev net1 table 1000");
            assert!(handle.table_routes(1000).unwrap().len() == 1 && handle.table_routes(1001).unwrap().is_empty());
            assert_eq!(handle.link_routes(1000, a).unwrap()[0].dst(), "fd09::/64".parse().ok());
            assert_eq!(handle.link_routes(1000, a + 99).unwrap_or_default(), []);
        });
    }
}
