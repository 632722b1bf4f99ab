//! Intermediate functional blocks: links that send on what is redirected to them, so that it can be queued
//! (`drivers/net/ifb.c`).

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::link::{InfoKind, LinkAttribute, LinkInfo, LinkMessage};
use rtnetlink::LinkUnspec;

use crate::mac::Mac;
use crate::netlink::Request;
use crate::netlink::rtnl::{RTM_NEWLINK, RTM_SETLINK, request};

/// An intermediate functional block to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewIfb {
    /// `ifname`.
    pub name: String,
    /// Set at creation: it can be told by it at once, and nobody (udev) gives it another later.
    pub mac: Mac,
    /// Bytes.
    pub mtu: u32,
}

impl NewIfb {
    /// `ip link add NAME address MAC mtu MTU txqueuelen 0 type ifb`, down; refused when the name is taken. It has one
    /// queue each way, which is the kernel's default.
    #[must_use]
    pub fn request(&self) -> Request {
        let mut message = LinkMessage::default();
        message.attributes = vec![
            LinkAttribute::IfName(self.name.clone()),
            LinkAttribute::Address(self.mac.bytes().to_vec()),
            LinkAttribute::Mtu(self.mtu),
            LinkAttribute::TxQueueLen(0),
            LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Ifb)]),
        ];
        request(RTM_NEWLINK, &message, NLM_F_CREATE | NLM_F_EXCL)
    }

    /// `ip link set NAME mtu MTU`, for one that is there.
    #[must_use]
    pub fn resize(&self) -> Request {
        request(RTM_SETLINK, &LinkUnspec::new_with_name(&self.name).mtu(self.mtu).build(), 0)
    }
}

/// `ip link show type ifb`; to be dumped.
#[must_use]
pub fn list_ifbs() -> Request {
    super::list("ifb")
}
