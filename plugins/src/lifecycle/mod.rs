//! The life of an attachment, which is the same for all interface plugins.
//!
//! # Theory of operation
//!
//! An interface plugin knows how the container's link comes to be. It says so in two values: a [`Network`], which is its
//! configuration, loaded and valid, and for an ADD a [`Wiring`], which is what it has decided after a look at the
//! machine. What ADD and CHECK ask of a network beside that is [`Attach`]. All the rest is here.
//!
//! ADD looks before it touches anything, then applies three plans: the links; after IPAM has answered, everything that
//! needs addresses; and what has to be waited for. IPAM plugins that look at nothing but their configuration work while
//! the links are being made. Any failure takes all of it back, the lease included, but for what is shared.
//!
//! DEL needs neither a previous result nor a namespace, and goes on through failures: links first, then the lease, which
//! stays as long as a link may have the address, then what the host keeps. A runtime that lets go of the namespace
//! afterwards can say so, and need not wait for the kernel ([`NETNS_ENDS`]). GC does the same for whatever belongs to the
//! network and to no valid attachment. CHECK and STATUS ask IPAM and the plugin.

mod addition;
mod deletion;

use std::net::IpAddr;

use cni::plugin::{Attachment, Call, ValidAttachments};
use cni::result::{AddResult, Dns, Interface};
use cni::{Error, NetName, Owner, args};
use kernel::link;
use kernel::plan::{Machine, Plan, SetUp, Side};

use crate::container::{self, Dad, Neighbours};
use crate::error::attempt;
use crate::ipam::{self, Ipam};

pub use addition::add;
pub use deletion::{del, gc};

/// A network as the configuration of an interface plugin describes it.
pub trait Network {
    /// The IPAM plugin's name; empty on a network without addresses.
    fn ipam(&self) -> &str;

    /// Whether a network without addresses can't work, so that an IPAM plugin must be named.
    fn needs_ipam(&self) -> bool {
        false
    }

    /// Removes the attachment's links; those that are gone are fine.
    ///
    /// # Errors
    ///
    /// The kernel's refusal.
    fn del_links(&self, request: &Request<'_>, machine: &mut Machine) -> Result<(), Error> {
        del_container_link(machine, request.attachment.ifname.as_str())
    }

    /// Whether [`Network::del_rules`] is quicker or more exact when it knows the attachment's addresses.
    fn wants_addresses(&self) -> bool {
        false
    }

    /// Removes what the host keeps for the attachment. `known` are its addresses as far as they are.
    ///
    /// # Errors
    ///
    /// When something is there and can't be removed.
    fn del_rules(&self, owner: &Owner, known: &[IpAddr], machine: &mut Machine) -> Result<(), Error> {
        let _ = (owner, known, machine);
        Ok(())
    }

    /// Removes what belongs to the network and to no valid attachment, leases apart.
    ///
    /// # Errors
    ///
    /// When something is there and can't be removed.
    fn gc(&self, name: &NetName, valid: &ValidAttachments, machine: &mut Machine) -> Result<(), Error> {
        let _ = (name, valid, machine);
        Ok(())
    }

    /// Whether the plugin itself could serve an ADD.
    ///
    /// # Errors
    ///
    /// Code 50 and why not.
    fn status(&self) -> Result<(), Error> {
        Ok(())
    }
}

/// A network to which containers can be attached.
pub trait Attach: Network {
    /// The addresses and routes of a network that has some without IPAM.
    fn inherited(&self) -> Option<AddResult> {
        None
    }

    /// What ADD says when IPAM has failed.
    fn ipam_failed(&self, error: Error) -> Error {
        error
    }

    /// The DNS settings of the answer, given what IPAM says.
    fn dns(&self, from_ipam: Dns) -> Dns {
        from_ipam
    }

    /// Looks at the machine and decides on names and addresses. Touches nothing.
    ///
    /// # Errors
    ///
    /// When ADD can't be served: a name is taken, a link that must be there is not.
    fn wire<'a>(&'a self, request: &Request<'a>, machine: &mut Machine) -> Result<Box<dyn Wiring + 'a>, Error>;

    /// Checks the attachment against the result of its ADD; IPAM has been asked already.
    ///
    /// # Errors
    ///
    /// What does not hold.
    fn check(&self, request: &Request<'_>, previous: &AddResult, machine: &mut Machine) -> Result<(), Error>;

    /// What CHECK says when it is given no previous result.
    fn missing_previous(&self) -> &'static str {
        "Required prevResult missing"
    }
}

/// What an ADD is going to make: every name is decided, nothing has been touched.
pub trait Wiring {
    /// Makes the links.
    fn links(&self) -> Plan;

    /// The interfaces of the answer. Addresses and MTUs that are left out are looked up at the end.
    fn interfaces(&self) -> Vec<Interface>;

    /// Which of them is the container's.
    fn container(&self) -> usize {
        0
    }

    /// Whether these are links. If not, there is nothing to give addresses to, and nothing to look up.
    fn has_links(&self) -> bool {
        true
    }

    /// Adds to the answer what follows from the configuration: gateways, routes, interfaces.
    ///
    /// # Errors
    ///
    /// When IPAM's answer can't be used.
    fn complete(&self, result: &mut AddResult) -> Result<(), Error> {
        let _ = result;
        Ok(())
    }

    /// Gives the links what they need of addresses and routes, on both sides.
    ///
    /// # Errors
    ///
    /// When the result contradicts itself.
    fn addresses(&self, result: &AddResult) -> Result<Plan, Error> {
        container::configure(&result.interfaces[self.container()].name, result, Dad::Off, Neighbours::OnLink)
    }

    /// What takes the place of [`Wiring::addresses`] on a network without.
    fn layer_two(&self) -> Plan {
        let link = self.interfaces().swap_remove(self.container()).name;
        let mut plan = Plan::new();
        plan.push(SetUp { side: Side::Container, link });
        plan
    }

    /// What is waited for at the end, when the kernel has had time.
    fn ready(&self, result: &AddResult) -> Plan {
        let _ = result;
        Plan::new()
    }
}

/// A call about an attachment.
#[derive(Debug)]
pub struct Request<'a> {
    /// The call.
    pub call: &'a Call,
    /// What it is about.
    pub attachment: &'a Attachment,
    /// Whose everything is.
    pub owner: Owner,
}

impl<'a> Request<'a> {
    fn new(call: &'a Call, attachment: &'a Attachment) -> Self {
        Self { call, attachment, owner: attachment.owner(&call.name) }
    }

    /// Whether the runtime has promised to let go of the container's namespace, by [`NETNS_ENDS`].
    #[must_use]
    pub fn netns_ends(&self) -> bool {
        let args = args::parse(&self.attachment.args, &[NETNS_ENDS]);
        args.is_ok_and(|args| args.get(NETNS_ENDS).is_some_and(|value| value == "1"))
    }
}

/// The key of `CNI_ARGS` by which a runtime tells DEL that it lets go of the container's namespace right afterwards, as
/// `IgnoreUnknown=1;NETNS_ENDS=1`. A pair, which ends with the namespace, is then only set down, so that nobody is reached
/// by the address any more: to remove one takes the kernel 15 to 30 ms in which the caller waits (`netdev_run_todo` in
/// `net/core/dev.c` waits for all callbacks of RCU), and what goes with its namespace goes without anybody waiting. A link
/// on a parent is removed all the same, because it may keep the next one from its address or its VLAN until it is gone.
pub const NETNS_ENDS: &str = "NETNS_ENDS";

/// Serves CHECK.
///
/// # Errors
///
/// What does not hold.
pub fn check(call: &Call, attachment: &Attachment, network: &dyn Attach) -> Result<(), Error> {
    let machine = &mut enter(attachment)?;
    if let Some(ipam) = find_ipam(call, network)? {
        ipam.check()?;
    }
    let previous = call.prev_result()?.ok_or_else(|| Error::internal(network.missing_previous()))?;
    network.check(&Request::new(call, attachment), &previous, machine)
}

/// Serves STATUS.
///
/// # Errors
///
/// Why an ADD could not be served now.
pub fn status(call: &Call, network: &dyn Network) -> Result<(), Error> {
    network.status()?;
    if network.ipam().is_empty() && !network.needs_ipam() {
        return Ok(());
    }
    ipam::status(call, network.ipam())
}

/// The network's IPAM plugin; none on a network without addresses.
fn find_ipam<'a>(call: &'a Call, network: &dyn Network) -> Result<Option<Ipam<'a>>, Error> {
    match network.ipam() {
        "" if !network.needs_ipam() => Ok(None),
        kind => Ipam::find(call, kind).map(Some),
    }
}

/// The machine with the attachment's namespace, which has to be there.
fn enter(attachment: &Attachment) -> Result<Machine, Error> {
    let netns = container::open(attachment)?;
    Machine::with_container(netns).map_err(|error| attempt("enter the container's netns", error))
}

/// Removes the link that has one name whoever made it: the one in the container.
///
/// # Errors
///
/// The kernel's refusal, but not that there is none.
pub fn del_container_link(machine: &mut Machine, ifname: &str) -> Result<(), Error> {
    if machine.container_netns().is_none() {
        return Ok(());
    }
    remove(machine, Side::Container, ifname, false)
}

/// Removes the link `name`, or leaves it to the end of the container's namespace and sets it down.
///
/// # Errors
///
/// The kernel's refusal, but not that there is none.
pub fn remove(machine: &mut Machine, side: Side, name: &str, ends: bool) -> Result<(), Error> {
    let (what, message) = if ends { ("set down", link::set_up(name, false)) } else { ("delete", link::del(name)) };
    match machine.side(side).and_then(|side| side.call(message)) {
        Err(error) if !error.is_not_found() => Err(attempt(format_args!("failed to {what} \"{name}\""), error)),
        _ => Ok(()),
    }
}
