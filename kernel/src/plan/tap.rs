//! A tap device of the container's.

use std::fmt;
use std::io;

use super::{Deviation, Failure, Machine, Side, Step};
use crate::link::{self, Settings};
use crate::netlink::Error;
use crate::tun::{self, NewTap};

/// Makes a tap device in the container, down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateTap {
    /// The device.
    pub tap: NewTap,
    /// The SELinux context of the process that makes it; none for that of this one.
    pub label: Option<String>,
    /// What is set before it goes up.
    pub settings: Settings,
    /// The bridge, in the container, that it becomes a port of.
    pub bridge: Option<String>,
}

impl CreateTap {
    fn make(&self, machine: &mut Machine) -> Result<(), Failure> {
        let name = &self.tap.name;
        let netns = machine.container_netns().ok_or_else(|| Failure::other(self, "there is no container namespace"))?;
        let create = || self.label.as_ref().map_or_else(|| self.tap.create(), |label| self.tap.create_as(label));
        let created = netns.run(create).map_err(io::Error::other).and_then(|made| made);
        created.map_err(|error| Failure {
            text: format!("failed to create tap \"{name}\": {}", reason(&error)),
            step: self.to_string(),
            errno: error.raw_os_error().map(nix::errno::Errno::from_raw),
        })?;
        let configured = self.configure(machine);
        if configured.is_err() {
            let _ = machine.side(Side::Container).and_then(|side| side.call(link::del(name)));
        }
        configured
    }

    fn configure(&self, machine: &mut Machine) -> Result<(), Failure> {
        let name = &self.tap.name;
        if !self.settings.is_empty() {
            let set = machine.side(Side::Container).and_then(|side| side.call(self.settings.request(name)));
            set.map_err(|error| {
                Failure::new(self, format_args!("failed to set {} of tap {name}", self.settings), &error)
            })?;
        }
        let Some(bridge) = &self.bridge else { return Ok(()) };
        let index = machine.index(Side::Container, bridge);
        let index = index.map_err(|error| Failure::new(self, format_args!("failed to get bridge {bridge}"), &error))?;
        let set = machine.side(Side::Container).and_then(|side| side.call(link::set_master(name, Some(index))));
        set.map_err(|error| {
            Failure::new(self, format_args!("failed to set tap {name} as a port of bridge {bridge}"), &error)
        })
    }
}

/// The kernel's reason in a sentence, and what to do where there is something.
fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "/dev/net/tun is missing: load the module tun".to_owned(),
        _ => tun::words(error),
    }
}

impl fmt::Display for CreateTap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (side, name) = (Side::Container, &self.tap.name);
        write!(f, "{side}{}", self.tap)?;
        if !self.settings.is_empty() {
            write!(f, "\n{side}ip link set {name} {}", self.settings)?;
        }
        self.bridge.as_ref().map_or(Ok(()), |bridge| write!(f, "\n{side}ip link set {name} master {bridge}"))
    }
}

impl Step for CreateTap {
    fn refused(&self, error: Error) -> Result<(), Failure> {
        Err(Failure::new(self, format_args!("failed to create tap \"{}\"", self.tap.name), &error))
    }

    fn apply(&self, machine: &mut Machine) -> Result<(), Failure> {
        self.make(machine)
    }

    fn check(&self, machine: &mut Machine) -> Result<(), Deviation> {
        let name = &self.tap.name;
        let found = machine.side(Side::Container)?.link(name)?.ok_or_else(|| Deviation::LinkMissing(name.clone()))?;
        if !found.is("tun") {
            return Err(Deviation::WrongKind { link: name.clone(), expected: "tap".into() });
        }
        if let (Some(expected), Some(found)) = (self.settings.mac, found.mac)
            && expected != found
        {
            return Err(Deviation::WrongMac { link: name.clone(), expected, found });
        }
        let Some(bridge) = &self.bridge else { return Ok(()) };
        let expected = machine.side(Side::Container)?.link(bridge)?.map(|bridge| bridge.index);
        if expected.is_none() || found.master != expected {
            return Err(Deviation::NotPort { link: name.clone(), master: bridge.clone() });
        }
        Ok(())
    }

    fn undo(&self, machine: &mut Machine) -> Result<(), Failure> {
        let name = &self.tap.name;
        machine.forget(Side::Container, name);
        match machine.side(Side::Container).and_then(|side| side.call(link::del(name))) {
            Err(error) if !error.is_not_found() => {
                Err(Failure::new(self, format_args!("failed to delete \"{name}\""), &error))
            }
            _ => Ok(()),
        }
    }
}
