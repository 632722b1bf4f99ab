//! A route out of the bytes that describe it (`struct rtmsg` and `RTA_*`, `include/uapi/linux/rtnetlink.h`).

use std::net::IpAddr;

use ipnetwork::IpNetwork;

use super::Route;
use crate::netlink::attribute::{Attributes, ip, number};
use crate::netlink::rtnl::RTM_NEWROUTE;
use crate::netlink::{Error, Frame};

/// `sizeof(struct rtmsg)`.
pub(super) const HEADER: usize = 12;
/// Where the flags are in it.
pub(super) const FLAGS: usize = 8;
/// `sizeof(struct rtnexthop)`.
pub(super) const HOP: usize = 8;

const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_PRIORITY: u16 = 6;
const RTA_PREFSRC: u16 = 7;
const RTA_METRICS: u16 = 8;
const RTA_MULTIPATH: u16 = 9;
const RTA_TABLE: u16 = 15;

const RTAX_MTU: u16 = 2;
const RTAX_ADVMSS: u16 = 8;

/// `RTN_LOCAL`.
const LOCAL: u8 = 2;

/// The header of a message about a route, and its attributes.
pub(super) fn split(frame: &Frame) -> Result<(&[u8; HEADER], &[u8]), Error> {
    match frame.payload().split_first_chunk::<HEADER>() {
        Some(parts) if frame.message_type() == RTM_NEWROUTE => Ok(parts),
        _ => Err(Error::Malformed(format!("a message of type {} instead of a route", frame.message_type()))),
    }
}

/// Each attribute's type and value.
pub(super) fn attributes(bytes: &[u8]) -> Attributes<'_> {
    Attributes(bytes)
}

pub(super) fn is_local(frame: &Frame) -> Result<bool, Error> {
    split(frame).map(|(header, _)| header[7] == LOCAL)
}

/// The route in `frame`, once per next hop.
pub(super) fn routes(frame: &Frame) -> Result<Vec<Route>, Error> {
    let (header, attributes) = split(frame)?;
    let [family, prefix, _, _, table, _, scope, ..] = *header;
    let anywhere: IpAddr = if i32::from(family) == nix::libc::AF_INET6 { [0; 16].into() } else { [0; 4].into() };
    let mut destination = anywhere;
    let mut route = Route { table: Some(table.into()), scope: Some(scope), ..Route::to(anywhere.into()) };
    let mut hops: &[u8] = &[];
    for (kind, value) in Attributes(attributes) {
        match kind {
            RTA_DST => destination = ip(value).unwrap_or(anywhere),
            RTA_OIF => route.oif = Some(number(value)),
            RTA_GATEWAY => route.gateway = ip(value),
            RTA_PRIORITY => route.priority = Some(number(value)),
            RTA_PREFSRC => route.source = ip(value),
            RTA_TABLE => route.table = Some(number(value)),
            RTA_METRICS => metrics(&mut route, value),
            RTA_MULTIPATH => hops = value,
            _ => {}
        }
    }
    let network = IpNetwork::new(destination, prefix);
    route.dst = network.map_err(|error| Error::Malformed(format!("a route's destination: {error}")))?;
    Ok(if hops.is_empty() { vec![route] } else { next_hops(&route, hops) })
}

fn metrics(route: &mut Route, attributes: &[u8]) {
    for (kind, value) in Attributes(attributes) {
        match kind {
            RTAX_MTU => route.mtu = Some(number(value)),
            RTAX_ADVMSS => route.advmss = Some(number(value)),
            _ => {}
        }
    }
}

/// One route for each of several next hops, which are records of a length that each gives itself.
fn next_hops(route: &Route, mut hops: &[u8]) -> Vec<Route> {
    let mut routes = Vec::new();
    while let Some(header) = hops.first_chunk::<HOP>() {
        let length = usize::from(u16::from_ne_bytes([header[0], header[1]])).max(HOP);
        let attributes = hops.get(HOP..length).unwrap_or_default();
        let gateway = Attributes(attributes).find(|(kind, _)| *kind == RTA_GATEWAY).and_then(|(_, value)| ip(value));
        routes.push(Route { gateway, oif: Some(number(&header[4..])), ..route.clone() });
        hops = hops.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    routes
}
