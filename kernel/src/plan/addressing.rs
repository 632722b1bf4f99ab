//! Addresses and routes of a link.

use std::fmt;

use ipnetwork::IpNetwork;

use super::pair::on_host;
use super::{Deviation, Failure, Machine, Side, Step};
use crate::address::{self, Address};
use crate::link;
use crate::mac::Mac;
use crate::netlink::{Error, Request};
use crate::route::Route;

/// The main routing table, `RT_TABLE_MAIN`.
const MAIN: u32 = 254;

/// Gives a link an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddAddress {
    /// Where the link is.
    pub side: Side,
    /// Its name.
    pub link: String,
    /// Address and prefix length.
    pub address: IpNetwork,
    /// Without duplicate address detection.
    pub nodad: bool,
    /// Without the route to the address's network that the kernel makes otherwise.
    pub noprefixroute: bool,
}

impl fmt::Display for AddAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nodad = if self.nodad && self.address.is_ipv6() { " nodad" } else { "" };
        let noprefixroute = if self.noprefixroute { " noprefixroute" } else { "" };
        write!(f, "{}ip address add {} dev {}{nodad}{noprefixroute}", self.side, self.address, self.link)
    }
}

impl Step for AddAddress {
    fn request(&self, machine: &mut Machine) -> Result<Option<(Side, Request)>, Failure> {
        let index = machine.index(self.side, &self.link).map_err(|error| lookup_failure(self, &self.link, &error))?;
        let add = if self.noprefixroute { address::add_without_route } else { address::add };
        Ok(Some((self.side, add(index, self.address, self.nodad))))
    }

    fn refused(&self, error: Error) -> Result<(), Failure> {
        Err(Failure::new(self, format_args!("failed to add IP addr {} to \"{}\"", self.address, self.link), &error))
    }

    fn check(&self, machine: &mut Machine) -> Result<(), Deviation> {
        let index = machine.index(self.side, &self.link).map_err(|_| Deviation::LinkMissing(self.link.clone()))?;
        let found = machine.side(self.side)?.addresses(index, self.address.is_ipv6())?;
        if !found.iter().any(|address| address.network == self.address) {
            return Err(Deviation::AddressMissing { link: self.link.clone(), address: self.address });
        }
        Ok(())
    }

    fn undo(&self, machine: &mut Machine) -> Result<(), Failure> {
        let Ok(index) = machine.index(self.side, &self.link) else { return Ok(()) };
        match machine.side(self.side).and_then(|handle| handle.call(address::del(index, self.address))) {
            Err(error) if !error.is_not_found() => Err(Failure::new(
                self,
                format_args!("failed to remove {} from \"{}\"", self.address, self.link),
                &error,
            )),
            _ => Ok(()),
        }
    }
}

/// Gives a link of the container a hardware address. Not undone: the link goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetMac {
    /// Its name.
    pub link: String,
    /// The address.
    pub mac: Mac,
}

impl fmt::Display for SetMac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}ip link set {} address {}", Side::Container, self.link, self.mac)
    }
}

impl Step for SetMac {
    fn request(&self, _: &mut Machine) -> Result<Option<(Side, Request)>, Failure> {
        let settings = link::Settings { mac: Some(self.mac), ..link::Settings::default() };
        Ok(Some((Side::Container, settings.request(&self.link))))
    }

    fn refused(&self, error: Error) -> Result<(), Failure> {
        Err(Failure::new(self, format_args!("failed to give \"{}\" the address {}", self.link, self.mac), &error))
    }

    fn check(&self, machine: &mut Machine) -> Result<(), Deviation> {
        match machine.side(Side::Container)?.link(&self.link)? {
            Some(link) if link.mac == Some(self.mac) => Ok(()),
            Some(_) => Err(Deviation::Missing(self.to_string())),
            None => Err(Deviation::LinkMissing(self.link.clone())),
        }
    }
}

/// Sets a link up. Not undone: the link goes, or was up before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetUp {
    /// Where the link is.
    pub side: Side,
    /// Its name.
    pub link: String,
}

impl fmt::Display for SetUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}ip link set {} up", self.side, self.link)
    }
}

impl Step for SetUp {
    fn request(&self, _: &mut Machine) -> Result<Option<(Side, Request)>, Failure> {
        Ok(Some((self.side, link::set_up(&self.link, true))))
    }

    fn refused(&self, error: Error) -> Result<(), Failure> {
        Err(Failure::new(self, format_args!("failed to set \"{}\" UP", self.link), &error))
    }

    fn check(&self, machine: &mut Machine) -> Result<(), Deviation> {
        match machine.side(self.side)?.link(&self.link)? {
            Some(link) if link.up => Ok(()),
            Some(_) => Err(Deviation::LinkDown(self.link.clone())),
            None => Err(Deviation::LinkMissing(self.link.clone())),
        }
    }
}

/// Adds a route through a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddRoute {
    /// Where the link is.
    pub side: Side,
    /// Its name.
    pub link: String,
    /// Where to.
    pub route: Route,
}

impl fmt::Display for AddRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let family = if self.route.dst.is_ipv6() { " -6" } else { "" };
        write!(f, "{}ip{family} route add {} dev {}", self.side, self.route, self.link)
    }
}

impl Step for AddRoute {
    fn request(&self, machine: &mut Machine) -> Result<Option<(Side, Request)>, Failure> {
        let index = machine.index(self.side, &self.link).map_err(|error| lookup_failure(self, &self.link, &error))?;
        Ok(Some((self.side, self.route.add(index))))
    }

    fn refused(&self, error: Error) -> Result<(), Failure> {
        Err(Failure::new(self, format_args!("failed to add route '{} dev {}'", self.route, self.link), &error))
    }

    /// As users of the Go suite know it: a default route is satisfied by any default route of its family, any other by
    /// the same destination, with the same gateway if it has one.
    fn check(&self, machine: &mut Machine) -> Result<(), Deviation> {
        let wanted = &self.route;
        let routes = machine.side(self.side)?.routes(wanted.dst.is_ipv6(), wanted.table.unwrap_or(MAIN))?;
        let is_default = wanted.dst.prefix() == 0;
        let holds = |found: &Route| {
            found.dst == wanted.dst && (is_default || wanted.gateway.is_none() || found.gateway == wanted.gateway)
        };
        if routes.iter().any(holds) { Ok(()) } else { Err(Deviation::RouteMissing(Box::new(wanted.clone()))) }
    }

    fn undo(&self, machine: &mut Machine) -> Result<(), Failure> {
        let Ok(index) = machine.index(self.side, &self.link) else { return Ok(()) };
        match machine.side(self.side).and_then(|handle| handle.call(self.route.del(index))) {
            Err(error) if !error.is_not_found() => {
                Err(Failure::new(self, format_args!("failed to remove route '{}'", self.route), &error))
            }
            _ => Ok(()),
        }
    }
}

/// Gives a shared link of the host a gateway's address. Shared: others use the gateway too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewayAddress {
    /// The bridge, or its VLAN gateway.
    pub link: String,
    /// The gateway with the prefix length of its network.
    pub address: IpNetwork,
    /// Remove other addresses of the network instead of refusing.
    pub force: bool,
}

impl GatewayAddress {
    /// The addresses which can't stand beside the wanted one: any other IPv4 address, any IPv6 one of the same network.
    fn conflicts(&self, found: &[Address]) -> Vec<IpNetwork> {
        let overlaps = |other: &IpNetwork| match (other, &self.address) {
            (IpNetwork::V6(a), IpNetwork::V6(b)) => a.contains(b.network()) || b.contains(a.network()),
            _ => true,
        };
        found.iter().map(|address| address.network).filter(overlaps).collect()
    }

    fn failure(&self, error: &Error) -> Failure {
        Failure::new(self, format_args!("could not add IP address {} to \"{}\"", self.address, self.link), error)
    }
}

impl fmt::Display for GatewayAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ip address add {} dev {}", self.address, self.link)
    }
}

impl Step for GatewayAddress {
    fn refused(&self, error: Error) -> Result<(), Failure> {
        Err(self.failure(&error))
    }

    fn apply(&self, machine: &mut Machine) -> Result<(), Failure> {
        let failed = |error: Error| self.failure(&error);
        let index = machine.index(Side::Host, &self.link).map_err(failed)?;
        let found = machine.host().and_then(|host| host.addresses(index, self.address.is_ipv6())).map_err(failed)?;
        if found.iter().any(|address| address.network == self.address) {
            return Ok(());
        }
        let conflicts = self.conflicts(&found);
        if let (false, Some(other)) = (self.force, conflicts.first()) {
            let (link, wanted) = (&self.link, self.address);
            let text =
                format!("failed to set bridge addr: \"{link}\" already has an IP address different from {wanted}");
            return Err(Failure::other(
                &format_args!("{self} ({link} has {other}: remove it, or set forceAddress)"),
                text,
            ));
        }
        for other in &conflicts {
            // One that went with another, as secondary addresses do, or by somebody else's hand, is gone as well.
            match on_host(machine, &[address::del(index, *other)]) {
                Err(error) if !error.is_not_found() => return Err(failed(error)),
                _ => {}
            }
        }
        match on_host(machine, &[address::add(index, self.address, true)]) {
            Err(error) if !error.is_exists() => return Err(failed(error)),
            _ => {}
        }
        self.pin_mac(machine).map_err(failed)
    }

    fn check(&self, machine: &mut Machine) -> Result<(), Deviation> {
        let (link, address) = (self.link.clone(), self.address);
        AddAddress { side: Side::Host, link, address, nodad: true, noprefixroute: false }.check(machine)
    }
}

impl GatewayAddress {
    /// A bridge that was made by others may follow the lowest address of its ports. Setting the address it has makes
    /// it keep it, so that containers need not learn their gateway anew.
    fn pin_mac(&self, machine: &mut Machine) -> Result<(), Error> {
        let link = machine.host()?.link(&self.link)?;
        match link.and_then(|link| link.mac) {
            Some(mac) => machine.host()?.call(link::set_mac(&self.link, mac)),
            None => Ok(()),
        }
    }
}

pub(super) fn lookup_failure(step: &dyn fmt::Display, link: &str, error: &Error) -> Failure {
    Failure::new(step, format_args!("failed to lookup \"{link}\""), error)
}
