//! Links: what they are (`ip -d link`), and the requests that make, change, find and remove them.

mod child;
mod ifb;
mod pair;
mod parse;
mod settings;
mod vrf;

use std::os::fd::{AsRawFd, BorrowedFd};

use netlink_packet_core::{DefaultNla, NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::AddressFamily;
use netlink_packet_route::link::LinkAttribute;
use rtnetlink::{LinkBridge, LinkBridgePort, LinkMessageBuilder, LinkUnspec};

use crate::mac::Mac;
use crate::netlink::attribute::put;
use crate::netlink::rtnl::{RTM_DELLINK, RTM_GETLINK, RTM_NEWLINK, RTM_SETLINK, request};
use crate::netlink::{Error, Frame, Request};

pub use child::{Ipvlan, Kind, Macvlan, NewChild};
pub use ifb::{NewIfb, list_ifbs};
pub use pair::{NewEnd, Pair, new_pair, new_veth};
pub use settings::Settings;
pub use vrf::{NewVrf, list_ports, probe_vrf, set_master};

const IFLA_IFNAME: u16 = 3;
const IFLA_LINKINFO: u16 = 18;
const IFLA_EXT_MASK: u16 = 29;
const IFLA_INFO_KIND: u16 = 1;
/// `include/uapi/linux/rtnetlink.h`.
const RTEXT_FILTER_SKIP_STATS: u32 = 8;

/// A link as the kernel describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// `ifindex`.
    pub index: u32,
    /// `ifname`.
    pub name: String,
    /// What `ip -d link` calls it: `bridge`, `veth`, ...; none for physical devices and `lo`.
    pub kind: Option<String>,
    /// The Ethernet address, where the link has one.
    pub mac: Option<Mac>,
    /// Bytes.
    pub mtu: u32,
    /// Administratively up (`IFF_UP`).
    pub up: bool,
    /// Promiscuous by request of a user (`IFF_PROMISC`).
    pub promiscuous: bool,
    /// How many want it promiscuous: the user, every packet capture, every bridge that it is a port of.
    pub promiscuity: u32,
    /// Takes all multicast by request of a user (`IFF_ALLMULTI`).
    pub all_multicast: bool,
    /// The length of the transmit queue in packets.
    pub queue_length: u32,
    /// Operational state is up (`IF_OPER_UP`).
    pub running: bool,
    /// Up, and operational state up or unknown (`IFF_RUNNING`): some drivers never tell.
    pub usable: bool,
    /// There is somebody at the other end (`IFF_LOWER_UP`).
    pub carrier: bool,
    /// Index of the bridge or VRF that it is a port of.
    pub master: Option<u32>,
    /// `IFLA_LINK`: the other end of a veth, in that end's own namespace.
    pub peer: Option<u32>,
    /// The number by which this namespace knows that of the other end; none if that is this one, or nobody says.
    pub peer_namespace: Option<u32>,
    /// `ifalias`: where owned links carry their owner.
    pub alias: Option<String>,
    /// For a macvlan, ipvlan, VLAN or dummy: that with its options.
    pub child: Option<Kind>,
    /// For a bridge: whether it filters VLANs.
    pub vlan_filtering: Option<bool>,
    /// For a bridge: the VLAN that every new port belongs to; 0 for none.
    pub default_pvid: Option<u16>,
    /// For a VRF: the routing table of its ports.
    pub vrf_table: Option<u32>,
    /// For a bridge port: its flags.
    pub port: Option<Port>,
    /// For a bridge port: whether frames pass (`BR_STATE_FORWARDING`); not as long as the bridge is down, or still learns.
    pub forwarding: Option<bool>,
}

/// The flags of a bridge port that plugins set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Port {
    /// Frames may leave by the port through which they came.
    pub hairpin: bool,
    /// Frames go to and come from non-isolated ports only.
    pub isolated: bool,
}

impl Link {
    /// The links that answer a request.
    ///
    /// # Errors
    ///
    /// When an answer is not a link.
    pub fn from_frames(frames: &[Frame]) -> Result<Vec<Self>, Error> {
        frames.iter().map(parse::link).collect()
    }

    /// Whether it is of `kind`, in `ip -d link`'s word.
    #[must_use]
    pub fn is(&self, kind: &str) -> bool {
        self.kind.as_deref() == Some(kind)
    }
}

/// A bridge to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewBridge {
    /// `ifname`.
    pub name: String,
    /// Set at creation, so that it does not follow the lowest address of its ports.
    pub mac: Mac,
    /// Bytes; none for the kernel's default.
    pub mtu: Option<u32>,
    /// Whether VLAN tags decide where frames go.
    pub vlan_filtering: bool,
}

impl NewBridge {
    /// `ip link add NAME type bridge`, down; refused when the name is taken.
    #[must_use]
    pub fn request(&self) -> Request {
        let mut bridge = LinkMessageBuilder::<LinkBridge>::new(&self.name).address(self.mac.bytes().to_vec());
        if let Some(mtu) = self.mtu {
            bridge = bridge.mtu(mtu);
        }
        if self.vlan_filtering {
            bridge = bridge.vlan_filtering(true);
        }
        request(RTM_NEWLINK, &bridge.build(), NLM_F_CREATE | NLM_F_EXCL)
    }
}

/// `ip link show NAME`.
#[must_use]
pub fn get(name: &str) -> Request {
    question(0, |message| put(message, IFLA_IFNAME, &[name.as_bytes(), &[0]].concat()))
}

/// The link with this index, whatever its name.
#[must_use]
pub fn get_by_index(index: u32) -> Request {
    question(index, |_| ())
}

/// `ip link show type KIND`, filtered by the kernel; to be dumped.
#[must_use]
pub fn list(kind: &str) -> Request {
    let mut info = Vec::new();
    put(&mut info, IFLA_INFO_KIND, &[kind.as_bytes(), &[0]].concat());
    question(0, |message| put(message, IFLA_LINKINFO, &info))
}

/// `ip link show`; to be dumped.
#[must_use]
pub fn list_all() -> Request {
    question(0, |_| ())
}

/// A question about links, by hand: whoever only asks needs no code for all that links can be made of, which is a tenth of
/// a small plugin. Statistics are not wanted.
fn question(index: u32, attributes: impl FnOnce(&mut Vec<u8>)) -> Request {
    // struct ifinfomsg: family, padding, type, index, flags, change.
    let mut payload = vec![0; 4];
    payload.extend_from_slice(&index.to_ne_bytes());
    payload.extend_from_slice(&[0; 8]);
    attributes(&mut payload);
    put(&mut payload, IFLA_EXT_MASK, &RTEXT_FILTER_SKIP_STATS.to_ne_bytes());
    Request { kind: RTM_GETLINK, flags: 0, payload }
}

/// `ip link set NAME up` or `down`.
#[must_use]
pub fn set_up(name: &str, up: bool) -> Request {
    let link = LinkUnspec::new_with_name(name);
    let link = if up { link.up() } else { link.down() };
    request(RTM_SETLINK, &link.build(), 0)
}

/// `ip link set NAME promisc on`.
#[must_use]
pub fn set_promiscuous(name: &str) -> Request {
    request(RTM_SETLINK, &LinkUnspec::new_with_name(name).promiscuous(true).build(), 0)
}

/// `ip link set index INDEX netns FD name NAME alias TEXT`, all in one message, so that nobody sees a state between: the kernel
/// takes the new name already for the arrival if the old one is in use there, and renames before anybody else has a turn
/// (`do_setlink`, `__dev_change_net_namespace`). The link is down afterwards, and without addresses.
#[must_use]
pub fn relocate(index: u32, netns: BorrowedFd<'_>, name: &str, alias: Option<&str>) -> Request {
    /// `IFLA_IFALIAS`; with no bytes at all it is taken away.
    const ALIAS: u16 = 20;
    let link = LinkUnspec::new_with_index(index).name(name.to_owned()).setns_by_fd(netns.as_raw_fd());
    let mut link = link.build();
    link.attributes.push(match alias {
        Some(alias) => LinkAttribute::IfAlias(alias.to_owned()),
        None => LinkAttribute::Other(DefaultNla::new(ALIAS, Vec::new())),
    });
    request(RTM_SETLINK, &link, 0)
}

/// `ip link set NAME alias TEXT`.
#[must_use]
pub fn set_alias(name: &str, alias: &str) -> Request {
    request(RTM_SETLINK, &LinkUnspec::new_with_name(name).alias(alias).build(), 0)
}

/// `ip link set NAME type bridge vlan_filtering 1`.
#[must_use]
pub fn set_vlan_filtering(name: &str) -> Request {
    let bridge = LinkMessageBuilder::<LinkBridge>::new(name).vlan_filtering(true).build();
    request(RTM_NEWLINK, &bridge, 0)
}

/// `ip link set NAME type bridge_slave hairpin on isolated on`; a flag that is off is left as it is.
#[must_use]
pub fn set_port(name: &str, port: Port) -> Request {
    let mut link = LinkBridgePort::new(0).name(name);
    if port.hairpin {
        link = link.hairpin(true);
    }
    if port.isolated {
        link = link.isolated(true);
    }
    request(RTM_NEWLINK, &link.build(), 0)
}

/// `ip link set NAME address MAC`.
#[must_use]
pub fn set_mac(name: &str, mac: Mac) -> Request {
    request(RTM_SETLINK, &LinkUnspec::new_with_name(name).address(mac.bytes().to_vec()).build(), 0)
}

/// `ip link del NAME`.
#[must_use]
pub fn del(name: &str) -> Request {
    request(RTM_DELLINK, &LinkUnspec::new_with_name(name).build(), 0)
}

/// The address family of IPv4 or IPv6.
pub(crate) const fn family(is_ipv6: bool) -> AddressFamily {
    if is_ipv6 { AddressFamily::Inet6 } else { AddressFamily::Inet }
}
