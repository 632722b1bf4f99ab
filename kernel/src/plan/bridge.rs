//! The bridge, its ports and its VLANs.

use std::fmt;
use std::time::Duration;

use super::pair::on_host;
use super::{Deviation, Failure, Machine, Running, Side, Step};
use crate::link::{self, Link, NewBridge, NewEnd};
use crate::mac::Mac;
use crate::netlink::{self, Error};
use crate::sysctl;
use crate::vlan::{self, Vlan};

/// How long a port may take to carry frames. A veth needs microseconds once both ends are up.
const PORT_PATIENCE: Duration = Duration::from_secs(3);

/// Makes sure of a bridge that is up. Shared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnsureBridge {
    /// What to make when there is none of that name.
    pub bridge: NewBridge,
    /// Make it promiscuous, also when it is there already; it is never switched off.
    pub promiscuous: bool,
    /// The address it is known to have, for a check.
    pub recorded_mac: Option<Mac>,
}

impl EnsureBridge {
    fn name(&self) -> &str {
        &self.bridge.name
    }

    fn failure(&self, error: &Error) -> Failure {
        let name = self.name();
        Failure::new(self, format_args!("failed to create bridge \"{name}\": could not add \"{name}\""), error)
    }

    fn ensure(&self, machine: &mut Machine) -> Result<Link, Failure> {
        let failed = |error: Error| self.failure(&error);
        let host = machine.host().map_err(failed)?;
        if let Some(link) = host.link(self.name()).map_err(failed)? {
            return Ok(link);
        }
        match host.call(self.bridge.request()) {
            // Somebody else was quicker, which is as good.
            Err(error) if !error.is_exists() => return Err(failed(error)),
            _ => {}
        }
        let found = host.link(self.name()).map_err(failed)?;
        found.ok_or_else(|| {
            Failure::other(self, format!("failed to create bridge \"{0}\": could not lookup \"{0}\"", self.name()))
        })
    }
}

impl fmt::Display for EnsureBridge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let NewBridge { name, mac, mtu, vlan_filtering } = &self.bridge;
        write!(f, "ip link add {name} address {mac}")?;
        if let Some(mtu) = mtu {
            write!(f, " mtu {mtu}")?;
        }
        let filtering = if *vlan_filtering { " vlan_filtering 1" } else { "" };
        let promiscuous = if self.promiscuous { " promisc on" } else { "" };
        write!(f, " type bridge{filtering}\nip link set {name} up{promiscuous}")
    }
}

impl Step for EnsureBridge {
    fn refused(&self, error: Error) -> Result<(), Failure> {
        Err(self.failure(&error))
    }

    fn apply(&self, machine: &mut Machine) -> Result<(), Failure> {
        let link = self.ensure(machine)?;
        if !link.is("bridge") {
            let name = self.name();
            return Err(Failure::other(
                self,
                format!("failed to create bridge \"{name}\": \"{name}\" already exists but is not a bridge"),
            ));
        }
        // A container must not configure the host by router advertisements; before the bridge is up there are none.
        let _ = sysctl::ensure(&format!("net/ipv6/conf/{}/accept_ra", self.name()), "0");
        let mut wanted = Vec::new();
        if self.promiscuous && !link.promiscuous {
            wanted.push(link::set_promiscuous(self.name()));
        }
        if self.bridge.vlan_filtering && link.vlan_filtering == Some(false) {
            wanted.push(link::set_vlan_filtering(self.name()));
        }
        if !link.up {
            wanted.push(link::set_up(self.name(), true));
        }
        machine.remember(Side::Host, &link);
        on_host(machine, &wanted).map_err(|error| self.failure(&error))
    }

    fn check(&self, machine: &mut Machine) -> Result<(), Deviation> {
        let name = self.name().to_owned();
        let link = machine.host()?.link(&name)?.ok_or_else(|| Deviation::LinkMissing(name.clone()))?;
        if !link.is("bridge") {
            return Err(Deviation::WrongKind { link: name, expected: "bridge".into() });
        }
        if let (Some(expected), Some(found)) = (self.recorded_mac, link.mac)
            && expected != found
        {
            return Err(Deviation::WrongMac { link: name, expected, found });
        }
        if link.promiscuous != self.promiscuous {
            return Err(Deviation::Promiscuity { link: name, expected: self.promiscuous, found: link.promiscuous });
        }
        Ok(())
    }
}

/// The VLANs of a port, instead of the one that every new port is put into. Gone with the port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortVlans {
    /// The port's name, in the host.
    pub port: String,
    /// The bridge, whose default VLAN the port loses.
    pub bridge: String,
    /// What the port is to belong to.
    pub vlans: Vec<Vlan>,
    /// Whether the port stays in the bridge's default VLAN.
    pub preserve_default: bool,
}

impl fmt::Display for PortVlans {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.preserve_default {
            writeln!(f, "bridge vlan del dev {} vid default_pvid", self.port)?;
        }
        for (at, vlan) in self.vlans.iter().enumerate() {
            let newline = if at == 0 { "" } else { "\n" };
            write!(f, "{newline}bridge vlan add dev {} vid {vlan}", self.port)?;
        }
        Ok(())
    }
}

impl Step for PortVlans {
    fn refused(&self, error: Error) -> Result<(), Failure> {
        Err(Failure::new(self, format_args!("failed to setup vlans on interface {}", self.port), &error))
    }

    fn apply(&self, machine: &mut Machine) -> Result<(), Failure> {
        let set = |machine: &mut Machine| {
            let port = machine.index(Side::Host, &self.port)?;
            let mut requests = Vec::new();
            if !self.preserve_default {
                // A new port is in its bridge's default VLAN and in no other, so there is nothing to list.
                let bridge = machine.host()?.link(&self.bridge)?;
                let default = bridge.and_then(|bridge| bridge.default_pvid).filter(|vid| *vid != 0);
                if let Some(vid) = default.filter(|vid| !self.vlans.iter().any(|vlan| vlan.vid == *vid)) {
                    requests.push(vlan::del(port, &[vid]));
                }
            }
            requests.push(vlan::add(port, &self.vlans));
            on_host(machine, &requests)
        };
        set(machine).or_else(|error| self.refused(error))
    }

    fn check(&self, _: &mut Machine) -> Result<(), Deviation> {
        Ok(())
    }
}

/// A veth pair with both ends in the host: one carries a gateway's address, the other is an access port of its VLAN.
/// Shared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VlanGateway {
    /// The bridge.
    pub bridge: String,
    /// The end with the address: `BRIDGE.VID`.
    pub gateway: NewEnd,
    /// The end that is a port.
    pub port: NewEnd,
    /// The access VLAN.
    pub vid: u16,
    /// Whether the port stays in the bridge's default VLAN.
    pub preserve_default: bool,
}

impl VlanGateway {
    fn vlans(&self) -> PortVlans {
        PortVlans {
            port: self.port.name.clone(),
            bridge: self.bridge.clone(),
            vlans: vec![Vlan::access(self.vid)],
            preserve_default: self.preserve_default,
        }
    }
}

impl fmt::Display for VlanGateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (gateway, port) = (&self.gateway.name, &self.port.name);
        writeln!(f, "ip link add {port} master {} up type veth peer {gateway}", self.bridge)?;
        write!(f, "{}\nip link set {gateway} up", self.vlans())
    }
}

impl Step for VlanGateway {
    fn refused(&self, error: Error) -> Result<(), Failure> {
        let attempt = format_args!("failed to create vlan interface: could not add \"{}\"", self.gateway.name);
        Err(Failure::new(self, attempt, &error))
    }

    fn apply(&self, machine: &mut Machine) -> Result<(), Failure> {
        let make = |machine: &mut Machine| {
            let bridge = machine.index(Side::Host, &self.bridge)?;
            let host = machine.host()?;
            if host.link(&self.gateway.name)?.is_some() {
                return Ok(());
            }
            let request = {
                use std::os::fd::AsFd;
                link::new_veth(&self.port, Some(bridge), &self.gateway, host.netns().as_fd())
            };
            match host.call(request) {
                Err(error) if error.is_exists() => Ok(()),
                made => made,
            }
        };
        make(machine).or_else(|error| self.refused(error))?;
        // Also when it is there already: whoever made it may have died before this.
        self.vlans().apply(machine)?;
        let _ = sysctl::write(&format!("net/ipv6/conf/{}/accept_ra", self.gateway.name), "0");
        on_host(machine, &[link::set_up(&self.gateway.name, true)]).or_else(|error| self.refused(error))
    }

    fn check(&self, machine: &mut Machine) -> Result<(), Deviation> {
        let name = &self.gateway.name;
        machine.host()?.link(name)?.map(drop).ok_or_else(|| Deviation::LinkMissing(name.clone()))
    }
}

/// Waits until a bridge port carries frames, by the kernel's own notification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortRunning {
    /// The port's name, in the host.
    pub port: String,
}

impl fmt::Display for PortRunning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ip monitor link dev {}", self.port)
    }
}

impl Step for PortRunning {
    fn refused(&self, error: netlink::Error) -> Result<(), Failure> {
        Err(Failure::new(self, format_args!("bridge port {} in error state", self.port), &error))
    }

    fn apply(&self, machine: &mut Machine) -> Result<(), Failure> {
        let port = Running { side: Side::Host, link: self.port.clone() };
        match port.within(machine, PORT_PATIENCE) {
            Ok(true) => Ok(()),
            Ok(false) => Err(Failure::other(self, "bridge port in error state: down")),
            Err(error) => self.refused(error),
        }
    }

    fn check(&self, _: &mut Machine) -> Result<(), Deviation> {
        Ok(())
    }
}
