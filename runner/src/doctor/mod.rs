//! What keeps containers from working, with a way to put it right.
//!
//! Without a container it is the host that is looked at: what the kernel has ([`kernel`]), its groups ([`groups`]), whether
//! it forwards ([`forward`]), where programs and networks come from ([`places`]), and what the dead have left
//! ([`leftovers`]). With one it is that container: its processes ([`process`]), its layer ([`layer`]), and then the way of a
//! packet ([`path`]), hop by hop: the links inside ([`link`]), the bridge outside ([`bridge`]), addresses and the gateway
//! ([`gateway`], [`twins`], [`probe`]), the way back, forwarding, and the rules of the plugins ([`host_side`], [`rules`]). A hop without the one before
//! it says nothing, so the way ends at the first that is bad. What does not depend on it is looked at in any case: name servers
//! ([`resolver`]) and published ports ([`ports`]). Last, if asked for, a connection to somewhere ([`reach`]).
//!
//! Nothing is changed. The kernel is asked by netlink and by its files; what is sent are ARP probes with no sender's address,
//! of which nobody learns anything, and with `--to` a question to the container's name servers and one connection. Every line
//! that is not good names a command that a person can use as it is.

mod bridge;
mod container;
mod forward;
mod gateway;
mod groups;
mod host_side;
pub(crate) mod kernel;
mod layer;
mod leftovers;
mod link;
mod names;
mod path;
mod places;
mod ports;
mod probe;
mod process;
mod reach;
mod report;
mod resolver;
mod rules;
mod sockets;
mod twins;

use ::kernel::Handle;

use crate::error::{Context, Result};
use crate::spec::Dirs;
use crate::state::Store;

pub(crate) use container::container;
pub(crate) use reach::Destination;
pub(crate) use report::Report;

/// Looks at the host.
///
/// # Errors
/// The kernel does not answer at all.
pub(crate) fn host(store: &Store, dirs: &Dirs) -> Result<Report> {
    let mut report = Report::default();
    kernel::check(&mut report);
    groups::check(&mut report)?;
    let mut handle = Handle::here().context(|| "open a route socket")?;
    let in_use = store.ids()?.iter().any(|id| {
        let connected = crate::net::Connected::read(store, id);
        connected.is_some_and(|connected| connected.endpoints.iter().any(|endpoint| endpoint.is_default))
    });
    forward::host(&mut report, in_use);
    forward::default_mtu(&mut report, &mut handle, dirs);
    places::check(&mut report, dirs)?;
    leftovers::check(&mut report, store, dirs)?;
    Ok(report)
}

/// A refusal of the kernel's as an error of ours.
#[expect(clippy::needless_pass_by_value, reason = "the shape of map_err")]
fn refused(error: ::kernel::netlink::Error) -> crate::error::Error {
    crate::error::Error::new(error.to_string())
}
