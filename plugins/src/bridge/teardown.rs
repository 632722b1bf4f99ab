//! DEL and GC of the `bridge` plugin: what an attachment owns, found by name and tag.

use std::net::IpAddr;

use cni::plugin::{Attachment, Call, ValidAttachments};
use cni::{Code, Error, Owner};
use kernel::address::Address;
use kernel::link::{self, Link};
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
    let masquerades = config.ip_masq && !config.ipam.is_empty();
    let known = if masquerades { known_addresses(call, &mut machine, attachment) } else { Vec::new() };
    match links(&mut machine, attachment, &owner) {
        Ok(()) => failures.note(with_ipam(call, config, Ipam::del)),
        // The lease stays as long as a link may have the address.
        refused => failures.note(refused),
    }
    if config.mac_spoof_check {
        failures.note(spoof_check::remove(&mut machine, &owner, &owner.host_veth(0)));
    }
    if masquerades {
        failures.note(masquerade::remove(&mut machine, &owner, &known));
    }
    failures.into_result()
}

/// The addresses of the attachment: as the previous result has them, else as the link has them, as long as it is there.
/// With them nothing needs to be searched, and nothing of another interface of the container is taken for this one's.
fn known_addresses(call: &Call, machine: &mut Machine, attachment: &Attachment) -> Vec<IpAddr> {
    // A previous result of another version than it says is no reason to leave anything behind.
    let recorded = call.prev_result().ok().flatten().map(|previous| addresses_of(&previous)).unwrap_or_default();
    if !recorded.is_empty() || machine.container_netns().is_none() {
        return recorded;
    }
    let Ok(index) = machine.index(Side::Container, attachment.ifname.as_str()) else { return recorded };
    let found = [false, true].map(|is_ipv6| machine.side(Side::Container)?.addresses(index, is_ipv6));
    let found = found.into_iter().filter_map(Result::ok).flatten();
    found.filter(Address::is_global_unicast).map(|address| address.network.ip()).collect()
}

fn with_ipam<'a>(call: &'a Call, config: &Config, work: fn(&Ipam<'a>) -> Result<(), Error>) -> Result<(), Error> {
    Ipam::find(call, &config.ipam)?.map_or(Ok(()), |ipam| work(&ipam))
}

/// Removes the veth pair: by its end in the container, which has one name whoever made it; and by the end in the host, in
/// case something still keeps a namespace that is not the container's any more.
fn links(machine: &mut Machine, attachment: &Attachment, owner: &Owner) -> Result<(), Error> {
    if machine.container_netns().is_some() {
        let ifname = attachment.ifname.as_str();
        match machine.side(Side::Container).and_then(|side| side.call(link::del(ifname))) {
            Err(error) if !error.is_not_found() => {
                return Err(attempt(format_args!("failed to delete \"{ifname}\""), error));
            }
            _ => {}
        }
    }
    let names: Vec<String> = (0..NAMES).map(|n| owner.host_veth(n)).collect();
    let found = machine.host().and_then(|host| host.links_named(&names));
    let tag = owner.tag();
    let mine = |link: &Link| link.alias.as_deref() == Some(tag.as_str());
    let mut found = found.map_err(|error| attempt("look at the links", error))?.into_iter().filter(mine);
    found.try_for_each(|link| delete(machine, &link.name))
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
