//! A link of the container's that is on another link, or on none.

use std::fmt;
use std::os::fd::AsFd;

use super::{Deviation, Failure, Machine, Side, Step};
use crate::link::{self, Kind, NewChild};
use crate::netlink::{Error, Request};

/// Makes a link in the container, down, on a parent wherever that is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateChild {
    /// The link.
    pub link: NewChild,
    /// What it is on: where that is, and its name.
    pub parent: Option<(Side, String)>,
}

impl CreateChild {
    /// The namespace that the request is sent in: the parent's.
    fn side(&self) -> Side {
        self.parent.as_ref().map_or(Side::Container, |(side, _)| *side)
    }
}

impl fmt::Display for CreateChild {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let NewChild { name, kind, mtu, mac } = &self.link;
        write!(f, "{}ip link add", self.side())?;
        if let Some((_, parent)) = &self.parent {
            write!(f, " link {parent}")?;
        }
        write!(f, " name {name}")?;
        mac.map_or(Ok(()), |mac| write!(f, " address {mac}"))?;
        mtu.map_or(Ok(()), |mtu| write!(f, " mtu {mtu}"))?;
        if self.side() == Side::Host {
            f.write_str(" netns [container]")?;
        }
        write!(f, " type {kind}")
    }
}

impl Step for CreateChild {
    fn request(&self, machine: &mut Machine) -> Result<Option<(Side, Request)>, Failure> {
        let parent = match &self.parent {
            Some((side, name)) => Some(
                machine
                    .index(*side, name)
                    .map_err(|error| Failure::new(self, format_args!("failed to lookup master \"{name}\""), &error))?,
            ),
            None => None,
        };
        let netns = match (self.side(), machine.container_netns()) {
            (Side::Container, _) => None,
            (Side::Host, Some(netns)) => Some(netns.as_fd()),
            (Side::Host, None) => return Err(Failure::other(self, "there is no container namespace")),
        };
        Ok(Some((self.side(), self.link.request(parent, netns))))
    }

    fn refused(&self, error: Error) -> Result<(), Failure> {
        let kind = self.link.kind.as_str();
        if let (true, Kind::Vlan(id), Some((_, parent))) = (error.is_exists(), self.link.kind, &self.parent) {
            // Its name was free a moment ago.
            let text =
                format!("failed to create vlan: {error}: {parent} can have one link of VLAN {id}, wherever that is");
            return Err(Failure { text, step: self.to_string(), errno: error.errno() });
        }
        // The name of a link that has a parent is taken: the Go suite notices when it renames the link.
        if error.is_exists() && self.parent.is_some() {
            return Err(Failure::new(self, format_args!("failed to rename {kind} to \"{}\"", self.link.name), &error));
        }
        Err(Failure::new(self, format_args!("failed to create {kind}"), &error))
    }

    fn check(&self, machine: &mut Machine) -> Result<(), Deviation> {
        let name = &self.link.name;
        let found = machine.side(Side::Container)?.link(name)?.ok_or_else(|| Deviation::LinkMissing(name.clone()))?;
        let kind = self.link.kind;
        if !found.is(kind.as_str()) {
            return Err(Deviation::WrongKind { link: name.clone(), expected: kind.as_str().into() });
        }
        if !found.child.is_some_and(|found| kind.is_same(found)) {
            let found = found.child.map_or_else(|| "another mode".into(), |found| found.to_string());
            return Err(Deviation::WrongOptions { link: name.clone(), expected: kind.to_string(), found });
        }
        match (self.link.mac, found.mac) {
            (Some(expected), Some(found)) if expected != found => {
                Err(Deviation::WrongMac { link: name.clone(), expected, found })
            }
            _ => Ok(()),
        }
    }

    fn undo(&self, machine: &mut Machine) -> Result<(), Failure> {
        let name = &self.link.name;
        machine.forget(Side::Container, name);
        match machine.side(Side::Container).and_then(|side| side.call(link::del(name))) {
            Err(error) if !error.is_not_found() => {
                Err(Failure::new(self, format_args!("failed to delete \"{name}\""), &error))
            }
            _ => Ok(()),
        }
    }
}
