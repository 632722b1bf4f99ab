//! Addresses of links (`ip address`).

mod verbatim;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnetwork::IpNetwork;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage};
use rtnetlink::AddressMessageBuilder;

use crate::link::family;
use crate::netlink::attribute::{Attributes, ip, number};
use crate::netlink::rtnl::{RTM_DELADDR, RTM_GETADDR, RTM_NEWADDR, request};
use crate::netlink::{Error, Frame, Request};

pub use verbatim::Verbatim;

/// `sizeof(struct ifaddrmsg)`.
const HEADER: usize = 8;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_FLAGS: u16 = 8;
const IFA_F_DADFAILED: u32 = 0x08;
const IFA_F_TENTATIVE: u32 = 0x40;
const IFA_F_PERMANENT: u32 = 0x80;

/// An address as the kernel describes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// Index of the link that has it.
    pub link: u32,
    /// Address and prefix length.
    pub network: IpNetwork,
    /// Duplicate address detection is still under way.
    pub tentative: bool,
    /// Duplicate address detection found another owner.
    pub dad_failed: bool,
    /// It does not expire, as one by DHCP or router advertisement does.
    pub permanent: bool,
}

impl Address {
    /// Out of `struct ifaddrmsg` and `IFA_*` (`include/uapi/linux/if_addr.h`).
    fn parse(frame: &Frame) -> Result<Self, Error> {
        let malformed = |what: &str| Error::Malformed(format!("a message of type {} {what}", frame.message_type()));
        let (Some((header, attributes)), RTM_NEWADDR) =
            (frame.payload().split_first_chunk::<HEADER>(), frame.message_type())
        else {
            return Err(malformed("instead of an address"));
        };
        let mut flags = u32::from(header[2]);
        let (mut address, mut local) = (None, None);
        for (kind, value) in Attributes(attributes) {
            match kind {
                // With a peer, IFA_ADDRESS is the peer's and IFA_LOCAL ours.
                IFA_ADDRESS => address = ip(value),
                IFA_LOCAL => local = ip(value),
                IFA_FLAGS => flags = number(value),
                _ => {}
            }
        }
        let network = local.or(address).and_then(|ip| IpNetwork::new(ip, header[1]).ok());
        Ok(Self {
            link: number(&header[4..]),
            network: network.ok_or_else(|| malformed("without an address"))?,
            tentative: flags & IFA_F_TENTATIVE != 0,
            dad_failed: flags & IFA_F_DADFAILED != 0,
            permanent: flags & IFA_F_PERMANENT != 0,
        })
    }

    /// The addresses that answer a request.
    ///
    /// # Errors
    ///
    /// When an answer is not an address.
    pub fn from_frames(frames: &[Frame]) -> Result<Vec<Self>, Error> {
        frames.iter().map(Self::parse).collect()
    }

    /// Whether the address can be reached from other networks: neither loopback, link-local, multicast nor unspecified.
    #[must_use]
    pub fn is_global_unicast(&self) -> bool {
        match self.network.ip() {
            IpAddr::V4(ip) => {
                !(ip.is_loopback()
                    || ip.is_link_local()
                    || ip.is_multicast()
                    || ip.is_unspecified()
                    || ip.is_broadcast())
            }
            IpAddr::V6(ip) => {
                !(ip.is_loopback() || ip.is_unicast_link_local() || ip.is_multicast() || ip.is_unspecified())
            }
        }
    }
}

/// `ip address add ADDRESS dev INDEX [nodad]`; IPv4 with the broadcast address of its network.
#[must_use]
pub fn add(link: u32, address: IpNetwork, nodad: bool) -> Request {
    let mut message = message(link, address);
    if nodad && address.is_ipv6() {
        message.attributes.push(AddressAttribute::Flags(AddressFlags::Nodad));
    }
    request(RTM_NEWADDR, &message, NLM_F_CREATE | NLM_F_EXCL)
}

/// As [`add`], but without the route to the address's network that the kernel makes along with it: `noprefixroute`.
#[must_use]
pub fn add_without_route(link: u32, address: IpNetwork, nodad: bool) -> Request {
    let mut message = message(link, address);
    let nodad = if nodad && address.is_ipv6() { AddressFlags::Nodad } else { AddressFlags::empty() };
    message.attributes.push(AddressAttribute::Flags(AddressFlags::Noprefixroute | nodad));
    request(RTM_NEWADDR, &message, NLM_F_CREATE | NLM_F_EXCL)
}

/// `ip address del ADDRESS dev INDEX`.
#[must_use]
pub fn del(link: u32, address: IpNetwork) -> Request {
    request(RTM_DELADDR, &message(link, address), 0)
}

/// `ip -4|-6 address show dev INDEX`, filtered by the kernel; to be dumped.
#[must_use]
pub fn list(link: u32, is_ipv6: bool) -> Request {
    let mut message = AddressMessage::default();
    message.header.family = family(is_ipv6);
    message.header.index = link;
    request(RTM_GETADDR, &message, 0)
}

fn message(link: u32, address: IpNetwork) -> AddressMessage {
    match address {
        IpNetwork::V4(v4) => AddressMessageBuilder::<Ipv4Addr>::new().index(link).address(v4.ip(), v4.prefix()).build(),
        IpNetwork::V6(v6) => AddressMessageBuilder::<Ipv6Addr>::new().index(link).address(v6.ip(), v6.prefix()).build(),
    }
}
