//! Virtual routing and forwarding: links whose ports have a routing table of their own (`ip link ... type vrf`,
//! `Documentation/networking/vrf.rst`).

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::link::{InfoKind, LinkAttribute, LinkExtentMask, LinkMessage};
use rtnetlink::{LinkMessageBuilder, LinkUnspec, LinkVrf};

use crate::netlink::Request;
use crate::netlink::attribute::{Attributes, number};
use crate::netlink::rtnl::{RTM_GETLINK, RTM_NEWLINK, RTM_SETLINK, request};

const IFLA_VRF_TABLE: u16 = 1;

/// A VRF to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewVrf {
    /// `ifname`.
    pub name: String,
    /// The routing table of its ports.
    pub table: u32,
}

impl NewVrf {
    /// `ip link add NAME up type vrf table TABLE`; refused when the name is taken.
    #[must_use]
    pub fn request(&self) -> Request {
        request(RTM_NEWLINK, &LinkVrf::new(&self.name, self.table).up().build(), NLM_F_CREATE | NLM_F_EXCL)
    }
}

/// A VRF without a table, which no kernel makes: one with VRFs refuses it for that (`EINVAL`), any other because it does
/// not know the kind (`EOPNOTSUPP`). Asking loads the module, as making one would.
#[must_use]
pub fn probe_vrf() -> Request {
    let vrf = LinkMessageBuilder::<LinkVrf>::new_with_info_kind(InfoKind::Vrf).build();
    request(RTM_NEWLINK, &vrf, NLM_F_CREATE | NLM_F_EXCL)
}

/// `ip link set NAME master MASTER`, or `nomaster`.
///
/// With a VRF as the old or new master the kernel sets a link that is up down and up again, so that its routes change
/// tables. It loses all but those which the kernel makes by itself, and most IPv6 addresses.
#[must_use]
pub fn set_master(name: &str, master: Option<u32>) -> Request {
    let link = LinkUnspec::new_with_name(name);
    let link = match master {
        Some(index) => link.controller(index),
        None => link.nocontroller(),
    };
    request(RTM_SETLINK, &link.build(), 0)
}

/// `ip link show master MASTER`, filtered by the kernel; to be dumped.
#[must_use]
pub fn list_ports(master: u32) -> Request {
    let mut message = LinkMessage::default();
    message.attributes.push(LinkAttribute::Controller(master));
    message.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
    request(RTM_GETLINK, &message, 0)
}

/// The routing table among a VRF's own attributes.
pub(super) fn table(options: &[u8]) -> Option<u32> {
    Attributes(options).find(|(kind, _)| *kind == IFLA_VRF_TABLE).map(|(_, value)| number(value))
}

#[cfg(test)]
mod tests {
    use nix::errno::Errno;

    use super::*;
    use crate::Handle;
    use crate::sandbox::alone;

    /// `struct ifinfomsg` and the attributes of `include/uapi/linux/if_link.h`.
    #[test]
    fn the_bytes_of_a_new_vrf() {
        let Request { kind, flags, payload } = NewVrf { name: "blue".into(), table: 0x0102_0304 }.request();
        assert_eq!((kind, flags), (16, 0x600));
        let up = [0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0];
        assert_eq!(payload[..16], up);
        let find = |all: &[u8], wanted: u16| {
            Attributes(all).find(|(kind, _)| *kind == wanted).map(|(_, value)| value.to_vec()).unwrap()
        };
        let info = find(&payload[16..], 18);
        assert_eq!(find(&payload[16..], 3), b"blue\0");
        assert!(find(&info, 1).starts_with(b"vrf"));
        assert_eq!(find(&info, 2), [8, 0, 1, 0, 4, 3, 2, 1]);
        assert_eq!(table(&find(&info, 2)), Some(0x0102_0304));
    }

    #[test]
    fn the_bytes_of_a_master() {
        let master = |request: Request| {
            assert_eq!(request.kind, 19);
            Attributes(&request.payload[16..]).find(|(kind, _)| *kind == 10).map(|(_, value)| number(value))
        };
        assert_eq!(master(set_master("eth0", Some(7))), Some(7));
        assert_eq!(master(set_master("eth0", None)), Some(0));
    }

    #[test]
    fn a_probe_makes_nothing() {
        alone(|| {
            let mut handle = Handle::here().unwrap();
            let refusal = handle.call(probe_vrf()).unwrap_err();
            assert!(matches!(refusal.errno(), Some(Errno::EOPNOTSUPP | Errno::EINVAL)), "{refusal}");
            assert!(handle.vrfs().unwrap().is_empty());
        });
    }

    #[test]
    fn ports_are_listed_by_the_kernel() {
        alone(|| {
            let mut handle = Handle::here().unwrap();
            crate::sandbox::ip("link add br0 type bridge");
            crate::sandbox::ip("link add net1 type veth peer name net2");
            let bridge = handle.link("br0").unwrap().unwrap().index;
            assert_eq!(handle.ports(bridge).unwrap(), []);
            handle.call(set_master("net1", Some(bridge))).unwrap();
            let ports = handle.ports(bridge).unwrap();
            assert_eq!(ports.iter().map(|port| port.name.as_str()).collect::<Vec<_>>(), ["net1"]);
            handle.call(set_master("net1", None)).unwrap();
            assert_eq!(handle.ports(bridge).unwrap(), []);
        });
    }
}
