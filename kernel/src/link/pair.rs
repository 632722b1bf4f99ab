//! Pairs: two links, each the other's far end, in two namespaces.

use std::fmt;
use std::os::fd::{AsRawFd, BorrowedFd};

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::link::{
    InfoData, InfoKind, InfoNetkit, InfoVeth, LinkAttribute, LinkInfo, LinkMessage, NetkitMode,
};
use rtnetlink::{LinkMessageBuilder, LinkUnspec, LinkVeth};

use crate::mac::Mac;
use crate::netlink::Request;
use crate::netlink::rtnl::{RTM_NEWLINK, request};

/// What a pair is made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pair {
    /// `type veth`.
    #[default]
    Veth,
    /// `type netkit mode l2`: programs of the kernel run where packets enter the far end, and without any they pass at
    /// less cost (`drivers/net/netkit.c`, since Linux 6.7).
    Netkit,
}

impl Pair {
    /// The word of `ip -d link` for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Veth => "veth",
            Self::Netkit => "netkit",
        }
    }

    /// A pair of this kind with an address that none can have, which no kernel makes: see [`Kind::probe`](super::Kind::probe).
    #[must_use]
    pub fn probe(self) -> Request {
        let mut message = LinkMessage::default();
        message.attributes.push(LinkAttribute::Address(vec![0; 6]));
        message.attributes.push(LinkAttribute::LinkInfo(vec![LinkInfo::Kind(self.info())]));
        request(RTM_NEWLINK, &message, NLM_F_CREATE | NLM_F_EXCL)
    }

    fn info(self) -> InfoKind {
        match self {
            Self::Veth => InfoKind::Veth,
            Self::Netkit => InfoKind::Netkit,
        }
    }
}

impl fmt::Display for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Veth => "veth",
            Self::Netkit => "netkit mode l2",
        })
    }
}

/// One end of a pair to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEnd {
    /// `ifname`.
    pub name: String,
    /// The address that it is born with.
    pub mac: Mac,
    /// Bytes; none for the kernel's default.
    pub mtu: Option<u32>,
}

/// `ip link add NEAR type veth peer FAR netns FD`: both ends with names, addresses and MTU, the far one born inside the
/// namespace `far_netns`. With a `master` the near one is its port and up at once; without it stays down, because what is
/// routed has parameters that must be set before.
///
/// One message does what takes five otherwise, and saves the move of a link between namespaces, which waits for an RCU
/// grace period. The far end can't be up already: `veth_open` wants a peer, which it does not have yet (`ENOTCONN`).
#[must_use]
pub fn new_veth(near: &NewEnd, master: Option<u32>, far: &NewEnd, far_netns: BorrowedFd<'_>) -> Request {
    new_pair(Pair::Veth, near, master, far, far_netns)
}

/// As [`new_veth`], of any kind.
#[must_use]
pub fn new_pair(kind: Pair, near: &NewEnd, master: Option<u32>, far: &NewEnd, far_netns: BorrowedFd<'_>) -> Request {
    let mut peer =
        LinkUnspec::new_with_name(&far.name).address(far.mac.bytes().to_vec()).setns_by_fd(far_netns.as_raw_fd());
    // A transmit queue of zero packets on the host's end is what users of the Go suite see there.
    let mut pair = LinkMessageBuilder::<LinkVeth>::new_with_info_kind(kind.info())
        .name(near.name.clone())
        .address(near.mac.bytes().to_vec())
        .txqueuelen(0);
    if let Some(mtu) = near.mtu {
        pair = pair.mtu(mtu);
    }
    if let Some(mtu) = far.mtu {
        peer = peer.mtu(mtu);
    }
    if let Some(index) = master {
        pair = pair.controller(index).up();
    }
    let peer = peer.build();
    let pair = pair.set_info_data(match kind {
        Pair::Veth => InfoData::Veth(InfoVeth::Peer(peer)),
        Pair::Netkit => InfoData::Netkit(vec![InfoNetkit::Mode(NetkitMode::L2), InfoNetkit::Peer(peer)]),
    });
    request(RTM_NEWLINK, &pair.build(), NLM_F_CREATE | NLM_F_EXCL)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;
    use crate::netlink::attribute::Attributes;

    /// The attributes of `kind` in attributes.
    fn find(attributes: &[u8], wanted: u16) -> &[u8] {
        Attributes(attributes).find(|(kind, _)| *kind == wanted).map(|(_, value)| value).unwrap()
    }

    /// `struct ifinfomsg`, then `IFLA_LINKINFO` with `IFLA_INFO_KIND` and in `IFLA_INFO_DATA` the options of the kind
    /// (`include/uapi/linux/if_link.h`): of netkit `IFLA_NETKIT_MODE`, zero for L2, and `IFLA_NETKIT_PEER_INFO`.
    #[test]
    fn a_netkit_pair_says_what_the_kernel_reads() {
        const HEADER: usize = 16;
        const IFLA_ADDRESS: u16 = 1;
        const IFLA_IFNAME: u16 = 3;
        const IFLA_LINKINFO: u16 = 18;
        let end = |name: &str, last| NewEnd { name: name.into(), mac: Mac::new([2, 0, 0, 0, 0, last]), mtu: None };
        let netns = std::fs::File::open("/proc/self/ns/net").unwrap();
        let payload = new_pair(Pair::Netkit, &end("near", 1), None, &end("far", 2), netns.as_fd()).payload;
        let info = find(&payload[HEADER..], IFLA_LINKINFO);
        assert_eq!(find(info, 1), b"netkit\0");
        let options = find(info, 2);
        assert_eq!(find(options, 5), 0u32.to_ne_bytes());
        let peer = &find(options, 1)[HEADER..];
        assert_eq!((find(peer, IFLA_IFNAME), find(peer, IFLA_ADDRESS)), (&b"far\0"[..], &[2, 0, 0, 0, 0, 2][..]));
    }
}
