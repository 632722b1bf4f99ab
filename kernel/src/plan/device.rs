//! A device of the host's that a container borrows.

use std::fmt;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use ipnetwork::IpNetwork;
use nix::errno::Errno;

use super::settle::watch;
use super::{Deviation, Failure, Machine, Reachable, Side, Step};
use crate::address;
use crate::link;
use crate::mac::Mac;
use crate::netlink::{Error, LINKS};

/// What a device loses on the way, to be given back when it comes home.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Home {
    /// Its name in the host.
    pub name: String,
    /// It was up.
    pub up: bool,
    /// The addresses that somebody gave it.
    pub addresses: Vec<IpNetwork>,
}

/// Moves a device of the host into the container, where it has another name and, as alias, the one it had.
///
/// Undoing brings it home: under its name, with its addresses, up if it was. A link of that name which has come to the
/// host meanwhile keeps the device out, because two can't have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MoveDevice {
    /// How it is in the host.
    pub home: Home,
    /// Its name in the container.
    pub name: String,
    /// Its hardware address, for a check.
    pub mac: Option<Mac>,
}

impl MoveDevice {
    fn failure(&self, attempt: &str, error: &Error) -> Failure {
        Failure::new(self, format_args!("failed to move link failed to {attempt} {}", self.home.name), error)
    }

    fn go(&self, machine: &mut Machine) -> Result<(), Error> {
        let index = machine.index(Side::Host, &self.home.name)?;
        let Some(netns) = machine.container_netns() else {
            return Err(std::io::Error::other("there is no container namespace").into());
        };
        let request = link::relocate(index, netns.as_fd(), &self.name, Some(&self.home.name));
        machine.forget(Side::Host, &self.home.name);
        machine.host()?.call(request)
    }

    /// Brings the device home, if it is in the container.
    fn come_home(&self, machine: &mut Machine) -> Result<(), Failure> {
        let home = &self.home.name;
        let looked = |error| self.failure("look for", &error);
        let found = machine.side(Side::Container).and_then(|side| side.link(&self.name)).map_err(looked)?;
        let Some(device) = found else { return Ok(()) };
        machine.forget(Side::Container, &self.name);
        if machine.host().and_then(|host| host.link(home)).map_err(looked)?.is_some() {
            let text = format!("failed to move \"{home}\" to hostNS: file exists");
            return Err(Failure { errno: Some(Errno::EEXIST), ..Failure::other(self, text) });
        }
        let request = {
            let host = machine.host().map_err(|error| self.failure("return", &error))?;
            link::relocate(device.index, host.netns().as_fd(), home, None)
        };
        let moved = machine.side(Side::Container).and_then(|side| side.call(request));
        moved.map_err(|error| self.failure("return", &error))?;
        self.home.restore(machine).map_err(|error| self.failure("restore", &error))
    }
}

impl Home {
    /// Gives the device, which is back in the host under its name, what it had.
    ///
    /// # Errors
    ///
    /// The first refusal; the others were tried.
    pub fn restore(&self, machine: &mut Machine) -> Result<(), Error> {
        machine.forget(Side::Host, &self.name);
        let index = machine.index(Side::Host, &self.name)?;
        let mut requests = Vec::new();
        if self.up {
            requests.push(link::set_up(&self.name, true));
        }
        requests.extend(self.addresses.iter().map(|address| address::add(index, *address, true)));
        let outcomes = machine.host()?.exchange(&requests)?;
        let mut refused = outcomes.into_iter().filter_map(Result::err).map(Error::from);
        refused.find(|error| !error.is_exists()).map_or(Ok(()), Err)
    }
}

/// How long a device may take to get its carrier back.
const CARRIER_PATIENCE: Duration = Duration::from_secs(2);

/// Waits until a device that has come to the container carries packets, and then until its IPv6 addresses are in use. A
/// device that does not get a carrier in time is no failure, and its addresses are not waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrived {
    /// Its name in the container.
    pub link: String,
    /// Its IPv6 addresses.
    pub addresses: Vec<IpAddr>,
}

impl Arrived {
    /// Whether the device carries packets, at the latest when patience ends.
    fn usable(&self, machine: &mut Machine) -> Result<bool, Error> {
        // Subscribe first, then look: what happens in between is not lost.
        let monitor = watch(machine, Side::Container, LINKS)?;
        let deadline = Instant::now() + CARRIER_PATIENCE;
        loop {
            if machine.side(Side::Container)?.link(&self.link)?.is_some_and(|link| link.usable) {
                return Ok(true);
            }
            if !monitor.wait(deadline)? {
                return Ok(false);
            }
        }
    }
}

impl fmt::Display for Arrived {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}ip monitor link dev {}", Side::Container, self.link)
    }
}

impl Step for Arrived {
    fn refused(&self, error: Error) -> Result<(), Failure> {
        Err(Failure::new(self, format_args!("failed to wait for \"{}\"", self.link), &error))
    }

    fn apply(&self, machine: &mut Machine) -> Result<(), Failure> {
        if !self.usable(machine).or_else(|error| self.refused(error).map(|()| false))? {
            return Ok(());
        }
        let mut reachable = self.addresses.iter().map(|ip| Reachable { side: Side::Container, address: *ip });
        reachable.try_for_each(|address| address.apply(machine))
    }

    fn check(&self, _: &mut Machine) -> Result<(), Deviation> {
        Ok(())
    }
}

impl fmt::Display for MoveDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let device = &self.home.name;
        write!(f, "ip link set {device} netns [container] name {} alias {device}", self.name)
    }
}

impl Step for MoveDevice {
    fn refused(&self, error: Error) -> Result<(), Failure> {
        Err(self.failure("move", &error))
    }

    fn apply(&self, machine: &mut Machine) -> Result<(), Failure> {
        self.go(machine).map_err(|error| self.failure("move", &error))
    }

    fn check(&self, machine: &mut Machine) -> Result<(), Deviation> {
        let found = machine.side(Side::Container)?.link(&self.name)?;
        let found = found.ok_or_else(|| Deviation::LinkMissing(self.name.clone()))?;
        match (self.mac, found.mac) {
            (Some(expected), Some(found)) if expected != found => {
                Err(Deviation::WrongMac { link: self.name.clone(), expected, found })
            }
            _ => Ok(()),
        }
    }

    fn undo(&self, machine: &mut Machine) -> Result<(), Failure> {
        self.come_home(machine)
    }
}
