//! The `firewall` plugin: what is forwarded to and from the container passes the host's filter, but for what an ingress
//! policy keeps away.
//!
//! # Theory of operation
//!
//! There are three ways to filter on a node, and a packet must pass all that are in use: an `accept` ends only the chain
//! that it stands in, a `drop` ends the packet. So a container's addresses must be let through there where the node
//! filters, and `backend` left out means to find out where that is ([`Chosen::by`]):
//!
//! * `firewalld`, if it runs: its own chains drop what is in no zone that forwards. Addresses become sources of a zone.
//! * `iptables`, if there is any rule in a chain `FORWARD`, or its policy is not to accept. Addresses get rules there, to
//!   the byte those of the Go suite.
//! * `nftables` else: elements in a table of our own.
//!
//! Ingress policies drop, which works from any chain. So with `nftables` and `firewalld` they are elements in our own
//! table, and what they say of neighbours on one bridge always is, where the kernel can do that.
//!
//! The plugin changes nothing in the result. It is chained behind one that gives addresses; all addresses of that result
//! are let through, whatever interface they are on, as in the Go suite.
//!
//! DEL and GC do not ask the configuration which back end there was. Each looks for what it may have left, by the tag of
//! the attachment, and for what the Go suite may have left, by the addresses. Looking starts no process where nothing is.

mod config;
mod firewalld;
mod iptables;
mod nftables;
mod segments;
mod sharing;

#[cfg(test)]
mod tests;

use std::ffi::OsStr;
use std::net::IpAddr;

use cni::plugin::{Attachment, Call, Plugin, ValidAttachments};
use cni::result::AddResult;
use cni::{Code, Error, Owner, Version};
use kernel::iptables::Family;
use kernel::plan::{Applied, Machine, Plan};

use crate::error::{attempt, from_deviation, from_failure};
use crate::failures::Failures;
use crate::iptables::FAMILIES;
use crate::masquerade::nf_tables;
use crate::ownership::Live;
use config::Written;
pub use config::{Backend, Config, Policy};
use firewalld::{Firewalld, Sources};
use segments::Segments;
use sharing::{Held, Holding};

/// Where the system bus is, if not where it is by default.
const BUS_ADDRESS: &str = "DBUS_SYSTEM_BUS_ADDRESS";

/// The plugin.
#[derive(Clone, Copy, Debug)]
pub struct Firewall;

impl Plugin for Firewall {
    const NAME: &'static str = "firewall";
    const VERSIONS: &'static [Version] = &[Version::V0_4_0, Version::V1_0_0, Version::V1_1_0];

    fn add(&self, call: &Call, attachment: &Attachment) -> Result<AddResult, Error> {
        let machine = &mut Machine::host_only();
        let (plan, previous) = plan(call, attachment, machine)?;
        let mut done = Applied::default();
        plan.apply(machine, &mut done).map_err(|failure| {
            for failure in done.undo(machine) {
                call.warn(format_args!("undoing ADD: {failure}"));
            }
            from_failure(failure)
        })?;
        Ok(previous)
    }

    fn del(&self, call: &Call, attachment: &Attachment) -> Result<(), Error> {
        let written = Written::load(call)?;
        let owner = attachment.owner(&call.name);
        // A previous result of another version than it says is no reason to leave anything behind.
        let previous = call.prev_result().ok().flatten().unwrap_or_default();
        let known = addresses(&previous);
        let segments = Segments::known(&previous, &owner);
        let machine = &mut Machine::host_only();
        let mut failures = Failures::default();
        failures.note(with_nftables(machine, |nft| nftables::remove(nft, &owner, &known, segments.as_ref())));
        failures.note(iptables::remove(machine, &owner, &known));
        failures.note(firewalld::remove(machine, call.env(BUS_ADDRESS), &owner, written.zone(), &known));
        failures.note(written.check_policy());
        failures.into_result()
    }

    fn check(&self, call: &Call, attachment: &Attachment) -> Result<(), Error> {
        let machine = &mut Machine::host_only();
        let (plan, _) = plan(call, attachment, machine)?;
        plan.check(machine).map_err(from_deviation)
    }

    fn gc(&self, call: &Call, valid: &ValidAttachments) -> Result<(), Error> {
        Written::load(call)?;
        if !valid.is_specified() {
            return Ok(());
        }
        let live = Live::of(&call.name, valid);
        let is_stale = |tag: &str| live.is_stale(tag);
        let machine = &mut Machine::host_only();
        let mut failures = Failures::default();
        failures.note(with_nftables(machine, |nft| nftables::gc(nft, &is_stale)));
        failures.note(iptables::gc(machine, &call.name, valid));
        failures.note(firewalld::gc(machine, call.env(BUS_ADDRESS), &is_stale));
        failures.into_result()
    }

    fn status(&self, call: &Call) -> Result<(), Error> {
        let config = Written::load(call)?.validate()?;
        let unavailable = |text: String| Error::new(Code::PLUGIN_NOT_AVAILABLE, text);
        let machine = &mut Machine::host_only();
        match Chosen::by(&config, call, machine, &FAMILIES).map_err(|error| unavailable(error.msg))? {
            Chosen::Nftables => crate::masquerade::status(),
            Chosen::Iptables => {
                config.check_admin_chain()?;
                let ready = FAMILIES.into_iter().try_for_each(kernel::iptables::ready);
                ready.map_err(|error| unavailable(error.to_string()))
            }
            Chosen::Firewalld(firewalld) => match firewalld.is_there() {
                Ok(true) => Ok(()),
                Ok(false) => Err(unavailable("firewalld does not run".to_owned())),
                Err(error) => Err(unavailable(error.to_string())),
            },
        }
    }
}

/// What the attachment needs, and the result of the plugin before. Nothing has been touched yet.
fn plan(call: &Call, attachment: &Attachment, machine: &mut Machine) -> Result<(Plan, AddResult), Error> {
    let written = Written::load(call)?;
    let previous = call.prev_result()?.ok_or_else(|| Error::internal("missing prevResult from earlier plugin"))?;
    let is_null = written.begins_with_null();
    let config = written.validate()?;
    let owner = attachment.owner(&call.name);
    let ips = addresses(&previous);
    let segments = match config.policy {
        Policy::Open => None,
        _ if is_null => return Err(Error::internal("got nil interface")),
        policy => Some(Segments::required(&previous, &owner, policy)?),
    };
    if ips.is_empty() && segments.is_none() {
        return Ok((Plan::new(), previous));
    }
    // A policy is for both families, whatever addresses there are now.
    let is_wanted = |family: &Family| segments.is_some() || ips.iter().any(|ip| Family::of(*ip) == *family);
    let families: Vec<Family> = FAMILIES.into_iter().filter(is_wanted).collect();
    let chosen = Chosen::by(&config, call, machine, &families)?;
    let plan = Request { call, config: &config, owner, ips, segments }.plan(chosen, machine)?;
    Ok((plan, previous))
}

/// What is asked for, for one attachment.
struct Request<'a> {
    call: &'a Call,
    config: &'a Config,
    owner: Owner,
    ips: Vec<IpAddr>,
    segments: Option<Segments>,
}

impl Request<'_> {
    fn plan(&self, chosen: Chosen, machine: &mut Machine) -> Result<Plan, Error> {
        let Self { config, owner, ips, .. } = self;
        let segments = self.segments.as_ref();
        let mut plan = Plan::new();
        let mut held = Vec::new();
        match &chosen {
            Chosen::Nftables => held.push(nftables::routed(owner, ips, config.policy, segments)),
            Chosen::Firewalld(_) if segments.is_none() => {}
            Chosen::Firewalld(_) => held.push(nftables::routed(owner, &[], config.policy, segments)),
            Chosen::Iptables => {
                config.check_admin_chain()?;
                let bridge = segments.map(|segments| segments.bridge.as_str());
                plan.push(iptables::Rules::new(owner, config, ips, bridge));
            }
        }
        let looked = |error: kernel::nft::Error| attempt("look for nf_tables", error);
        let has_nftables = nf_tables(machine).map_err(looked)?.is_some();
        held.extend(self.isolation(has_nftables));
        if !held.is_empty() {
            plan.push(Held(held));
        }
        if let Chosen::Firewalld(firewalld) = chosen {
            if has_nftables {
                plan.push(firewalld::notes(owner, ips));
            }
            plan.push(Sources::new(firewalld, &config.zone, ips));
        }
        Ok(plan)
    }

    /// What keeps neighbours on one bridge apart, whichever back end does the rest.
    fn isolation(&self, has_nftables: bool) -> Option<Holding> {
        let segments = self.segments.as_ref().filter(|_| self.config.policy == Policy::Isolated)?;
        if has_nftables && segments.port.is_some() {
            return Some(nftables::bridged(&self.owner, segments));
        }
        let bridge = &segments.bridge;
        let why =
            if has_nftables { "the previous result does not tell the port" } else { "the kernel has no nf_tables" };
        self.call.warn(format_args!("on {bridge} only br_netfilter keeps neighbours apart, if it is on: {why}"));
        None
    }
}

/// The back end that an attachment gets.
#[derive(Debug)]
enum Chosen {
    Nftables,
    Iptables,
    Firewalld(Firewalld),
}

impl Chosen {
    /// The one that is asked for, or the one that filters on this node.
    fn by(config: &Config, call: &Call, machine: &mut Machine, families: &[Family]) -> Result<Self, Error> {
        let address: Option<&OsStr> = call.env(BUS_ADDRESS);
        match config.backend {
            Backend::Nftables => return Ok(Self::Nftables),
            Backend::Iptables => return Ok(Self::Iptables),
            Backend::Firewalld => {
                let firewalld =
                    Firewalld::on_bus(address).map_err(|error| attempt("firewalld can't be used", error))?;
                return Ok(Self::Firewalld(firewalld));
            }
            Backend::Auto => {}
        }
        match Firewalld::running(address) {
            Ok(Some(firewalld)) => return Ok(Self::Firewalld(firewalld)),
            Ok(None) => {}
            Err(error) => call.warn(format_args!("firewalld is taken not to run: {error}")),
        }
        let looked = |error: kernel::nft::Error| attempt("look for a back end", error);
        if nf_tables(machine).map_err(looked)?.is_none() || iptables::filters_here(machine, families)? {
            return Ok(Self::Iptables);
        }
        Ok(Self::Nftables)
    }
}

/// The addresses of a result, each once.
fn addresses(previous: &AddResult) -> Vec<IpAddr> {
    let mut ips: Vec<IpAddr> = Vec::new();
    for ip in previous.ips.iter().map(|ip| ip.address.ip()) {
        if !ips.contains(&ip) {
            ips.push(ip);
        }
    }
    ips
}

/// What is done with nf_tables, where there is any.
fn with_nftables(
    machine: &mut Machine,
    work: impl FnOnce(&mut kernel::nft::Nft) -> Result<(), kernel::nft::Error>,
) -> Result<(), Error> {
    let nft = nf_tables(machine);
    let done = nft.and_then(|nft| nft.map_or(Ok(()), work));
    done.map_err(|error| attempt("remove the container from the firewall", error))
}
