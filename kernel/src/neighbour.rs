//! Neighbour entries (`ip neighbour`).

use std::net::IpAddr;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_REPLACE};
use netlink_packet_route::neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState};

use crate::link::family;
use crate::mac::Mac;
use crate::netlink::Request;
use crate::netlink::rtnl::{RTM_DELNEIGH, RTM_NEWNEIGH, request};

/// `ip neighbour replace IP lladdr MAC dev INDEX nud permanent`.
#[must_use]
pub fn replace(link: u32, ip: IpAddr, mac: Mac) -> Request {
    let mut message = message(link, ip);
    message.header.state = NeighbourState::Permanent;
    message.attributes.push(NeighbourAttribute::LinkLayerAddress(mac.bytes().to_vec()));
    request(RTM_NEWNEIGH, &message, NLM_F_CREATE | NLM_F_REPLACE)
}

/// `ip neighbour del IP dev INDEX`.
#[must_use]
pub fn del(link: u32, ip: IpAddr) -> Request {
    request(RTM_DELNEIGH, &message(link, ip), 0)
}

fn message(link: u32, ip: IpAddr) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = family(ip.is_ipv6());
    message.header.ifindex = link;
    message.attributes.push(NeighbourAttribute::Destination(match ip {
        IpAddr::V4(ip) => NeighbourAddress::Inet(ip),
        IpAddr::V6(ip) => NeighbourAddress::Inet6(ip),
    }));
    message
}
