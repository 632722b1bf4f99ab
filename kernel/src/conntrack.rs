//! Connections that the kernel tracks (`conntrack -L`), as far as they have ports.
//!
//! Where a flow goes is decided with its first packet and remembered: for UDP as long as packets keep coming, which can be
//! for ever, for TCP up to five days after the last. So a flow outlives the rule that sent it on its way, and meets neither
//! a newer one nor its absence. Who changes where a port leads has to make the kernel forget the flows that are on their
//! old way.
//!
//! Since Linux 6.11 the kernel deletes by a pattern (`CTA_FILTER`), which takes it a tenth of a millisecond. Older ones
//! refuse that, and are asked for a list (filtered since 5.8, which even older ones ignore) from which flows are named one
//! by one, by tuple and id, so that one which took its place in between stays. A list costs some ten milliseconds even
//! when it is empty: the kernel has one table for all namespaces, and locks each of its buckets on the way (262,144, as it
//! makes for a few gigabytes of memory). How many connections a namespace has is counted, so where there are none nothing
//! is listed.
//!
//! Some always go by lists, because of how the kernel compares with a pattern (`ctnetlink_filter_match_tuple`). Of IPv6 it
//! compares addresses the wrong way round (`!ipv6_addr_cmp`), so a pattern would spare its own flows and hit those of
//! others. Of SCTP it does not compare ports, so a pattern would hit those of all ports.

use std::net::IpAddr;

use nix::errno::Errno;

use crate::netlink::attribute::{Attributes, attribute, ip, number, put};
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
const IPPROTO_TCP: u8 = 6;
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

/// Which flows: those of one family and protocol to a port, and more exactly where more is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pattern {
    /// IPv6, not IPv4.
    pub is_ipv6: bool,
    /// Its number in IP packets; one that has ports.
    pub protocol: u8,
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
            && self.protocol == original.protocol
            && self.port == original.destination_port
            && self.address.is_none_or(|address| address == original.destination)
            && self.target.is_none_or(|target| target == (reply.source, reply.source_port))
    }

    /// Whether the kernel compares flows with it as it should.
    fn is_understood(&self) -> bool {
        !self.is_ipv6 && matches!(self.protocol, IPPROTO_TCP | IPPROTO_UDP)
    }
}

/// One direction of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Tuple {
    protocol: u8,
    source: IpAddr,
    source_port: u16,
    destination: IpAddr,
    destination_port: u16,
}

/// A flow: its packets as they come in from whoever began it, and the answers as they come in.
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

    /// Forgets the flows that any of `patterns` describes.
    ///
    /// # Errors
    ///
    /// The first refusal; as much as possible was done then.
    pub fn forget(&mut self, patterns: &[Pattern]) -> Result<(), Error> {
        let (by_pattern, mut listed): (Vec<Pattern>, Vec<Pattern>) =
            patterns.iter().partition(|pattern| pattern.is_understood());
        if by_pattern.len() > FEW || !self.delete(&by_pattern)? {
            listed.extend(by_pattern);
        }
        let (v6, v4): (Vec<Pattern>, Vec<Pattern>) = listed.iter().partition(|pattern| pattern.is_ipv6);
        self.forget_listed(&v4)?;
        self.forget_listed(&v6)
    }

    /// The same by patterns alone. Says whether the kernel can.
    fn delete(&mut self, patterns: &[Pattern]) -> Result<bool, Error> {
        let deletions: Vec<Request> = patterns.iter().map(deletion_of_all).collect();
        for outcome in self.socket.exchange(&deletions)? {
            match outcome {
                // A kernel that deletes by name only misses the rest of a name.
                Err(refusal) if matches!(refusal.errno, Errno::EOPNOTSUPP | Errno::EINVAL) => return Ok(false),
                Err(refusal) => return Err(refusal.into()),
                Ok(_) => {}
            }
        }
        Ok(true)
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
        let frames = self.socket.dump(&list(first.is_ipv6, patterns))?;
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

/// `conntrack -L` of a family: all flows that one of the patterns may describe, and no more than are told apart easily.
fn list(is_ipv6: bool, patterns: &[Pattern]) -> Request {
    let Some(protocol) = common(patterns, |pattern| pattern.protocol) else { return request(CT_GET, is_ipv6, &[]) };
    let port = common(patterns, |pattern| pattern.port);
    filtered(CT_GET, is_ipv6, &DESTINATION.partial(protocol, None, port), None)
}

fn common<T: PartialEq>(patterns: &[Pattern], value: impl Fn(&Pattern) -> T) -> Option<T> {
    let (first, others) = patterns.split_first()?;
    let first = value(first);
    others.iter().all(|other| value(other) == first).then_some(first)
}

/// `conntrack -D` of all flows of a pattern that is [understood](Pattern::is_understood).
fn deletion_of_all(pattern: &Pattern) -> Request {
    let Pattern { is_ipv6, protocol, port, address, target } = *pattern;
    let original = DESTINATION.partial(protocol, address, Some(port));
    let reply = target.map(|(address, port)| SOURCE.partial(protocol, Some(address), Some(port)));
    filtered(CT_DELETE, is_ipv6, &original, reply.as_ref())
}

/// One end of a direction: what its attributes and flags are called.
struct End {
    /// How far its `enum ctattr_ip` is above that of the source.
    above_source: u16,
    port: u16,
    ip_flag: u32,
    port_flag: u32,
}

const SOURCE: End =
    End { above_source: 0, port: CTA_PROTO_SRC_PORT, ip_flag: FILTER_IP_SRC, port_flag: FILTER_PROTO_SRC_PORT };
const DESTINATION: End =
    End { above_source: 1, port: CTA_PROTO_DST_PORT, ip_flag: FILTER_IP_DST, port_flag: FILTER_PROTO_DST_PORT };

impl End {
    /// A tuple of which only this is said, and the flags that say so.
    fn partial(&self, protocol: u8, address: Option<IpAddr>, port: Option<u16>) -> (Vec<u8>, u32) {
        let (mut tuple, mut flags) = (Vec::new(), FILTER_PROTO_NUM);
        if let Some(address) = address {
            flags |= self.ip_flag;
            let kind = CTA_IP_SRC[usize::from(address.is_ipv6())] + self.above_source;
            put(&mut tuple, CTA_TUPLE_IP | NESTED, &attribute(kind, &octets(address)));
        }
        let mut layer4 = attribute(CTA_PROTO_NUM, &[protocol]);
        if let Some(port) = port {
            flags |= self.port_flag;
            put(&mut layer4, self.port, &port.to_be_bytes());
        }
        put(&mut tuple, CTA_TUPLE_PROTO | NESTED, &layer4);
        (tuple, flags)
    }
}

/// A request about the flows of which both directions are like these tuples.
fn filtered(kind: u16, is_ipv6: bool, original: &(Vec<u8>, u32), reply: Option<&(Vec<u8>, u32)>) -> Request {
    let mut attributes = attribute(CTA_TUPLE_ORIG | NESTED, &original.0);
    let mut filter = attribute(CTA_FILTER_ORIG_FLAGS, &original.1.to_ne_bytes());
    if let Some((tuple, flags)) = reply {
        put(&mut attributes, CTA_TUPLE_REPLY | NESTED, tuple);
        put(&mut filter, CTA_FILTER_REPLY_FLAGS, &flags.to_ne_bytes());
    }
    put(&mut attributes, CTA_FILTER | NESTED, &filter);
    request(kind, is_ipv6, &attributes)
}

/// `conntrack -D` of one flow.
fn deletion(flow: &Flow) -> Request {
    let Tuple { protocol, source, source_port, destination, destination_port } = flow.original;
    let kind = CTA_IP_SRC[usize::from(source.is_ipv6())];
    let mut addresses = attribute(kind, &octets(source));
    put(&mut addresses, kind + 1, &octets(destination));
    let mut layer4 = attribute(CTA_PROTO_NUM, &[protocol]);
    put(&mut layer4, CTA_PROTO_SRC_PORT, &source_port.to_be_bytes());
    put(&mut layer4, CTA_PROTO_DST_PORT, &destination_port.to_be_bytes());
    let mut tuple = attribute(CTA_TUPLE_IP | NESTED, &addresses);
    put(&mut tuple, CTA_TUPLE_PROTO | NESTED, &layer4);
    let mut attributes = attribute(CTA_TUPLE_ORIG | NESTED, &tuple);
    put(&mut attributes, CTA_ID, &flow.id.to_ne_bytes());
    request(CT_DELETE, source.is_ipv6(), &attributes)
}

fn request(kind: u16, is_ipv6: bool, attributes: &[u8]) -> Request {
    let mut payload = vec![FAMILY[usize::from(is_ipv6)], VERSION, 0, 0];
    payload.extend(attributes);
    Request { kind, flags: 0, payload }
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

/// The flow that an answer describes, if it has ports and is not in a zone, which are none of our making.
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
    let (source, destination, source_port, destination_port) = (addresses.0?, addresses.1?, ports.0?, ports.1?);
    Some(Tuple { protocol, source, source_port, destination, destination_port })
}

fn port(value: &[u8]) -> Option<u16> {
    value.first_chunk().map(|bytes| u16::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests;
