//! Routes (`ip route`).

mod parse;
mod verbatim;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnetwork::IpNetwork;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_REPLACE};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteMetric, RouteProtocol, RouteScope,
};
use rtnetlink::RouteMessageBuilder;

use crate::link::family;
use crate::netlink::rtnl::{RTM_DELROUTE, RTM_GETROUTE, RTM_NEWROUTE, request};
use crate::netlink::{Error, Frame, Request};

pub use verbatim::{Verbatim, list_all};

/// A route: where to, through what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The destination; a prefix length of zero is the default route.
    pub dst: IpNetwork,
    /// The next hop; none for what is on the link itself.
    pub gateway: Option<IpAddr>,
    /// The preferred source address.
    pub source: Option<IpAddr>,
    /// `metric`: the lowest wins.
    pub priority: Option<u32>,
    /// The routing table; none for main (254).
    pub table: Option<u32>,
    /// `RT_SCOPE_*`; none for universe (0).
    pub scope: Option<u8>,
    /// Path MTU in bytes.
    pub mtu: Option<u32>,
    /// The TCP segment size to announce, in bytes.
    pub advmss: Option<u32>,
    /// Index of the link, in routes read from the kernel.
    pub oif: Option<u32>,
}

impl Route {
    /// A route to `dst` in table main, without any attribute.
    #[must_use]
    pub fn to(dst: IpNetwork) -> Self {
        Self {
            dst,
            gateway: None,
            source: None,
            priority: None,
            table: None,
            scope: None,
            mtu: None,
            advmss: None,
            oif: None,
        }
    }

    /// `ip route add`, through the link with index `oif`.
    ///
    /// Neither `NLM_F_EXCL` nor `NLM_F_REPLACE`: an IPv4 route to the same prefix by another next hop becomes a second
    /// entry before the first, an IPv6 one joins it as a multipath route.
    #[must_use]
    pub fn add(&self, oif: u32) -> Request {
        request(RTM_NEWROUTE, &self.message(oif), NLM_F_CREATE)
    }

    /// `ip route replace`, through the link with index `oif`: in place of the first that there is to the same prefix, with
    /// the same metric.
    #[must_use]
    pub fn replace(&self, oif: u32) -> Request {
        request(RTM_NEWROUTE, &self.message(oif), NLM_F_CREATE | NLM_F_REPLACE)
    }

    /// `ip route del`, through the link with index `oif`.
    #[must_use]
    pub fn del(&self, oif: u32) -> Request {
        request(RTM_DELROUTE, &self.message(oif), 0)
    }

    fn message(&self, oif: u32) -> RouteMessage {
        let mut message = match self.dst {
            IpNetwork::V4(dst) => {
                RouteMessageBuilder::<Ipv4Addr>::new().destination_prefix(dst.ip(), dst.prefix()).build()
            }
            IpNetwork::V6(dst) => {
                RouteMessageBuilder::<Ipv6Addr>::new().destination_prefix(dst.ip(), dst.prefix()).build()
            }
        };
        message.header.protocol = RouteProtocol::Boot;
        message.header.scope = RouteScope::from(self.scope.unwrap_or_default());
        let attributes = &mut message.attributes;
        attributes.push(RouteAttribute::Oif(oif));
        attributes.extend(self.gateway.map(|ip| RouteAttribute::Gateway(route_address(ip))));
        attributes.extend(self.source.map(|ip| RouteAttribute::PrefSource(route_address(ip))));
        attributes.extend(self.priority.map(RouteAttribute::Priority));
        let metrics: Vec<RouteMetric> =
            self.mtu.map(RouteMetric::Mtu).into_iter().chain(self.advmss.map(RouteMetric::Advmss)).collect();
        if !metrics.is_empty() {
            attributes.push(RouteAttribute::Metrics(metrics));
        }
        if let Some(table) = self.table {
            message.header.table = u8::try_from(table).unwrap_or(RouteHeader::RT_TABLE_UNSPEC);
            message.attributes.push(RouteAttribute::Table(table));
        }
        message
    }

    /// The routes that answer a request; multipath ones once per next hop.
    ///
    /// # Errors
    ///
    /// When an answer is not a route.
    pub fn from_frames(frames: &[Frame]) -> Result<Vec<Self>, Error> {
        let mut routes = Vec::new();
        for frame in frames {
            routes.extend(parse::routes(frame)?);
        }
        Ok(routes)
    }
}

/// As `ip route add` takes it, without the device.
impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.dst.prefix() {
            0 => write!(f, "default")?,
            _ => write!(f, "{}", self.dst)?,
        }
        let mut word = |name: &str, value: Option<String>| match value {
            Some(value) => write!(f, " {name} {value}"),
            None => Ok(()),
        };
        word("via", self.gateway.map(|ip| ip.to_string()))?;
        word("src", self.source.map(|ip| ip.to_string()))?;
        word("metric", self.priority.map(|n| n.to_string()))?;
        word("table", self.table.map(|n| n.to_string()))?;
        word("scope", self.scope.map(|n| n.to_string()))?;
        word("mtu", self.mtu.map(|n| n.to_string()))?;
        word("advmss", self.advmss.map(|n| n.to_string()))
    }
}

/// `ip route get ADDRESS`: how the kernel would route a packet to it.
#[must_use]
pub fn get(address: IpAddr) -> Request {
    let mut message = RouteMessage::default();
    message.header.address_family = family(address.is_ipv6());
    message.header.destination_prefix_length = if address.is_ipv6() { 128 } else { 32 };
    message.attributes.push(RouteAttribute::Destination(route_address(address)));
    request(RTM_GETROUTE, &message, 0)
}

/// Whether the answer to [`get`] says that the address is one of the machine's own (`RTN_LOCAL`).
///
/// # Errors
///
/// When the answer is not a route.
pub fn is_local(frames: &[Frame]) -> Result<bool, Error> {
    frames.iter().try_fold(false, |found, frame| Ok(found | parse::is_local(frame)?))
}

/// `ip -4|-6 route show table TABLE`, filtered by the kernel; to be dumped.
#[must_use]
pub fn list(is_ipv6: bool, table: u32) -> Request {
    let mut message = RouteMessage::default();
    message.header.address_family = family(is_ipv6);
    message.attributes.push(RouteAttribute::Table(table));
    request(RTM_GETROUTE, &message, 0)
}

fn route_address(ip: IpAddr) -> RouteAddress {
    match ip {
        IpAddr::V4(ip) => RouteAddress::Inet(ip),
        IpAddr::V6(ip) => RouteAddress::Inet6(ip),
    }
}
