//! DEL and GC of the `bridge` plugin: what an attachment owns, found by name and tag.

use cni::plugin::{Attachment, Call, ValidAttachments};
use cni::{Code, Error, Owner};
use kernel::link;
use kernel::netlink;
use kernel::plan::{Machine, Side};

use super::config::Config;
use super::{NAMES, addresses_of};
use crate::container;
use crate::error::attempt;
use crate::ipam::Ipam;
use crate::ownership::Live;
use crate::{masquerade, spoof_check};

/// Removes what the attachment owns. Nothing of it being there any more is success.
pub(super) fn del(call: &Call, config: &Config, attachment: &Attachment) -> Result<(), Error> {
    let netns = container::open_if_there(attachment)?;
    let mut machine = match netns {
        Some(netns) => Machine::with_container(netns).map_err(|error| attempt("enter the container's netns", error))?,
        None => Machine::host_only(),
    };
    let owner = attachment.owner(&call.name);
    let mut failures = Failures::default();
    failures.note(links(&mut machine, attachment, &owner));
    failures.note(with_ipam(call, config, Ipam::del));
    if config.mac_spoof_check {
        failures.note(spoof_check::remove(&mut machine, &owner, &owner.host_veth(0)));
    }
    if config.ip_masq && !config.ipam.is_empty() {
        // A previous result of another version than it says is no reason to leave anything behind.
        let known = call.prev_result().ok().flatten().map(|previous| addresses_of(&previous)).unwrap_or_default();
        failures.note(masquerade::remove(&mut machine, &owner, &known));
    }
    failures.into_result()
}

fn with_ipam<'a>(call: &'a Call, config: &Config, work: fn(&Ipam<'a>) -> Result<(), Error>) -> Result<(), Error> {
    Ipam::find(call, &config.ipam)?.map_or(Ok(()), |ipam| work(&ipam))
}

/// Removes the veth pair: by its end in the container, which has one name whoever made it, or, when the container is
/// gone, by the end in the host, in case something still keeps the namespace.
fn links(machine: &mut Machine, attachment: &Attachment, owner: &Owner) -> Result<(), Error> {
    if machine.container_netns().is_some() {
        let ifname = attachment.ifname.as_str();
        match machine.side(Side::Container).and_then(|side| side.call(link::del(ifname))) {
            Ok(()) => return Ok(()),
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(attempt(format_args!("failed to delete \"{ifname}\""), error)),
        }
    }
    let tag = owner.tag();
    for n in 0..NAMES {
        let name = owner.host_veth(n);
        let found = machine.host().and_then(|host| host.link(&name));
        let Some(found) = found.map_err(|error| attempt(format_args!("failed to lookup \"{name}\""), error))? else {
            break;
        };
        if found.alias.as_deref() == Some(tag.as_str()) {
            delete(machine, &name)?;
        }
    }
    Ok(())
}

fn delete(machine: &mut Machine, name: &str) -> Result<(), Error> {
    match machine.host().and_then(|host| host.call(link::del(name))) {
        Err(error) if !error.is_not_found() => Err(attempt(format_args!("failed to delete \"{name}\""), error)),
        _ => Ok(()),
    }
}

/// Removes what belongs to this network and to no valid attachment.
pub(super) fn gc(call: &Call, config: &Config, valid: &ValidAttachments) -> Result<(), Error> {
    let mut machine = Machine::host_only();
    let mut failures = Failures::default();
    failures.note(stale_links(&mut machine, call, valid));
    failures.note(with_ipam(call, config, Ipam::gc));
    // Whatever the configuration says today: it may have said something else when the attachment was made.
    failures.note(spoof_check::gc(&mut machine, &call.name, valid));
    failures.note(masquerade::gc(&mut machine, &call.name, valid));
    failures.into_result()
}

/// Removes the veth pairs whose alias names this network and an attachment that is not valid.
fn stale_links(machine: &mut Machine, call: &Call, valid: &ValidAttachments) -> Result<(), Error> {
    let list = |machine: &mut Machine| -> Result<_, netlink::Error> { machine.host()?.veths() };
    let links = list(machine).map_err(|error| attempt("list the links", error))?;
    let live = Live::of(&call.name, valid);
    let stale = links.into_iter().filter(|link| link.alias.as_deref().is_some_and(|alias| live.is_stale(alias)));
    let mut failures = Failures::default();
    stale.for_each(|link| failures.note(delete(machine, &link.name)));
    failures.into_result()
}

/// Failures along the way, which are no reason to stop.
#[derive(Default)]
struct Failures(Vec<Error>);

impl Failures {
    fn note(&mut self, result: Result<(), Error>) {
        self.0.extend(result.err());
    }

    /// The only failure as it is, several as one.
    fn into_result(mut self) -> Result<(), Error> {
        match self.0.len() {
            0 => Ok(()),
            1 => self.0.pop().map_or(Ok(()), Err),
            _ => {
                let texts: Vec<String> = self.0.iter().map(ToString::to_string).collect();
                let code = self.0.first().map_or(Code::INTERNAL, |error| error.code);
                Err(Error::new(code, texts.join("\n")))
            }
        }
    }
}
