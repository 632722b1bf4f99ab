//! DEL and GC of the `bandwidth` plugin.

use std::thread::sleep;
use std::time::{Duration, Instant};

use cni::plugin::{Attachment, Call, ValidAttachments};
use cni::{Error, NetName};
use kernel::link::{self, Link};
use kernel::netlink;
use kernel::netlink::Request;
use kernel::plan::Machine;
use kernel::tc;
use nix::errno::Errno;

use super::block::{self, Blocks};
use super::config::Config;
use super::place;
use crate::container;
use crate::error::attempt;
use crate::failures::Failures;
use crate::ownership::Live;
use crate::records::Records;

/// Removes what the attachment owns: its block and, as long as the host's end of the pair is there, the limits on that.
/// Nothing of it being there any more is success.
pub(super) fn del(call: &Call, config: &Config, attachment: &Attachment) -> Result<(), Error> {
    let owner = attachment.owner(&call.name);
    let blocks = Blocks::of(&owner);
    if config.is_empty() && blocks.to_remove(&block::look(&blocks, &mut Machine::host_only())?).is_empty() {
        return Ok(()); // nothing was limited
    }
    // The namespace helps to find the pair; nothing depends on it.
    let netns = container::open_if_there(attachment).ok().flatten();
    let inside = netns.and_then(|netns| Machine::with_container(netns).ok());
    let machine = &mut inside.unwrap_or_else(Machine::host_only);
    // A previous result of another version than it says is no reason to leave anything behind.
    let previous = call.prev_result().ok().flatten();
    let (veth, found) =
        place::host_end_if_there(machine, attachment, previous.as_ref(), &owner.tag(), &blocks.requests())?;
    let removed = blocks.to_remove(&found);
    let mut removal = Removal::default();
    if let Some(veth) = veth {
        removal.push(tc::del_bucket(veth.index), format!("remove the limit of \"{}\"", veth.name));
        if config.egress.is_some() || !removed.is_empty() {
            removal.push(tc::del_ingress(veth.index), format!("remove the redirection of \"{}\"", veth.name));
        }
    }
    // Last: what is redirected to a block that is gone, is dropped.
    removed.into_iter().for_each(|link| removal.push_link(link));
    removal.carry_out(machine)
}

/// Removes the blocks that belong to this network and to no valid attachment. Their links' other limits go with the links.
pub(super) fn gc(name: &NetName, valid: &ValidAttachments, machine: &mut Machine) -> Result<(), Error> {
    let links = machine.host().and_then(|host| host.ifbs()).map_err(|error| attempt("list the links", error))?;
    let live = Live::of(name, valid);
    let mut removal = Removal::default();
    let (unowned, owned): (Vec<Link>, Vec<Link>) = links.into_iter().partition(block::is_unowned);
    let is_stale = |link: &&Link| link.alias.as_deref().is_some_and(|alias| live.is_stale(alias));
    owned.iter().filter(is_stale).for_each(|link| removal.push_link(link));
    if unowned.iter().any(|link| link.name.starts_with(block::PREFIX)) {
        let names = stale_names(name, valid)?;
        unowned.iter().filter(|link| names.contains(&link.name)).for_each(|link| removal.push_link(link));
    }
    removal.carry_out(machine)
}

/// The names of blocks without owner whose attachment is on record as one of this network and is not valid. The Go suite's
/// name does not say which interface it is about, so it stays as long as the container has any.
fn stale_names(net: &NetName, valid: &ValidAttachments) -> Result<Vec<String>, Error> {
    let records = Records::of(net).map_err(|error| attempt("read what is known about attachments", error))?;
    let mut names = Vec::new();
    for record in records.iter() {
        if !valid.contains_id(&record.id) {
            names.push(block::go_name(net, &record.id));
        }
        let ifname = record.ifname.as_deref().filter(|ifname| !valid.contains(&record.id, ifname));
        names.extend(ifname.map(|ifname| block::own_name(net, &record.id, ifname)));
    }
    Ok(names)
}

/// How long a removal is tried that the kernel is too busy for.
const PATIENCE: Duration = Duration::from_secs(2);

/// Things to remove in one message, each with what to say if that fails.
#[derive(Default)]
struct Removal {
    requests: Vec<Request>,
    attempts: Vec<String>,
}

impl Removal {
    fn push(&mut self, request: Request, attempt: String) {
        self.requests.push(request);
        self.attempts.push(attempt);
    }

    fn push_link(&mut self, link: &Link) {
        self.push(link::del(&link.name), format!("failed to delete \"{}\"", link.name));
    }

    /// Goes on through refusals. What is gone already is fine. As long as somebody is still at work on the filters of a queueing
    /// discipline, such as an ADD that nobody waits for any more, the kernel refuses to remove that and tells to come again
    /// (net/sched/sch_api.c, `qdisc_graft`); there is no event for it.
    fn carry_out(self, machine: &mut Machine) -> Result<(), Error> {
        let deadline = Instant::now() + PATIENCE;
        let mut failures = Failures::default();
        let Self { mut requests, mut attempts } = self;
        while !requests.is_empty() {
            let outcomes = machine.host().and_then(|host| host.exchange(&requests));
            let outcomes = outcomes.map_err(|error| attempt("remove the limits", error))?;
            let mut again = Self::default();
            for ((request, what), outcome) in requests.into_iter().zip(attempts).zip(outcomes) {
                match outcome.map_err(netlink::Error::from) {
                    Err(error) if error.errno() == Some(Errno::EBUSY) && Instant::now() < deadline => {
                        again.push(request, what);
                    }
                    Err(error) if !tc::is_not_there(&error) => failures.note(Err(attempt(what, error))),
                    _ => {}
                }
            }
            Self { requests, attempts } = again;
            if !requests.is_empty() {
                sleep(Duration::from_millis(5));
            }
        }
        failures.into_result()
    }
}
