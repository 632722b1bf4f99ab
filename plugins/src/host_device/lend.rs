//! Lending a device, and getting it back from wherever it is.

use std::fmt;
use std::os::fd::AsFd as _;
use std::path::Path;

use cni::plugin::ValidAttachments;
use cni::{Error, NetName};
use kernel::link;
use kernel::netlink;
use kernel::netns::NetNs;
use kernel::plan::{Deviation, Failure, Home, Machine, MoveDevice, Side, Step};

use super::record::Record;
use crate::error::{attempt, from_failure};
use crate::failures::Failures;
use crate::lifecycle::Request;
use crate::ownership::Live;

/// The move of a device, with a record of how it was.
#[derive(Clone, Debug)]
pub(super) struct Lend {
    pub(super) record: Record,
    pub(super) step: MoveDevice,
}

impl fmt::Display for Lend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.step.fmt(f)
    }
}

impl Step for Lend {
    fn refused(&self, error: netlink::Error) -> Result<(), Failure> {
        self.step.refused(error)
    }

    fn apply(&self, machine: &mut Machine) -> Result<(), Failure> {
        // Before the move: whatever happens from then on, the device finds home.
        self.record.write().map_err(|error| {
            let device = &self.step.home.name;
            Failure::other(self, format!("failed to remember how {device} is, in {}: {error}", self.record))
        })?;
        self.step.apply(machine).inspect_err(|_| {
            let _ = self.record.remove();
        })
    }

    fn check(&self, machine: &mut Machine) -> Result<(), Deviation> {
        self.step.check(machine)
    }

    fn undo(&self, machine: &mut Machine) -> Result<(), Failure> {
        self.step.undo(machine)?;
        self.record.remove().map_err(|error| Failure::other(self, format!("failed to remove {}: {error}", self.record)))
    }
}

/// Takes an attachment's device back: out of the container, or out of the crowd of the host's links, where the kernel puts
/// it when the container's namespace dies first. That there is none is fine.
pub(super) fn take_back(request: &Request<'_>, directory: &Path, machine: &mut Machine) -> Result<(), Error> {
    let record = Record::read(directory, &request.owner);
    let name = request.attachment.ifname.to_string();
    let lent = match machine.container_netns() {
        Some(_) => machine.side(Side::Container).and_then(|side| side.link(&name)),
        None => Ok(None),
    };
    match (lent.map_err(|error| attempt("look at the container's links", error))?, &record) {
        (Some(device), _) => {
            let home = home(&name, device.alias, record.as_ref())?;
            MoveDevice { home, name, mac: None }.undo(machine).map_err(from_failure)?;
        }
        (None, Some(record)) => take_in(record, machine)?,
        (None, None) => {}
    }
    forget(record.as_ref())
}

/// How the device is to be in the host. Without a record it was lent by the Go suite, which leaves devices down.
fn home(name: &str, alias: Option<String>, record: Option<&Record>) -> Result<Home, Error> {
    let alias = alias.filter(|alias| !alias.is_empty());
    match (record, alias) {
        (Some(record), _) => Ok(record.home.clone()),
        (None, Some(name)) => Ok(Home { name, ..Home::default() }),
        (None, None) => {
            Err(Error::internal(format!("failed to find original ifname for \"{name}\" (alias is not set)")))
        }
    }
}

/// Gives a device that has come back by itself its name and the rest.
fn take_in(record: &Record, machine: &mut Machine) -> Result<(), Error> {
    let device = &record.home.name;
    let failed = |error: netlink::Error| attempt(format_args!("failed to give {device} its name back"), error);
    let links = machine.host().and_then(|host| host.links()).map_err(failed)?;
    let lost =
        links.iter().find(|link| link.alias.as_ref() == Some(device) && link.mac == record.mac && link.name != *device);
    let Some(lost) = lost else { return Ok(()) };
    if links.iter().any(|link| link.name == *device) {
        let text = format!("the device {device} has come back as {}, and the host has another {device}", lost.name);
        return Err(Error::internal(text).with_details("rename one of them"));
    }
    let host = machine.host().map_err(failed)?;
    // To where it is already: what counts is the name.
    let request = link::relocate(lost.index, host.netns().as_fd(), device, None);
    host.call(request).map_err(failed)?;
    record.home.restore(machine).map_err(failed)
}

fn forget(record: Option<&Record>) -> Result<(), Error> {
    let Some(record) = record else { return Ok(()) };
    record.remove().map_err(|error| attempt(format_args!("failed to remove {record}"), error))
}

/// Takes back what attachments of the network have that are not valid.
pub(super) fn gc(name: &NetName, valid: &ValidAttachments, directory: &Path) -> Result<(), Error> {
    let live = Live::of(name, valid);
    let records = Record::all(directory).map_err(|error| attempt("look for devices that are lent", error))?;
    let mut failures = Failures::default();
    for record in records.iter().filter(|record| live.is_stale(&record.owner)) {
        failures.note(collect(record));
    }
    failures.into_result()
}

fn collect(record: &Record) -> Result<(), Error> {
    let mut machine = match NetNs::open(&record.netns) {
        Ok(netns) => Machine::with_container(netns).map_err(|error| attempt("enter the container's netns", error))?,
        Err(_) => Machine::host_only(),
    };
    let lent = match machine.container_netns() {
        Some(_) => machine.side(Side::Container).and_then(|side| side.link(&record.ifname)),
        None => Ok(None),
    };
    let lent = lent.map_err(|error| attempt("look at the container's links", error))?;
    // The path may be another container's by now, with another link of that name.
    match lent.filter(|link| link.alias.as_ref() == Some(&record.home.name) && link.mac == record.mac) {
        Some(_) => {
            let step = MoveDevice { home: record.home.clone(), name: record.ifname.clone(), mac: record.mac };
            step.undo(&mut machine).map_err(from_failure)?;
        }
        None => take_in(record, &mut machine)?,
    }
    forget(Some(record))
}
