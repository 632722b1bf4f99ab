//! VLANs of bridge ports (`bridge vlan`).

use std::fmt;

use netlink_packet_route::link::{BridgeVlanInfoFlags, LinkMessage};
use rtnetlink::LinkBridgeVlan;

use crate::netlink::Request;
use crate::netlink::rtnl::{RTM_DELLINK, RTM_SETLINK, request};

/// A VLAN on a bridge port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vlan {
    /// 1 to 4094.
    pub vid: u16,
    /// Untagged frames that come in belong to it.
    pub pvid: bool,
    /// Its frames leave without a tag.
    pub untagged: bool,
}

impl Vlan {
    /// An access VLAN: `pvid untagged`.
    #[must_use]
    pub const fn access(vid: u16) -> Self {
        Self { vid, pvid: true, untagged: true }
    }

    /// A tagged VLAN of a trunk.
    #[must_use]
    pub const fn tagged(vid: u16) -> Self {
        Self { vid, pvid: false, untagged: false }
    }

    fn flags(self) -> BridgeVlanInfoFlags {
        let mut flags = BridgeVlanInfoFlags::empty();
        flags.set(BridgeVlanInfoFlags::Pvid, self.pvid);
        flags.set(BridgeVlanInfoFlags::Untagged, self.untagged);
        flags
    }
}

/// As `bridge vlan add` takes it behind `vid`.
impl fmt::Display for Vlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.vid)?;
        if self.pvid {
            write!(f, " pvid")?;
        }
        if self.untagged {
            write!(f, " untagged")?;
        }
        Ok(())
    }
}

/// `bridge vlan add vid VID dev PORT master` for all `vlans`, in one message.
#[must_use]
pub fn add(port: u32, vlans: &[Vlan]) -> Request {
    request(RTM_SETLINK, &message(port, vlans), 0)
}

/// `bridge vlan del vid VID dev PORT master` for all `vids`, in one message.
#[must_use]
pub fn del(port: u32, vids: &[u16]) -> Request {
    let vlans: Vec<Vlan> = vids.iter().copied().map(Vlan::tagged).collect();
    request(RTM_DELLINK, &message(port, &vlans), 0)
}

fn message(port: u32, vlans: &[Vlan]) -> LinkMessage {
    vlans.iter().fold(LinkBridgeVlan::new(port), |message, vlan| message.vlan(vlan.vid, vlan.flags())).build()
}
