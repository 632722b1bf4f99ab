//! Links on another link (macvlan, ipvlan, VLAN) and those on none (dummy): born inside the namespace where they are
//! wanted, under their final name.

use std::fmt;
use std::os::fd::{AsRawFd, BorrowedFd};

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::link::{
    InfoData, InfoIpVlan, InfoKind, InfoMacVlan, InfoVlan, IpVlanMode, LinkAttribute, LinkInfo, LinkMessage,
    MacVlanMode,
};

use crate::mac::Mac;
use crate::netlink::Request;
use crate::netlink::rtnl::{RTM_NEWLINK, request};

/// How the links on one parent deal with each other (`IFLA_MACVLAN_MODE`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Macvlan {
    /// They do not.
    Private,
    /// By a switch outside that sends frames back (802.1Qbg).
    Vepa,
    /// Directly.
    Bridge,
    /// There is one alone, which has the parent for itself.
    Passthru,
}

/// At which layer ipvlan links share their parent (`IFLA_IPVLAN_MODE`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ipvlan {
    /// Frames, by the address that they carry.
    L2,
    /// Packets, routed by the parent's namespace, past its netfilter.
    L3,
    /// Packets, routed by the parent's namespace, through its netfilter.
    L3s,
}

/// What a link is, as far as its kind and that kind's options go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `type macvlan`, with the length of the queue for broadcasts in packets, if not the kernel's default.
    Macvlan(Macvlan, Option<u32>),
    /// `type ipvlan`.
    Ipvlan(Ipvlan),
    /// `type vlan`, 802.1Q, with its id.
    Vlan(u16),
    /// `type dummy`.
    Dummy,
}

/// A link to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewChild {
    /// `ifname`.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// Bytes; none for the parent's, or the kernel's default.
    pub mtu: Option<u32>,
    /// The address that it is born with; none for the kernel's choice.
    pub mac: Option<Mac>,
}

impl NewChild {
    /// `ip link add link PARENT netns FD name NAME type KIND`, down; refused when the name is taken there. The index of
    /// the parent is that in the namespace of the socket; without `netns` the link is born there too.
    #[must_use]
    pub fn request(&self, parent: Option<u32>, netns: Option<BorrowedFd<'_>>) -> Request {
        let mut message = LinkMessage::default();
        let attributes = &mut message.attributes;
        attributes.push(LinkAttribute::IfName(self.name.clone()));
        attributes.extend(parent.map(LinkAttribute::Link));
        attributes.extend(netns.map(|fd| LinkAttribute::NetNsFd(fd.as_raw_fd())));
        attributes.extend(self.mtu.map(LinkAttribute::Mtu));
        attributes.extend(self.mac.map(|mac| LinkAttribute::Address(mac.bytes().to_vec())));
        let info = std::iter::once(LinkInfo::Kind(self.kind.info())).chain(self.kind.data().map(LinkInfo::Data));
        attributes.push(LinkAttribute::LinkInfo(info.collect()));
        request(RTM_NEWLINK, &message, NLM_F_CREATE | NLM_F_EXCL)
    }
}

impl Kind {
    /// The word of `ip -d link` for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Macvlan(..) => "macvlan",
            Self::Ipvlan(_) => "ipvlan",
            Self::Vlan(_) => "vlan",
            Self::Dummy => "dummy",
        }
    }

    fn info(self) -> InfoKind {
        match self {
            Self::Macvlan(..) => InfoKind::MacVlan,
            Self::Ipvlan(_) => InfoKind::IpVlan,
            Self::Vlan(_) => InfoKind::Vlan,
            Self::Dummy => InfoKind::Dummy,
        }
    }

    /// A link of this kind with an address that none can have, which no kernel makes: one that knows the kind refuses it for
    /// that or for the options that it lacks, any other because it does not know the kind (`EOPNOTSUPP`). Asking loads the
    /// module, as making one would.
    #[must_use]
    pub fn probe(self) -> Request {
        let mut message = LinkMessage::default();
        message.attributes.push(LinkAttribute::Address(vec![0; 6]));
        message.attributes.push(LinkAttribute::LinkInfo(vec![LinkInfo::Kind(self.info())]));
        request(RTM_NEWLINK, &message, NLM_F_CREATE | NLM_F_EXCL)
    }

    fn data(self) -> Option<InfoData> {
        Some(match self {
            Self::Macvlan(mode, queue) => {
                let mode = match mode {
                    Macvlan::Private => MacVlanMode::Private,
                    Macvlan::Vepa => MacVlanMode::Vepa,
                    Macvlan::Bridge => MacVlanMode::Bridge,
                    Macvlan::Passthru => MacVlanMode::Passthrough,
                };
                let queue = queue.map(InfoMacVlan::BcQueueLen);
                InfoData::MacVlan(std::iter::once(InfoMacVlan::Mode(mode)).chain(queue).collect())
            }
            Self::Ipvlan(mode) => InfoData::IpVlan(vec![InfoIpVlan::Mode(match mode {
                Ipvlan::L2 => IpVlanMode::L2,
                Ipvlan::L3 => IpVlanMode::L3,
                Ipvlan::L3s => IpVlanMode::L3S,
            })]),
            Self::Vlan(id) => InfoData::Vlan(vec![InfoVlan::Id(id)]),
            Self::Dummy => return None,
        })
    }

    /// Whether a link that is there is of this kind with these options, lengths of queues left out.
    #[must_use]
    pub fn is_same(self, found: Self) -> bool {
        match (self, found) {
            (Self::Macvlan(one, _), Self::Macvlan(other, _)) => one == other,
            _ => self == found,
        }
    }
}

impl fmt::Display for Macvlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Private => "private",
            Self::Vepa => "vepa",
            Self::Bridge => "bridge",
            Self::Passthru => "passthru",
        })
    }
}

impl fmt::Display for Ipvlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::L2 => "l2",
            Self::L3 => "l3",
            Self::L3s => "l3s",
        })
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.as_str())?;
        match self {
            Self::Macvlan(mode, queue) => {
                write!(f, " mode {mode}")?;
                queue.map_or(Ok(()), |packets| write!(f, " bcqueuelen {packets}"))
            }
            Self::Ipvlan(mode) => write!(f, " mode {mode}"),
            Self::Vlan(id) => write!(f, " id {id}"),
            Self::Dummy => Ok(()),
        }
    }
}
