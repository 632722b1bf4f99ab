//! A pair of links between the host and the container.

use std::fmt;
use std::os::fd::AsFd;

use super::{Deviation, Failure, Machine, Side, Step};
use nix::errno::Errno;

use crate::link::{self, NewEnd, Pair, Port};
use crate::netlink::{Error, Request};
use crate::sysctl;

/// Makes a pair of links: the near end in the host, on a bridge and up if there is one, else down; the far end in the container,
/// down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreatePair {
    /// What it is made of.
    pub kind: Pair,
    /// The end in the host.
    pub near: NewEnd,
    /// The end in the container.
    pub far: NewEnd,
    /// The bridge that the near end becomes a port of.
    pub master: Option<String>,
    /// The flags of that port.
    pub port: Port,
    /// `ifalias` of the near end: whose it is.
    pub alias: String,
}

impl CreatePair {
    fn make(&self, machine: &mut Machine) -> Result<(), Error> {
        let master = match &self.master {
            Some(bridge) => Some(machine.index(Side::Host, bridge)?),
            None => None,
        };
        let Some(netns) = machine.container_netns() else {
            return Err(std::io::Error::other("there is no container namespace").into());
        };
        let near = &self.near.name;
        let mut requests = vec![
            link::new_pair(self.kind, &self.near, master, &self.far, netns.as_fd()),
            link::set_alias(near, &self.alias),
        ];
        if self.port != Port::default() {
            requests.push(link::set_port(near, self.port));
        }
        let mut outcomes = machine.host()?.exchange(&requests)?.into_iter();
        if let Some(Err(refusal)) = outcomes.next() {
            return Err(refusal.into()); // nothing was made
        }
        if let Some(refusal) = outcomes.find_map(Result::err) {
            let _ = machine.host()?.call(link::del(near));
            return Err(refusal.into());
        }
        Ok(())
    }

    fn failure(&self, error: &Error) -> Failure {
        let text = match error {
            _ if error.is_exists() => format!(
                "container veth name (\"{}\") peer provided (\"{}\") already exists",
                self.far.name, self.near.name
            ),
            _ if error.errno() == Some(Errno::EOPNOTSUPP) => format!(
                "failed to make {0} pair: {error}: this kernel has no {0} (netkit needs Linux 6.7)",
                self.kind.as_str()
            ),
            _ => format!("failed to make {} pair: {error}", self.kind.as_str()),
        };
        Failure { text, step: self.to_string(), errno: error.errno() }
    }
}

impl fmt::Display for CreatePair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mtu = |end: &NewEnd| end.mtu.map_or_else(String::new, |mtu| format!(" mtu {mtu}"));
        let (near, far) = (&self.near, &self.far);
        write!(f, "ip link add {} address {}{}", near.name, near.mac, mtu(near))?;
        if let Some(master) = &self.master {
            write!(f, " master {master} up")?;
        }
        write!(f, " type {} peer {} address {}{} netns [container]", self.kind, far.name, far.mac, mtu(far))?;
        write!(f, "\nip link set {} alias \"{}\"", near.name, self.alias)?;
        if self.port != Port::default() {
            let flag = |name, on| if on { name } else { "" };
            let hairpin = flag(" hairpin on", self.port.hairpin);
            let isolated = flag(" isolated on", self.port.isolated);
            write!(f, "\nip link set {} type bridge_slave{hairpin}{isolated}", near.name)?;
        }
        Ok(())
    }
}

impl Step for CreatePair {
    fn refused(&self, error: Error) -> Result<(), Failure> {
        Err(self.failure(&error))
    }

    fn apply(&self, machine: &mut Machine) -> Result<(), Failure> {
        self.make(machine).map_err(|error| self.failure(&error))?;
        // A container must not configure the host by router advertisements.
        let _ = sysctl::write(&format!("net/ipv6/conf/{}/accept_ra", self.near.name), "0");
        Ok(())
    }

    fn check(&self, machine: &mut Machine) -> Result<(), Deviation> {
        let far = machine.side(Side::Container)?.link(&self.far.name)?;
        let far = far.ok_or_else(|| Deviation::LinkMissing(self.far.name.clone()))?;
        let wrong_kind =
            |end: &NewEnd| Deviation::WrongKind { link: end.name.clone(), expected: self.kind.as_str().into() };
        let wrong_mac = |end: &NewEnd, found| Deviation::WrongMac { link: end.name.clone(), expected: end.mac, found };
        if !far.is(self.kind.as_str()) {
            return Err(wrong_kind(&self.far));
        }
        if let Some(found) = far.mac.filter(|found| *found != self.far.mac) {
            return Err(wrong_mac(&self.far, found));
        }
        let near = machine.host()?.link(&self.near.name)?;
        let near = near.ok_or_else(|| Deviation::LinkMissing(self.near.name.clone()))?;
        if !near.is(self.kind.as_str()) || near.peer != Some(far.index) {
            return Err(wrong_kind(&self.near));
        }
        if let Some(found) = near.mac.filter(|found| *found != self.near.mac) {
            return Err(wrong_mac(&self.near, found));
        }
        let Some(master) = &self.master else { return Ok(()) };
        let expected = machine.host()?.link(master)?.map(|bridge| bridge.index);
        if expected.is_none() || near.master != expected {
            return Err(Deviation::NotPort { link: near.name, master: master.clone() });
        }
        Ok(())
    }

    fn undo(&self, machine: &mut Machine) -> Result<(), Failure> {
        machine.forget(Side::Container, &self.far.name);
        match machine.host().and_then(|host| host.call(link::del(&self.near.name))) {
            Err(error) if !error.is_not_found() => {
                Err(Failure::new(self, format_args!("failed to delete \"{}\"", self.near.name), &error))
            }
            _ => Ok(()),
        }
    }
}

/// Sends requests in the host's namespace; the first refusal counts.
pub(super) fn on_host(machine: &mut Machine, requests: &[Request]) -> Result<(), Error> {
    if requests.is_empty() {
        return Ok(());
    }
    let outcomes = machine.host()?.exchange(requests)?;
    outcomes.into_iter().find_map(Result::err).map_or(Ok(()), |refusal| Err(refusal.into()))
}
