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
    let record = Record::read(directory, &request.owner);
    let ifname = request.attachment.ifname.as_str();
    match (lent(machine, ifname, record.as_ref())?, &record) {
        (Some(device), _) => {
            let home = home(&device, record.as_ref())?;
            MoveDevice { home, name: device.name, mac: None }.undo(machine).map_err(stays_out)?;
        }
        (None, Some(record)) if !take_in(record, machine, PATIENCE)? && record.physical => {
            // Something keeps its namespace alive. The record stays, so that GC finds the device when it comes.
            let device = &record.home.name;
            request.call.warn(format_args!("the device {device} is neither in the container nor back in the host"));
            return Ok(());
        }
        _ => {}
    }
    forget(record.as_ref())
}

/// The device in the container. Without a record that is the link of the attachment's name. With one it has two of the
/// three that it had: name, alias, hardware address; so a container that changes one of them does not lose it, and what it
/// puts in the device's place is not taken for it.
pub(super) fn lent(machine: &mut Machine, ifname: &str, record: Option<&Record>) -> Result<Option<Link>, Error> {
    if machine.container_netns().is_none() {
        return Ok(None);
    }
    let inside = machine.side(Side::Container);
    let found = match record {
        None => inside.and_then(|side| side.link(ifname)),
        Some(record) => {
            let is_it = |link: &Link| {
                let marks = [link.name == ifname, is_marked(link, record), link.mac == record.mac];
                marks.iter().filter(|mark| **mark).count() >= 2
            };
            inside.and_then(|side| side.links()).map(|links| links.into_iter().find(is_it))
        }
    };
    found.map_err(|error| attempt("look at the container's links", error))
}

fn is_marked(link: &Link, record: &Record) -> bool {
    link.alias.as_ref() == Some(&record.home.name)
}

/// How the device is to be in the host. Without a record it was lent by the Go suite, which leaves devices down.
fn home(device: &Link, record: Option<&Record>) -> Result<Home, Error> {
    let alias = device.alias.clone().filter(|alias| !alias.is_empty());
    match (record, alias) {
        (Some(record), _) => Ok(record.home.clone()),
        (None, Some(name)) => Ok(Home { name, ..Home::default() }),
        (None, None) => {
            let name = &device.name;
            Err(Error::internal(format!("failed to find original ifname for \"{name}\" (alias is not set)")))
        }
    }
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
        let is_lost = |link: &&Link| is_marked(link, record) && (link.mac == record.mac || link.kind.is_none());
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
        let never_left = links.iter().any(|link| link.name == *device && link.mac == record.mac);
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
    // The path may be another container's by now, with another link of that name.
    match lent(&mut machine, &record.ifname, Some(record))? {
        Some(device) => {
            let step = MoveDevice { home: record.home.clone(), name: device.name, mac: record.mac };
            step.undo(&mut machine).map_err(stays_out)?;
        }
        None if !take_in(record, &mut machine, Duration::ZERO)? && record.physical => return Ok(()),
        None => {}
    }
    forget(Some(record))
}
