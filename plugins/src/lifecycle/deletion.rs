//! DEL and GC.

use std::net::IpAddr;

use cni::Error;
use cni::plugin::{Attachment, Call, ValidAttachments};
use kernel::address::Address;
use kernel::plan::{Machine, Side};

use super::{Network, Request, find_ipam};
use crate::container;
use crate::error::attempt;
use crate::failures::Failures;
use crate::ipam::Ipam;

/// Serves DEL. Nothing of the attachment being there any more is success.
///
/// # Errors
///
/// Everything that could not be removed.
pub fn del(call: &Call, attachment: &Attachment, network: &dyn Network) -> Result<(), Error> {
    let mut machine = match container::open_if_there(attachment)? {
        Some(netns) => Machine::with_container(netns).map_err(|error| attempt("enter the container's netns", error))?,
        None => Machine::host_only(),
    };
    let request = Request::new(call, attachment);
    let known = if network.wants_addresses() { addresses(&request, &mut machine) } else { Vec::new() };
    let mut failures = Failures::default();
    match network.del_links(&request, &mut machine) {
        Ok(()) => failures.note(with_ipam(call, network, Ipam::del)),
        // The lease stays as long as a link may have the address.
        refused => failures.note(refused),
    }
    failures.note(network.del_rules(&request.owner, &known, &mut machine));
    failures.into_result()
}

/// Serves GC: removes what belongs to the network and to no valid attachment.
///
/// # Errors
///
/// Everything that could not be removed.
pub fn gc(call: &Call, valid: &ValidAttachments, network: &dyn Network) -> Result<(), Error> {
    let mut failures = Failures::default();
    failures.note(network.gc(&call.name, valid, &mut Machine::host_only()));
    failures.note(with_ipam(call, network, Ipam::gc));
    failures.into_result()
}

fn with_ipam<'a>(call: &'a Call, network: &dyn Network, work: fn(&Ipam<'a>) -> Result<(), Error>) -> Result<(), Error> {
    find_ipam(call, network)?.map_or(Ok(()), |ipam| work(&ipam))
}

/// The addresses of the attachment: as the previous result has them, else as the link has them, as long as it is there.
/// With them nothing needs to be searched, and nothing of another interface of the container is taken for this one's.
fn addresses(request: &Request<'_>, machine: &mut Machine) -> Vec<IpAddr> {
    // A previous result of another version than it says is no reason to leave anything behind.
    let previous = request.call.prev_result().ok().flatten();
    let recorded: Vec<IpAddr> =
        previous.map(|previous| previous.ips.iter().map(|ip| ip.address.ip()).collect()).unwrap_or_default();
    if !recorded.is_empty() || machine.container_netns().is_none() {
        return recorded;
    }
    let Ok(index) = machine.index(Side::Container, request.attachment.ifname.as_str()) else { return recorded };
    let found = [false, true].map(|is_ipv6| machine.side(Side::Container)?.addresses(index, is_ipv6));
    let found = found.into_iter().filter_map(Result::ok).flatten();
    found.filter(Address::is_global_unicast).map(|address| address.network.ip()).collect()
}
