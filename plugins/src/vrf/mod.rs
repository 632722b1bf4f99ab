//! The `vrf` plugin: the container's interface into a virtual routing and forwarding domain.
//!
//! A VRF is a link with a routing table of its own; its ports' traffic is routed by that table and by no other. So one
//! container can have several interfaces whose networks overlap. The plugin comes after one that has made the interface.
//! It makes the VRF in the container unless it is there already, and makes the interface its port.
//!
//! That is one attribute, and costs the interface most of what it has: the kernel sets it down and up again, and forgets
//! the routes that IPAM asked for and, by default, the IPv6 addresses. [`Enslave`] reads both before and gives them back
//! afterwards, the routes of the main table in the VRF's.
//!
//! Everything that can be refused is refused before anything is touched: a link of the VRF's name that is none, another
//! table than the one that it has, an interface that belongs to something else. An interface that is a port of the VRF
//! already is done. A failure half-way puts interface and routes back, and removes a VRF that was made for it.
//!
//! A VRF may have ports of several attachments, so it belongs to none of them: the last to leave removes it. Everything
//! is inside the container and goes with it, so there is nothing on the node for GC to find.

mod config;

use cni::plugin::{Attachment, Call, Plugin, ValidAttachments};
use cni::result::{AddResult, IpConfig};
use cni::{Code, Error, Version};
use kernel::link::{self, Link, NewVrf};
use kernel::plan::{Applied, CreateVrf, Deviation, Enslave, Machine, Plan, SetUp, Side};
use kernel::{Handle, netlink};
use nix::errno::Errno;

use crate::container;
use crate::error::{attempt, from_deviation, from_failure};
use config::Config;

const SIDE: Side = Side::Container;
/// `RT_TABLE_DEFAULT`, `RT_TABLE_MAIN`, `RT_TABLE_LOCAL`: not free, whoever uses them.
const RESERVED: std::ops::RangeInclusive<u32> = 253..=255;
const UNCHAINED: &str = "missing prevResult from earlier plugin";

/// The plugin.
#[derive(Clone, Copy, Debug)]
pub struct Vrf;

impl Plugin for Vrf {
    const NAME: &'static str = "vrf";
    const VERSIONS: &'static [Version] = &[Version::V0_3_1, Version::V0_4_0, Version::V1_0_0, Version::V1_1_0];

    fn add(&self, call: &Call, attachment: &Attachment) -> Result<AddResult, Error> {
        let config = Config::read(call)?;
        let previous = call.prev_result()?.ok_or_else(|| Error::internal(UNCHAINED))?;
        join(call, &config, attachment).map_err(|error| error.context("cmdAdd failed"))?;
        Ok(previous)
    }

    fn del(&self, call: &Call, attachment: &Attachment) -> Result<(), Error> {
        let config = Config::read(call)?;
        let Some(netns) = container::open_if_there(attachment)? else { return Ok(()) };
        let mut machine =
            Machine::with_container(netns).map_err(|error| attempt("enter the container's netns", error))?;
        let container = machine.side(SIDE).map_err(|error| attempt("enter the container's netns", error))?;
        leave(container, &config.vrf, attachment.ifname.as_str()).map_err(|error| {
            attempt(format_args!("could not take {} out of VRF {}", attachment.ifname, config.vrf), error)
        })
    }

    fn check(&self, call: &Call, attachment: &Attachment) -> Result<(), Error> {
        let config = Config::read(call)?;
        let previous = call.prev_result()?.ok_or_else(|| Error::internal(UNCHAINED))?;
        check(&mut enter(attachment)?, &config, attachment, &previous)
    }

    fn gc(&self, _: &Call, _: &ValidAttachments) -> Result<(), Error> {
        Ok(()) // it owns nothing that outlives the namespace
    }

    fn status(&self, call: &Call) -> Result<(), Error> {
        Config::read(call)?;
        let refusal = Handle::here().map_err(netlink::Error::from).and_then(|mut here| here.call(link::probe_vrf()));
        match refusal {
            // It was refused for the table that it lacks.
            Ok(()) => Ok(()),
            Err(error) if error.errno() == Some(Errno::EINVAL) => Ok(()),
            Err(error) => {
                let text = match error.errno() {
                    Some(Errno::EOPNOTSUPP) => format!("the kernel has no VRFs (CONFIG_NET_VRF): {error}"),
                    _ => format!("could not ask the kernel for VRFs: {error}"),
                };
                Err(Error::new(Code::PLUGIN_NOT_AVAILABLE, text))
            }
        }
    }
}

fn enter(attachment: &Attachment) -> Result<Machine, Error> {
    // Without the prefix that other plugins put before it, as in the Go suite.
    let netns = kernel::netns::NetNs::open(&attachment.netns).map_err(|error| Error::internal(error.to_string()))?;
    Machine::with_container(netns).map_err(|error| attempt("enter the container's netns", error))
}

/// Makes the interface a port of the VRF, or leaves everything as it was.
fn join(call: &Call, config: &Config, attachment: &Attachment) -> Result<(), Error> {
    let machine = &mut enter(attachment)?;
    let Some(plan) = survey(machine, config, attachment.ifname.as_str())? else { return Ok(()) };
    let mut done = Applied::default();
    plan.apply(machine, &mut done).map_err(|failure| {
        for failure in done.undo(machine) {
            call.warn(format_args!("undoing ADD: {failure}"));
        }
        from_failure(failure)
    })
}

/// Looks at the container and says what is to be done; none when the interface is where it should be. Nothing has been
/// touched yet.
fn survey(machine: &mut Machine, config: &Config, ifname: &str) -> Result<Option<Plan>, Error> {
    let looking = |error: netlink::Error| attempt("look at the links", error);
    let container = machine.side(SIDE).map_err(looking)?;
    let (vrf, interface) = find(container, &config.vrf, ifname).map_err(looking)?;
    let there = vrf.map(|vrf| usable(vrf, config)).transpose()?;
    let interface = interface.ok_or_else(|| Error::internal(format!("could not get link by name {ifname}")))?;
    match (interface.master, &there) {
        (Some(master), Some(vrf)) if master == vrf.index => return Ok(None),
        (Some(master), _) => return Err(foreign_master(container, ifname, master)),
        (None, _) => {}
    }
    let mut plan = Plan::new();
    let table = match &there {
        Some(vrf) => vrf.vrf_table.unwrap_or_default(),
        None => config.table.map_or_else(|| free_table(container), Ok).map_err(looking)?,
    };
    let vrf = NewVrf { name: config.vrf.clone(), table };
    match there {
        None => plan.push(CreateVrf { side: SIDE, vrf: vrf.clone() }),
        Some(vrf) if !vrf.up => plan.push(SetUp { side: SIDE, link: vrf.name }),
        Some(_) => {}
    }
    plan.push(Enslave {
        side: SIDE,
        link: interface.name,
        index: interface.index,
        vrf,
        addresses: container.global_ipv6(interface.index).map_err(looking)?,
        routes: container.routes_through(interface.index).map_err(looking)?,
    });
    Ok(Some(plan))
}

/// The VRF and the interface, by one message.
fn find(container: &mut Handle, vrf: &str, ifname: &str) -> Result<(Option<Link>, Option<Link>), netlink::Error> {
    let mut found = container.lookups(&[link::get(vrf), link::get(ifname)])?;
    let interface = found.pop().flatten();
    Ok((found.pop().flatten(), interface))
}

/// A link of the VRF's name, if it is the VRF that the configuration means.
fn usable(link: Link, config: &Config) -> Result<Link, Error> {
    if !link.is("vrf") {
        return Err(Error::internal(format!("Netlink {} is not a VRF", link.name)));
    }
    match (config.table, link.vrf_table) {
        (Some(wanted), Some(table)) if wanted != table => {
            Err(Error::internal(format!("VRF {} already exist with different routing table {table}", link.name)))
        }
        _ => Ok(link),
    }
}

fn foreign_master(container: &mut Handle, ifname: &str, master: u32) -> Error {
    let found = container.lookups(&[link::get_by_index(master)]).ok().and_then(|mut links| links.pop().flatten());
    let name = found.map_or_else(|| format!("index {master}"), |link| link.name);
    Error::internal(format!("interface {ifname} has already a master set: {name}"))
}

/// The lowest table that no VRF of the container has.
fn free_table(container: &mut Handle) -> Result<u32, netlink::Error> {
    let vrfs = container.vrfs()?;
    let is_free = |table: &u32| !RESERVED.contains(table) && !vrfs.iter().any(|vrf| vrf.vrf_table == Some(*table));
    Ok((1..).find(is_free).unwrap_or(1))
}

/// Takes the interface out of the VRF, and removes the VRF when nothing else is in it. What is gone, and what was never
/// there, is fine; so is an interface that belongs to something else by now.
fn leave(container: &mut Handle, vrf: &str, ifname: &str) -> Result<(), netlink::Error> {
    let Some(vrf) = container.link(vrf)?.filter(|link| link.is("vrf")) else { return Ok(()) };
    let (own, others): (Vec<Link>, Vec<Link>) =
        container.ports(vrf.index)?.into_iter().partition(|port| port.name == ifname);
    let request = match (own.is_empty(), others.is_empty()) {
        // The kernel takes the last port out of a VRF that it removes.
        (_, true) => link::del(&vrf.name),
        (false, false) => link::set_master(ifname, None),
        (true, false) => return Ok(()),
    };
    container.call(request).or_else(|error| if error.is_not_found() { Ok(()) } else { Err(error) })
}

/// Whether the interface is in the VRF, with the addresses and routes of the result.
fn check(machine: &mut Machine, config: &Config, attachment: &Attachment, previous: &AddResult) -> Result<(), Error> {
    let ifname = attachment.ifname.as_str();
    let looking = |error: netlink::Error| attempt("look at the links", error);
    let (vrf, interface) = machine.side(SIDE).and_then(|side| find(side, &config.vrf, ifname)).map_err(looking)?;
    let missing = || Error::internal("Link not found").with_details(format!("VRF {}", config.vrf));
    let vrf = usable(vrf.ok_or_else(missing)?, config)?;
    if interface.and_then(|interface| interface.master) != Some(vrf.index) {
        return Err(Error::internal(format!("failed to find {ifname} associated to vrf {}", vrf.name)));
    }
    if !vrf.up {
        return Err(from_deviation(Deviation::LinkDown(vrf.name)));
    }
    container::check(machine, ifname, &of_interface(previous, ifname))
}

/// What a result says about one interface. It does not say which interface a route belongs to, which is plain as long as
/// there is only one.
fn of_interface(result: &AddResult, name: &str) -> AddResult {
    let is_own = |ip: &IpConfig| {
        let interface = ip.interface.and_then(|index| result.interfaces.get(index));
        interface.is_some_and(|interface| interface.name == name)
    };
    let (own, others): (Vec<IpConfig>, Vec<IpConfig>) = result.ips.iter().cloned().partition(is_own);
    let routes = if others.is_empty() { result.routes.clone() } else { Vec::new() };
    AddResult { ips: own, routes, ..AddResult::default() }
}

#[cfg(test)]
mod tests;
