//! Connections that the kernel tracks (`conntrack -L`), as far as they are UDP.
//!
//! Where a flow goes is decided with its first packet and remembered as long as packets keep coming. For UDP that can be
//! for ever, so a flow outlives the rule that sent it on its way, and meets neither a newer one nor its absence. Who
//! changes where a port leads has to make the kernel forget the flows that are on their old way.
//!
//! The questions carry a filter (`CTA_FILTER`, Linux 5.8), so that only what may matter is answered. Older kernels ignore
//! it and list everything, so answers are looked at as if there were none. Which flows are to go is the caller's
//! decision: the kernel can delete by a filter too, but none says "to one of this host's addresses". Each flow that goes
//! is named by its tuple and its id, so that none goes which took its place in between.
//!
//! A question costs the same whatever the answer: the kernel has one table for all namespaces, and locks each of its
//! buckets, full or empty. With 262,144 of them, as it makes for a few gigabytes of memory, that takes 12 ms. How many
//! connections a namespace has is counted, so where there are none nothing is asked.

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
const FILTER_PROTO_NUM: u32 = 1 << 3;
const FILTER_PROTO_DST_PORT: u32 = 1 << 5;

/// One direction of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tuple {
    /// From which address.
    pub source: IpAddr,
    /// From which port.
    pub source_port: u16,
    /// To which address.
    pub destination: IpAddr,
    /// To which port.
    pub destination_port: u16,
}

/// A flow of UDP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    /// Its packets as they come in from whoever began it.
    pub original: Tuple,
    /// The answers as they come in: from where the flow really leads.
    pub reply: Tuple,
    id: u32,
}

impl Flow {
    /// Whether it leads elsewhere than it was sent.
    #[must_use]
    pub fn is_redirected(&self) -> bool {
        let Self { original, reply, .. } = self;
        (original.destination, original.destination_port) != (reply.source, reply.source_port)
    }
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

    /// The flows of one family whose first packet was sent to one of `ports`.
    ///
    /// # Errors
    ///
    /// The kernel's refusal.
    pub fn udp_to(&mut self, ports: &[u16], is_ipv6: bool) -> Result<Vec<Flow>, Error> {
        let single = match ports {
            [] => return Ok(Vec::new()),
            [single] => Some(*single),
            _ => None,
        };
        if self.count()? == Some(0) {
            return Ok(Vec::new());
        }
        let frames = self.socket.dump(&list(single, is_ipv6))?;
        let flows = frames.iter().filter_map(flow);
        Ok(flows.filter(|flow| ports.contains(&flow.original.destination_port)).collect())
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

    /// Forgets flows, as far as they still are there.
    ///
    /// # Errors
    ///
    /// The first refusal; the others were tried.
    pub fn delete(&mut self, flows: &[Flow]) -> Result<(), Error> {
        let requests: Vec<Request> = flows.iter().map(deletion).collect();
        for outcome in self.socket.exchange(&requests)? {
            match outcome {
                Err(refusal) if refusal.errno != Errno::ENOENT => return Err(refusal.into()),
                _ => {}
            }
        }
        Ok(())
    }
}

/// A question for all flows of UDP, or those to one port.
fn list(port: Option<u16>, is_ipv6: bool) -> Request {
    let mut protocol = attribute(CTA_PROTO_NUM, &[IPPROTO_UDP]);
    let mut flags = FILTER_PROTO_NUM;
    if let Some(port) = port {
        protocol.extend(attribute(CTA_PROTO_DST_PORT, &port.to_be_bytes()));
        flags |= FILTER_PROTO_DST_PORT;
    }
    let tuple = attribute(CTA_TUPLE_PROTO | NESTED, &protocol);
    let filter = attribute(CTA_FILTER_ORIG_FLAGS, &flags.to_ne_bytes());
    request(CT_GET, is_ipv6, &[attribute(CTA_TUPLE_ORIG | NESTED, &tuple), attribute(CTA_FILTER | NESTED, &filter)])
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
    let mut payload = vec![FAMILY[usize::from(is_ipv6)], 0, 0, 0];
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
mod tests {
    use std::process::Command;

    use super::*;
    use crate::nft::Nft;
    use crate::sandbox::alone;

    fn conntrack(words: &str) -> String {
        let output = Command::new("conntrack").args(words.split_whitespace()).output().expect("conntrack is installed");
        assert!(output.status.success(), "{words}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Makes a flow from `source` to `destination` that really leads to `target`.
    fn track(protocol: &str, source: &str, destination: (&str, u16), target: (&str, u16)) {
        let (to, port) = destination;
        let (from, real) = target;
        let extra = if protocol == "tcp" { "--state ESTABLISHED" } else { "" };
        conntrack(&format!(
            "-I -p {protocol} -t 600 -s {source} -d {to} --sport 40000 --dport {port} \
             --reply-src {from} --reply-dst {source} --reply-port-src {real} --reply-port-dst 40000 {extra}"
        ));
    }

    fn shown(flows: &[Flow]) -> Vec<String> {
        let mut shown: Vec<String> = flows
            .iter()
            .map(|Flow { original: o, reply: r, .. }| {
                format!("{} {}:{} {}:{}", o.source, o.destination, o.destination_port, r.source, r.source_port)
            })
            .collect();
        shown.sort();
        shown
    }

    fn everything() {
        track("udp", "192.0.2.9", ("192.0.2.1", 53), ("10.77.0.2", 5353));
        track("udp", "192.0.2.8", ("192.0.2.1", 53), ("192.0.2.1", 53));
        track("udp", "192.0.2.9", ("192.0.2.1", 54), ("10.77.0.3", 54));
        track("udp", "192.0.2.9", ("192.0.2.1", 55), ("10.77.0.3", 55));
        track("tcp", "192.0.2.9", ("192.0.2.1", 53), ("10.77.0.2", 5353));
        track("udp", "2001:db8::9", ("2001:db8::1", 53), ("fd00::2", 53));
    }

    #[test]
    fn flows_are_found_by_port_and_family() {
        alone(|| {
            everything();
            let mut nft = Nft::open().unwrap();
            let mut found = |ports: &[u16], is_ipv6| shown(&nft.conntrack().udp_to(ports, is_ipv6).unwrap());
            assert_eq!(found(&[], false), [""; 0]);
            assert_eq!(found(&[56], false), [""; 0]);
            let to_53 = ["192.0.2.8 192.0.2.1:53 192.0.2.1:53", "192.0.2.9 192.0.2.1:53 10.77.0.2:5353"];
            assert_eq!(found(&[53], false), to_53);
            let to_both = [to_53[0], to_53[1], "192.0.2.9 192.0.2.1:54 10.77.0.3:54"];
            assert_eq!(found(&[53, 54], false), to_both);
            assert_eq!(found(&[53], true), ["2001:db8::9 2001:db8::1:53 fd00::2:53"]);
        });
    }

    #[test]
    fn the_connections_of_this_namespace_are_counted() {
        alone(|| {
            let mut nft = Nft::open().unwrap();
            assert_eq!(nft.conntrack().count().unwrap(), Some(0));
            everything();
            assert_eq!(nft.conntrack().count().unwrap(), Some(6));
        });
    }

    /// The kernel filters, so that a busy host does not list all that it knows.
    #[test]
    fn only_what_was_asked_for_is_answered() {
        alone(|| {
            everything();
            let mut nft = Nft::open().unwrap();
            let frames = nft.conntrack().socket.dump(&list(Some(53), false)).unwrap();
            assert_eq!(frames.len(), 2);
            let frames = nft.conntrack().socket.dump(&list(None, false)).unwrap();
            assert_eq!(frames.len(), 4);
        });
    }

    #[test]
    fn the_named_flows_go_and_no_others() {
        alone(|| {
            everything();
            let mut nft = Nft::open().unwrap();
            for is_ipv6 in [false, true] {
                let flows = nft.conntrack().udp_to(&[53], is_ipv6).unwrap();
                let redirected: Vec<Flow> = flows.into_iter().filter(Flow::is_redirected).collect();
                assert_eq!(redirected.len(), 1);
                nft.conntrack().delete(&redirected).unwrap();
                // Gone already.
                nft.conntrack().delete(&redirected).unwrap();
            }
            let left = conntrack("-L -f ipv4 -o id");
            assert_eq!(left.lines().count(), 4, "{left}");
            assert!(left.contains("tcp") && left.contains("src=192.0.2.8"), "{left}");
            assert_eq!(conntrack("-L -f ipv6"), "");
        });
    }

    /// Another flow of the same tuple came in between.
    #[test]
    fn a_successor_stays() {
        alone(|| {
            track("udp", "192.0.2.9", ("192.0.2.1", 53), ("10.77.0.2", 53));
            let mut nft = Nft::open().unwrap();
            let old = nft.conntrack().udp_to(&[53], false).unwrap();
            conntrack("-F");
            track("udp", "192.0.2.9", ("192.0.2.1", 53), ("10.77.0.3", 53));
            nft.conntrack().delete(&old).unwrap();
            let left = shown(&nft.conntrack().udp_to(&[53], false).unwrap());
            assert_eq!(left, ["192.0.2.9 192.0.2.1:53 10.77.0.3:53"]);
        });
    }
}
