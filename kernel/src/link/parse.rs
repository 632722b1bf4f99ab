//! A link out of the bytes that describe it (`struct ifinfomsg` and `IFLA_*`, `include/uapi/linux/if_link.h`).
//!
//! A description has some sixty attributes, and the crate with the message types parses every one of every kind of
//! link. A plugin wants these, at every lookup, and the rest is skipped.

use super::{Ipvlan, Kind, Link, Macvlan, Port, vrf};
use crate::mac::Mac;
use crate::netlink::attribute::{Attributes, number};
use crate::netlink::rtnl::RTM_NEWLINK;
use crate::netlink::{Error, Frame};

/// `sizeof(struct ifinfomsg)`.
const HEADER: usize = 16;
const IFF_UP: u32 = 1;
const IFF_RUNNING: u32 = 0x40;
const IFF_PROMISC: u32 = 0x100;
const IFF_ALLMULTI: u32 = 0x200;
const IFF_LOWER_UP: u32 = 0x1_0000;
const IF_OPER_UP: u8 = 6;

const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_LINK: u16 = 5;
const IFLA_MASTER: u16 = 10;
const IFLA_TXQLEN: u16 = 13;
const IFLA_OPERSTATE: u16 = 16;
const IFLA_LINKINFO: u16 = 18;
const IFLA_IFALIAS: u16 = 20;
const IFLA_PROMISCUITY: u16 = 30;
const IFLA_LINK_NETNSID: u16 = 37;

const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const IFLA_INFO_SLAVE_KIND: u16 = 4;
const IFLA_INFO_SLAVE_DATA: u16 = 5;

/// `IFLA_MACVLAN_MODE`, `IFLA_IPVLAN_MODE` and `IFLA_VLAN_ID`: each the first option of its kind.
const MODE: u16 = 1;
const IFLA_BR_VLAN_FILTERING: u16 = 7;
const IFLA_BR_VLAN_DEFAULT_PVID: u16 = 39;

const IFLA_BRPORT_STATE: u16 = 1;
/// `BR_STATE_FORWARDING` (`include/uapi/linux/if_bridge.h`).
const FORWARDING: u8 = 3;
/// `IFLA_BRPORT_MODE`: hairpin.
const IFLA_BRPORT_MODE: u16 = 4;
const IFLA_BRPORT_ISOLATED: u16 = 33;

pub(super) fn link(frame: &Frame) -> Result<Link, Error> {
    let payload = frame.payload();
    let (Some(header), RTM_NEWLINK) = (payload.first_chunk::<HEADER>(), frame.message_type()) else {
        return Err(Error::Malformed(format!("a message of type {} instead of a link", frame.message_type())));
    };
    let flags = number(&header[8..]);
    let mut link = Link {
        index: number(&header[4..]),
        up: flags & IFF_UP != 0,
        promiscuous: flags & IFF_PROMISC != 0,
        all_multicast: flags & IFF_ALLMULTI != 0,
        usable: flags & IFF_RUNNING != 0,
        carrier: flags & IFF_LOWER_UP != 0,
        ..Link::default()
    };
    for (kind, value) in Attributes(&payload[HEADER..]) {
        match kind {
            IFLA_ADDRESS => link.mac = Mac::try_from(value).ok(),
            IFLA_IFNAME => link.name = text(value),
            IFLA_MTU => link.mtu = number(value),
            IFLA_LINK => link.peer = Some(number(value)),
            IFLA_MASTER => link.master = Some(number(value)),
            IFLA_TXQLEN => link.queue_length = number(value),
            IFLA_OPERSTATE => link.running = value == [IF_OPER_UP],
            IFLA_IFALIAS => link.alias = Some(text(value)),
            IFLA_PROMISCUITY => link.promiscuity = number(value),
            IFLA_LINK_NETNSID => link.peer_namespace = Some(number(value)),
            IFLA_LINKINFO => info(&mut link, value),
            _ => {}
        }
    }
    Ok(link)
}

/// What is particular to the link's kind, and to the kind of its master.
fn info(link: &mut Link, attributes: &[u8]) {
    let find = |wanted| Attributes(attributes).find(|(kind, _)| *kind == wanted).map(|(_, value)| value);
    link.kind = find(IFLA_INFO_KIND).map(text);
    let options = find(IFLA_INFO_DATA).unwrap_or_default();
    if link.is("bridge") {
        bridge(link, options);
    }
    if link.is("vrf") {
        link.vrf_table = vrf::table(options);
    }
    link.child = child(link.kind.as_deref().unwrap_or_default(), options);
    if find(IFLA_INFO_SLAVE_KIND).map(text).as_deref() == Some("bridge") {
        let options = find(IFLA_INFO_SLAVE_DATA);
        link.port = options.map(port);
        let state = |options| Attributes(options).find(|(kind, _)| *kind == IFLA_BRPORT_STATE);
        link.forwarding = options.and_then(state).map(|(_, state)| state == [FORWARDING]);
    }
}

fn bridge(link: &mut Link, options: &[u8]) {
    for (kind, value) in Attributes(options) {
        match kind {
            IFLA_BR_VLAN_FILTERING => link.vlan_filtering = Some(value != [0]),
            IFLA_BR_VLAN_DEFAULT_PVID => link.default_pvid = value.first_chunk().map(|pvid| u16::from_ne_bytes(*pvid)),
            _ => {}
        }
    }
}

/// A link on another link, if it is of a kind and mode that plugins make (`include/uapi/linux/if_link.h`).
fn child(kind: &str, options: &[u8]) -> Option<Kind> {
    let mode = Attributes(options).find(|(kind, _)| *kind == MODE).map(|(_, value)| value).unwrap_or_default();
    let short = || mode.first_chunk().map(|mode| u16::from_ne_bytes(*mode));
    Some(match kind {
        "macvlan" => Kind::Macvlan(
            match number(mode) {
                1 => Macvlan::Private,
                2 => Macvlan::Vepa,
                4 => Macvlan::Bridge,
                8 => Macvlan::Passthru,
                _ => return None,
            },
            None,
        ),
        "ipvlan" => Kind::Ipvlan(match short()? {
            0 => Ipvlan::L2,
            1 => Ipvlan::L3,
            2 => Ipvlan::L3s,
            _ => return None,
        }),
        "vlan" => Kind::Vlan(short()?),
        "dummy" => Kind::Dummy,
        _ => return None,
    })
}

fn port(options: &[u8]) -> Port {
    let is_on = |wanted| Attributes(options).any(|(kind, value)| kind == wanted && value != [0]);
    Port { hairpin: is_on(IFLA_BRPORT_MODE), isolated: is_on(IFLA_BRPORT_ISOLATED) }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes.strip_suffix(&[0]).unwrap_or(bytes)).into_owned()
}
