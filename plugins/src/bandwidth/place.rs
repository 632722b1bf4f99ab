//! Where the limits go: the host's end of the container's veth pair.

use cni::Error;
use cni::plugin::Attachment;
use cni::result::AddResult;
use kernel::link::{self, Link};
use kernel::netlink::Request;
use kernel::plan::{Machine, Side};

use crate::error::attempt;

/// The host's end of the container's veth pair, and what `others` find, looked up in the same message.
///
/// # Errors
///
/// When the container's link is no veth, its other end is not here, or the previous result does not know that end; in the
/// words of the Go suite.
pub(super) fn host_end(
    machine: &mut Machine,
    attachment: &Attachment,
    previous: &AddResult,
    others: &[Request],
) -> Result<(Link, Vec<Option<Link>>), Error> {
    if previous.interfaces.is_empty() {
        return Err(Error::internal("no interfaces provided"));
    }
    let ifname = attachment.ifname.as_str();
    let no_peer = |why: String| Error::internal(format!("container interface {ifname} has no veth peer: {why}"));
    let far = machine.side(Side::Container).and_then(|side| side.link(ifname));
    let far = far.map_err(|error| no_peer(format!("could not look up \"{ifname}\": {error}")))?;
    let far = far.ok_or_else(|| no_peer(format!("could not look up \"{ifname}\": Link not found")))?;
    let peer = far.peer.filter(|_| far.is("veth"));
    let peer = peer.ok_or_else(|| no_peer(format!("interface \"{ifname}\" was not a veth interface")))?;

    let requests: Vec<Request> = std::iter::once(link::get_by_index(peer)).chain(others.iter().cloned()).collect();
    let mut found = look(machine, &requests)?.into_iter();
    // Numbers of links repeat from namespace to namespace; of a pair, each end has the other's.
    let near = found.next().flatten().filter(|near| is_pair(near, &far));
    let near = near.ok_or_else(|| Error::internal(format!("veth peer with index {peer} is not in host ns")))?;
    let is_known = |interface: &cni::result::Interface| interface.sandbox.is_empty() && interface.name == near.name;
    if !previous.interfaces.iter().any(is_known) {
        return Err(Error::internal("no veth peer of container interface found in host ns"));
    }
    machine.remember(Side::Host, &near);
    Ok((near, found.collect()))
}

/// The same for DEL, which gets no answer rather than an error when the pair can't be found for certain: by the
/// container's end or, when that can't be reached, by a previous result that names a veth with the alias `tag`.
pub(super) fn host_end_if_there(
    machine: &mut Machine,
    attachment: &Attachment,
    previous: Option<&AddResult>,
    tag: &str,
    others: &[Request],
) -> Result<(Option<Link>, Vec<Option<Link>>), Error> {
    let ifname = attachment.ifname.as_str();
    let far = match machine.container_netns() {
        Some(_) => machine.side(Side::Container).and_then(|side| side.link(ifname)).ok().flatten(),
        None => None,
    };
    let candidates: Vec<Request> = match far.as_ref().and_then(|far| far.peer) {
        Some(peer) => vec![link::get_by_index(peer)],
        None => {
            let interfaces = previous.map(|previous| previous.interfaces.as_slice()).unwrap_or_default();
            interfaces.iter().filter(|one| one.sandbox.is_empty()).map(|one| link::get(&one.name)).collect()
        }
    };
    let requests: Vec<Request> = others.iter().cloned().chain(candidates).collect();
    let mut found = look(machine, &requests)?;
    let candidates = found.split_off(others.len());
    let is_it = |near: &Link| match &far {
        Some(far) => is_pair(near, far),
        None => near.is("veth") && near.alias.as_deref() == Some(tag),
    };
    Ok((candidates.into_iter().flatten().find(is_it), found))
}

fn is_pair(near: &Link, far: &Link) -> bool {
    near.is("veth") && far.is("veth") && near.peer == Some(far.index) && far.peer == Some(near.index)
}

/// Looks links up on the host.
pub(super) fn look(machine: &mut Machine, requests: &[Request]) -> Result<Vec<Option<Link>>, Error> {
    let found = machine.host().and_then(|host| host.lookups(requests));
    found.map_err(|error| attempt("look at the links", error))
}
