//! Neighbour entries (`ip neighbour`).

use std::net::IpAddr;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_REPLACE};
use netlink_packet_route::neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState};

use crate::link::family;
use crate::mac::Mac;
use crate::netlink::attribute::Attributes;
use crate::netlink::rtnl::{RTM_DELNEIGH, RTM_GETNEIGH, RTM_NEWNEIGH, request};
use crate::netlink::{Frame, Request};

/// `sizeof(struct ndmsg)`.
const HEADER: usize = 12;
const NDA_LLADDR: u16 = 2;

/// `ip neighbour get IP dev INDEX`, since Linux 5.0; refused with `ENOENT` where there is no entry.
#[must_use]
pub fn get(link: u32, ip: IpAddr) -> Request {
    request(RTM_GETNEIGH, &message(link, ip), 0)
}

/// The hardware address in the answer to [`get`]; none while it is not known.
#[must_use]
pub fn hardware_address(frames: &[Frame]) -> Option<Mac> {
    let entry = frames.iter().find(|frame| frame.message_type() == RTM_NEWNEIGH)?;
    let (_, value) = Attributes(entry.payload().get(HEADER..)?).find(|(kind, _)| *kind == NDA_LLADDR)?;
    Mac::try_from(value).ok()
}

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
