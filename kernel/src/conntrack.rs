//! Connections that the kernel tracks (`conntrack -L`), as far as they are UDP.
//!
//! Where a flow goes is decided with its first packet and remembered as long as packets keep coming. For UDP that can be
//! for ever, so a flow outlives the rule that sent it on its way, and meets neither a newer one nor its absence. Who
//! changes where a port leads has to make the kernel forget the flows that are on their old way.
//!
//! Since Linux 6.11 the kernel deletes by a pattern (`CTA_FILTER`), which takes it a tenth of a millisecond. Older ones
//! refuse that, and are asked for a list (filtered since 5.8, which even older ones ignore) from which flows are named one
//! by one, by tuple and id, so that one which took its place in between stays. A list costs some ten milliseconds even
//! when it is empty: the kernel has one table for all namespaces, and locks each of its buckets on the way (262,144, as it
//! makes for a few gigabytes of memory). How many connections a namespace has is counted, so where there are none nothing
//! is listed.
//!
//! IPv6 always goes by lists: the comparison of its addresses with a pattern is the wrong way round in the kernel
//! (`ctnetlink_filter_match_tuple`, `!ipv6_addr_cmp`), so a pattern would spare its own flows and hit those of others.

use std::net::IpAddr;

use nix::errno::Errno;

use crate::netlink::attribute::{Attributes, ip, number};
use crate::netlink::{Error, Frame, Request, Socket};

/// `NFNL_SUBSYS_CTNETLINK`, in the upper byte of a message type; `IPCTNL_MSG_CT_GET`, `IPCTNL_MSG_CT_DELETE` and
/// `IPCTNL_MSG_CT_GET_STATS`.
const CT_GET: u16 = 1 << 8 | 1;
const CT_DELETE: u16 = 1 << 8 | 2;
const CT_GET_STATS: u16 = 1 << 8 | 5;
/// `sizeof(struct nfgenmsg)`.
const HEADER: usize = 4;
/// In a header of version 0 (`NFNETLINK_V0`), deletions by pattern do not look at the family.
const VERSION: u8 = 1;
/// `AF_INET`, `AF_INET6`.
const FAMILY: [u8; 2] = [2, 10];
const IPPROTO_UDP: u8 = 17;
/// `NLA_F_NESTED`.
const NESTED: u16 = 0x8000;
/// `enum ctattr_type`.
const CTA_TUPLE_ORIG: u16 = 1;
const CTA_TUPLE_REPLY: u16 = 2;
const CTA_ID: u16 = 12;
const CTA_ZONE: u16 = 18;
const CTA_FILTER: u16 = 25;
/// `enum ctattr_stats_global`.
const CTA_STATS_GLOBAL_ENTRIES: u16 = 1;
/// `enum ctattr_tuple`.
const CTA_TUPLE_IP: u16 = 1;
const CTA_TUPLE_PROTO: u16 = 2;
/// `enum ctattr_ip`: the source of IPv4 and of IPv6; the destination is one above.
const CTA_IP_SRC: [u16; 2] = [1, 3];
/// `enum ctattr_l4proto`.
const CTA_PROTO_NUM: u16 = 1;
const CTA_PROTO_SRC_PORT: u16 = 2;
const CTA_PROTO_DST_PORT: u16 = 3;
/// What of the tuple beside it counts (`enum ctattr_filter`, `CTA_FILTER_F_*` of `net/netfilter/nf_internals.h`).
const CTA_FILTER_ORIG_FLAGS: u16 = 1;
const CTA_FILTER_REPLY_FLAGS: u16 = 2;
const FILTER_IP_SRC: u32 = 1 << 0;
const FILTER_IP_DST: u32 = 1 << 1;
const FILTER_PROTO_NUM: u32 = 1 << 3;
const FILTER_PROTO_SRC_PORT: u32 = 1 << 4;
const FILTER_PROTO_DST_PORT: u32 = 1 << 5;

/// As many deletions by pattern as take about the time of one list.
const FEW: usize = 64;
/// No flow is sent to port 0.
const ANY_PORT: u16 = 0;

/// Which flows: those of one family to a port, and more exactly where more is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pattern {
    /// IPv6, not IPv4.
    pub is_ipv6: bool,
    /// The port to which the first packet was sent.
    pub port: u16,
    /// The address to which it was sent.
    pub address: Option<IpAddr>,
    /// From which address and port it is answered, which is where the flow really leads.
    pub target: Option<(IpAddr, u16)>,
}

impl Pattern {
    fn is_of(&self, flow: &Flow) -> bool {
        let Flow { original, reply, .. } = flow;
        self.is_ipv6 == original.destination.is_ipv6()
            && self.port == original.destination_port
            && self.address.is_none_or(|address| address == original.destination)
            && self.target.is_none_or(|target| target == (reply.source, reply.source_port))
    }
}

/// One direction of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Tuple {
    source: IpAddr,
    source_port: u16,
    destination: IpAddr,
    destination_port: u16,
}

/// A flow of UDP: its packets as they come in from whoever began it, and the answers as they come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Flow {
    original: Tuple,
    reply: Tuple,
    id: u32,
}

/// The tracked connections of one network namespace.
#[derive(Debug)]
pub struct Conntrack<'a> {
    socket: &'a mut Socket,
}

impl<'a> Conntrack<'a> {
    /// Speaks over a netfilter socket.
    pub(crate) fn over(socket: &'a mut Socket) -> Self {
        Self { socket }
    }

    /// Forgets the flows of UDP that any of `patterns` describes.
    ///
    /// # Errors
    ///
    /// The first refusal; as much as possible was done then.
    pub fn forget_udp(&mut self, patterns: &[Pattern]) -> Result<(), Error> {
        let (v6, v4): (Vec<Pattern>, Vec<Pattern>) = patterns.iter().partition(|pattern| pattern.is_ipv6);
        if v4.len() > FEW {
            self.forget_listed(&v4)?;
            return self.forget_listed(&v6);
        }
        let deletions: Vec<Request> = v4.iter().map(|pattern| filtered(CT_DELETE, pattern)).collect();
        for outcome in self.socket.exchange(&deletions)? {
            match outcome {
                // A kernel that deletes by name only misses the rest of a name.
                Err(refusal) if matches!(refusal.errno, Errno::EOPNOTSUPP | Errno::EINVAL) => {
                    self.forget_listed(&v4)?;
                    break;
                }
                Err(refusal) => return Err(refusal.into()),
                Ok(_) => {}
            }
        }
        self.forget_listed(&v6)
    }

    /// How many connections of any kind this namespace has, if the kernel says.
    fn count(&mut self) -> Result<Option<u32>, Error> {
        let answers = match self.socket.request(request(CT_GET_STATS, false, &[])) {
            Err(Error::Refused(_)) => return Ok(None),
            other => other?,
        };
        let attributes = answers.first().and_then(|frame| frame.payload().get(HEADER..)).map(Attributes);
        let entries = attributes.into_iter().flatten().find(|(kind, _)| *kind == CTA_STATS_GLOBAL_ENTRIES);
        Ok(entries.and_then(|(_, value)| value.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))))
    }

    /// The same by a list, for patterns of one family.
    fn forget_listed(&mut self, patterns: &[Pattern]) -> Result<(), Error> {
        let Some(first) = patterns.first() else { return Ok(()) };
        if self.count()? == Some(0) {
            return Ok(());
        }
        let single = patterns.iter().all(|pattern| pattern.port == first.port);
        let port = if single { first.port } else { ANY_PORT };
        let list = Pattern { port, address: None, target: None, ..*first };
        let frames = self.socket.dump(&filtered(CT_GET, &list))?;
        let flows = frames.iter().filter_map(flow);
        let past = flows.filter(|flow| patterns.iter().any(|pattern| pattern.is_of(flow)));
        let deletions: Vec<Request> = past.map(|flow| deletion(&flow)).collect();
        for outcome in self.socket.exchange(&deletions)? {
            match outcome {
                Err(refusal) if refusal.errno != Errno::ENOENT => return Err(refusal.into()),
                _ => {}
            }
        }
        Ok(())
    }
}

/// A request about the flows of a pattern.
fn filtered(kind: u16, pattern: &Pattern) -> Request {
    let is_ipv6 = pattern.is_ipv6;
    let source = CTA_IP_SRC[usize::from(is_ipv6)];
    let mut flags = FILTER_PROTO_NUM;
    let mut tuple = Vec::new();
    let mut protocol = attribute(CTA_PROTO_NUM, &[IPPROTO_UDP]);
    if pattern.port != ANY_PORT {
        flags |= FILTER_PROTO_DST_PORT;
        protocol.extend(attribute(CTA_PROTO_DST_PORT, &pattern.port.to_be_bytes()));
    }
    if let Some(address) = pattern.address {
        flags |= FILTER_IP_DST;
        tuple.extend(attribute(CTA_TUPLE_IP | NESTED, &attribute(source + 1, &octets(address))));
    }
    tuple.extend(attribute(CTA_TUPLE_PROTO | NESTED, &protocol));
    let mut attributes = vec![attribute(CTA_TUPLE_ORIG | NESTED, &tuple)];
    let mut filter = attribute(CTA_FILTER_ORIG_FLAGS, &flags.to_ne_bytes());
    if let Some((address, port)) = pattern.target {
        let protocol =
            [attribute(CTA_PROTO_NUM, &[IPPROTO_UDP]), attribute(CTA_PROTO_SRC_PORT, &port.to_be_bytes())].concat();
        let mut tuple = attribute(CTA_TUPLE_IP | NESTED, &attribute(source, &octets(address)));
        tuple.extend(attribute(CTA_TUPLE_PROTO | NESTED, &protocol));
        attributes.push(attribute(CTA_TUPLE_REPLY | NESTED, &tuple));
        let flags = FILTER_IP_SRC | FILTER_PROTO_NUM | FILTER_PROTO_SRC_PORT;
        filter.extend(attribute(CTA_FILTER_REPLY_FLAGS, &flags.to_ne_bytes()));
    }
    attributes.push(attribute(CTA_FILTER | NESTED, &filter));
    request(kind, is_ipv6, &attributes)
}

fn deletion(flow: &Flow) -> Request {
    let Tuple { source, source_port, destination, destination_port } = flow.original;
    let kind = CTA_IP_SRC[usize::from(source.is_ipv6())];
    let addresses = [attribute(kind, &octets(source)), attribute(kind + 1, &octets(destination))].concat();
    let protocol = [
        attribute(CTA_PROTO_NUM, &[IPPROTO_UDP]),
        attribute(CTA_PROTO_SRC_PORT, &source_port.to_be_bytes()),
        attribute(CTA_PROTO_DST_PORT, &destination_port.to_be_bytes()),
    ];
    let tuple = [attribute(CTA_TUPLE_IP | NESTED, &addresses), attribute(CTA_TUPLE_PROTO | NESTED, &protocol.concat())];
    let id = attribute(CTA_ID, &flow.id.to_ne_bytes());
    request(CT_DELETE, source.is_ipv6(), &[attribute(CTA_TUPLE_ORIG | NESTED, &tuple.concat()), id])
}

fn request(kind: u16, is_ipv6: bool, attributes: &[Vec<u8>]) -> Request {
    let mut payload = vec![FAMILY[usize::from(is_ipv6)], VERSION, 0, 0];
    payload.extend(attributes.concat());
    Request { kind, flags: 0, payload }
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

/// Header, value, padding. Everything here is short.
fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(HEADER + value.len()).unwrap_or(u16::MAX);
    let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// The flow that an answer describes, if it is UDP and not in a zone, which are none of our making.
fn flow(frame: &Frame) -> Option<Flow> {
    let (mut original, mut reply, mut id) = (None, None, 0);
    for (kind, value) in Attributes(frame.payload().get(HEADER..)?) {
        match kind {
            CTA_TUPLE_ORIG => original = Some(tuple(value)?),
            CTA_TUPLE_REPLY => reply = Some(tuple(value)?),
            // The kernel's number is in network order, and goes back as it came.
            CTA_ID => id = number(value),
            CTA_ZONE => return None,
            _ => {}
        }
    }
    Some(Flow { original: original?, reply: reply?, id })
}

fn tuple(attributes: &[u8]) -> Option<Tuple> {
    let (mut addresses, mut ports, mut protocol) = ((None, None), (None, None), 0);
    for (kind, nested) in Attributes(attributes) {
        for (member, value) in Attributes(nested) {
            match (kind, member) {
                (CTA_TUPLE_IP, 1 | 3) => addresses.0 = ip(value),
                (CTA_TUPLE_IP, 2 | 4) => addresses.1 = ip(value),
                (CTA_TUPLE_PROTO, CTA_PROTO_NUM) => protocol = *value.first()?,
                (CTA_TUPLE_PROTO, CTA_PROTO_SRC_PORT) => ports.0 = port(value),
                (CTA_TUPLE_PROTO, CTA_PROTO_DST_PORT) => ports.1 = port(value),
                _ => {}
            }
        }
    }
    (protocol == IPPROTO_UDP).then_some(())?;
    Some(Tuple { source: addresses.0?, source_port: ports.0?, destination: addresses.1?, destination_port: ports.1? })
}

fn port(value: &[u8]) -> Option<u16> {
    value.first_chunk().map(|bytes| u16::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests;
