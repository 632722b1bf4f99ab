//! Lending a device, and getting it back from wherever it is.

use std::fmt;
use std::os::fd::AsFd as _;
use std::path::Path;
use std::time::{Duration, Instant};

use cni::plugin::ValidAttachments;
use cni::{Error, NetName};
use kernel::link::{self, Link};
use kernel::netlink::{self, LINKS, Monitor};
use kernel::netns::NetNs;
use kernel::plan::{Deviation, Failure, Home, Machine, MoveDevice, Side, Step};
use nix::errno::Errno;

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

/// How long the kernel may take to send a device back. It takes a namespace down in a work item, some time after the last
/// process has left (`cleanup_net`).
const PATIENCE: Duration = Duration::from_secs(2);

/// Takes an attachment's device back: out of the container, or out of the crowd of the host's links, where the kernel puts
/// it when the container's namespace dies first. That there is none is fine.
pub(super) fn take_back(request: &Request<'_>, directory: &Path, machine: &mut Machine) -> Result<(), Error> {
    let Some(record) = Record::read(directory, &request.owner) else {
        Record::remove_draft(directory, &request.owner);
        return take_unrecorded(request, machine);
    };
    // The runtime may not know the namespace any more, and it may be there all the same.
    let is_told = machine.container_netns().is_some();
    let found = if is_told {
        recover(&record, machine, PATIENCE)?
    } else {
        recover(&record, &mut whereabouts(&record)?, PATIENCE)?
    };
    if !found {
        let device = &record.home.name;
        request.call.warn(format_args!("the device {device} is neither in the container nor back in the host"));
    }
    Ok(())
}

/// Takes back a device of which there is no record: the Go suite has lent it, and leaves devices down.
fn take_unrecorded(request: &Request<'_>, machine: &mut Machine) -> Result<(), Error> {
    let Some(device) = lent(machine, request.attachment.ifname.as_str(), None)? else { return Ok(()) };
    let name = device.name;
    let Some(home) = device.alias.filter(|alias| !alias.is_empty()) else {
        return Err(Error::internal(format!("failed to find original ifname for \"{name}\" (alias is not set)")));
    };
    MoveDevice { home: Home { name: home, ..Home::default() }, name, mac: None }.undo(machine).map_err(stays_out)
}

/// Takes a device of which there is a record back. A physical one that is nowhere may come yet, when whatever keeps its
/// namespace alive ends: then the answer is no, and the record stays, so that GC finds the device.
fn recover(record: &Record, machine: &mut Machine, patience: Duration) -> Result<bool, Error> {
    match lent(machine, &record.ifname, Some(record))? {
        Some(device) => {
            let step = MoveDevice { home: record.home.clone(), name: device.name, mac: record.mac };
            step.undo(machine).map_err(stays_out)?;
        }
        None if !take_in(record, machine, patience)? && record.physical => return Ok(false),
        None => {}
    }
    record.remove().map_err(|error| attempt(format_args!("failed to remove {record}"), error))?;
    Ok(true)
}

/// The host, with the container's namespace if that is still where it was.
fn whereabouts(record: &Record) -> Result<Machine, Error> {
    match NetNs::open(&record.netns) {
        Ok(netns) => Machine::with_container(netns).map_err(|error| attempt("enter the container's netns", error)),
        Err(_) => Ok(Machine::host_only()),
    }
}

/// The device in the container. Without a record that is the link of the attachment's name. With one it has two of its
/// marks: name, alias, hardware address and, if it is physical, being that, which no container can make. So a container that
/// changes one of them does not lose it, and what it puts in the device's place is not taken for it.
pub(super) fn lent(machine: &mut Machine, ifname: &str, record: Option<&Record>) -> Result<Option<Link>, Error> {
    if machine.container_netns().is_none() {
        return Ok(None);
    }
    let inside = machine.side(Side::Container);
    let found = match record {
        None => inside.and_then(|side| side.link(ifname)),
        Some(record) => {
            let marks = |link: &Link| {
                let physical = record.physical && link.kind.is_none();
                let marks = [link.name == ifname, is_marked(link, record), has_address(link, record), physical];
                marks.iter().filter(|mark| **mark).count()
            };
            let likely = |links: Vec<Link>| links.into_iter().filter(|link| marks(link) >= 2).max_by_key(marks);
            inside.and_then(|side| side.links()).map(likely)
        }
    };
    found.map_err(|error| attempt("look at the container's links", error))
}

fn is_marked(link: &Link, record: &Record) -> bool {
    link.alias.as_ref() == Some(&record.home.name)
}

fn has_address(link: &Link, record: &Record) -> bool {
    link.mac.is_some() && link.mac == record.mac
}

/// Gives a device that has come back by itself its name and the rest, and waits for one that can come. Whether it is at
/// home now.
pub(super) fn take_in(record: &Record, machine: &mut Machine, patience: Duration) -> Result<bool, Error> {
    let device = &record.home.name;
    let failed = |error: netlink::Error| attempt(format_args!("failed to give {device} its name back"), error);
    let deadline = Instant::now() + patience;
    // Subscribe first, then look: what happens in between is not lost.
    let monitor = Monitor::open(LINKS).map_err(|error| failed(error.into()))?;
    loop {
        let links = machine.host().and_then(|host| host.links()).map_err(failed)?;
        let is_lost = |link: &&Link| is_marked(link, record) && (has_address(link, record) || link.kind.is_none());
        if let Some(lost) = links.iter().find(is_lost) {
            if links.iter().any(|link| link.name == *device && link.index != lost.index) {
                let text =
                    format!("the device {device} has come back as {}, and the host has another {device}", lost.name);
                return Err(Error::internal(text).with_details("rename one of them"));
            }
            let host = machine.host().map_err(failed)?;
            // To where it is already: what counts is the name.
            let request = link::relocate(lost.index, host.netns().as_fd(), device, None);
            host.call(request).and_then(|()| record.home.restore(machine)).map_err(failed)?;
            return Ok(true);
        }
        let never_left = links.iter().any(|link| link.name == *device && has_address(link, record));
        if never_left || !record.physical || !monitor.wait(deadline).map_err(|error| failed(error.into()))? {
            return Ok(never_left);
        }
    }
}

/// A device that can't come home. The text is the Go suite's.
fn stays_out(failure: Failure) -> Error {
    match failure.errno {
        Some(Errno::EEXIST) => {
            Error::internal(failure.text).with_details("the host has another link of that name: rename one of them")
        }
        _ => from_failure(failure),
    }
}

/// Takes back what attachments of the network have that are not valid.
pub(super) fn gc(name: &NetName, valid: &ValidAttachments, directory: &Path) -> Result<(), Error> {
    let live = Live::of(name, valid);
    let records = Record::all(directory).map_err(|error| attempt("look for devices that are lent", error))?;
    let mut failures = Failures::default();
    for record in records.iter().filter(|record| live.is_stale(&record.owner)) {
        // The path may be another container's by now, with another link of that name; the marks tell.
        failures
            .note(whereabouts(record).and_then(|mut machine| recover(record, &mut machine, Duration::ZERO)).map(drop));
    }
    failures.into_result()
}
