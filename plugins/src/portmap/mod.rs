//! The `portmap` plugin: ports of the host that lead to the container.
//!
//! # Theory of operation
//!
//! A runtime says which ports ([`config`]), the plugins before this one say where the container is ([`target`]), and a
//! back end has the kernel translate the destination of packets: [`nftables`], by elements in maps, unless the
//! configuration asks for [`iptables`]. Either also translates the source of packets whose answers would not come back
//! this way. Programs of the host get through by 127.0.0.1 because the link to the container lets such packets pass
//! ([`localnet`]). Flows outlive the mapping that sent them on their way; the kernel is made to forget those ([`flows`]).
//!
//! ADD is two steps, of which the first is one transaction, and leaves nothing behind when it fails. A port that another
//! container has is refused, unless that container is gone; what the other back end has for it counts, too, for both look at
//! the same packets. Without ports there is nothing to do: not even a socket is opened.
//!
//! DEL and GC look for what either back end, or the Go suite ([`foreign`]), may have left, whatever the configuration says
//! by then. All that carries its owner is found by that; the Go suite's nftables rules name a container and no network, so
//! addresses and the records of runtimes decide.
//!
//! CHECK asks the steps of ADD whether they hold. An attachment that is not in the maps may be older than this plugin; then
//! the rules of the Go suite count.

mod conditions;
pub mod config;
mod flows;
mod foreign;
mod iptables;
mod localnet;
mod nftables;
mod target;

#[cfg(test)]
mod tests;

use cni::plugin::{Attachment, Call, Plugin, ValidAttachments};
use cni::result::AddResult;
use cni::{Code, Error, NetName};
use kernel::iptables::Family;
use kernel::nft::{self, Nft};
use kernel::plan::{Applied, Deviation, Machine, Plan};

use crate::error::{attempt, from_deviation, from_failure};
use crate::failures::Failures;
use crate::masquerade::nf_tables;
use crate::ownership::Live;
use config::{Backend, Config};
use flows::Redirect;
use iptables::Rules;
use localnet::RouteLocalnet;
use nftables::Forwards;
use target::Target;

/// The plugin.
#[derive(Clone, Copy, Debug)]
pub struct Portmap;

impl Plugin for Portmap {
    const NAME: &'static str = "portmap";

    fn add(&self, call: &Call, attachment: &Attachment) -> Result<AddResult, Error> {
        let (config, previous) = load(call).map_err(refused)?;
        let previous = previous.ok_or_else(|| Error::internal("must be called as chained plugin"))?;
        if config.mappings.is_empty() {
            return Ok(previous);
        }
        let target = Target::of(attachment.owner(&call.name), &previous);
        target.refuse_unreachable(&config).map_err(refused)?;
        if target.ips.is_empty() {
            call.warn("portmap: the container has no address, so its ports lead nowhere");
            return Ok(previous);
        }
        let plan = plan(&config, &target).map_err(refused)?;
        let mut machine = Machine::host_only();
        make_way(&config, &target, &mut machine)?;
        forward(call, plan, &Redirect::all(&target, &config), &mut machine)?;
        Ok(previous)
    }

    fn del(&self, call: &Call, attachment: &Attachment) -> Result<(), Error> {
        let config = Config::load_for_deletion(call).map_err(refused)?;
        // A previous result of another version than it says is no reason to leave anything behind.
        let previous = call.prev_result().ok().flatten().unwrap_or_default();
        let target = Target::of(attachment.owner(&call.name), &previous);
        remove(call, &config, &target, &mut Machine::host_only())
    }

    fn check(&self, call: &Call, attachment: &Attachment) -> Result<(), Error> {
        let (config, previous) = load(call)?;
        let previous = previous.ok_or_else(|| Error::internal("Required prevResult missing"))?;
        let target = Target::of(attachment.owner(&call.name), &previous);
        if config.mappings.is_empty() || target.ips.is_empty() {
            return Ok(());
        }
        check(&config, &target, &mut Machine::host_only())
    }

    fn gc(&self, call: &Call, valid: &ValidAttachments) -> Result<(), Error> {
        if !valid.is_specified() {
            return Ok(());
        }
        collect(call, &call.name, valid, &mut Machine::host_only())
    }

    fn status(&self, call: &Call) -> Result<(), Error> {
        let (config, _) = load(call)?;
        let unavailable = |text: String| Error::new(Code::PLUGIN_NOT_AVAILABLE, text);
        match config.backend {
            Backend::Nftables => {
                let rehearsed = Nft::open().and_then(|mut nft| nftables::rehearse(&mut nft));
                rehearsed.map_err(|error| unavailable(format!("ports can't be mapped by nftables: {error}")))
            }
            Backend::Iptables => {
                let ready = kernel::iptables::ready(Family::V4);
                ready.map_err(|error| unavailable(format!("ports can't be mapped by iptables: {error}")))
            }
        }
    }
}

/// The configuration, and the result of the plugins before this one.
fn load(call: &Call) -> Result<(Config, Option<AddResult>), Error> {
    let config = Config::load(call)?;
    let previous = call.prev_result().map_err(|error| error.context("could not parse prevResult"))?;
    Ok((config, previous))
}

/// How ADD and DEL report a configuration that can't be.
fn refused(error: Error) -> Error {
    error.context("failed to parse config")
}

/// What makes the ports lead to the container.
///
/// # Errors
///
/// When conditions are not understood.
fn plan(config: &Config, target: &Target) -> Result<Plan, Error> {
    let mut plan = Plan::new();
    match config.backend {
        Backend::Nftables => {
            if let Some(forwards) = Forwards::of(target, config)? {
                plan.push(forwards);
            }
        }
        Backend::Iptables => plan.push(Rules::new(target, config)),
    }
    // Last, because it is shared and can't be taken back when something else is refused.
    let from_loopback = target.ip(false).filter(|_| config.snat && config.mappings.iter().any(|one| one.is_for(false)));
    if let Some(ip) = from_loopback {
        plan.push(RouteLocalnet { address: ip.ip() });
    }
    Ok(plan)
}

/// Looks for the ports where the other back end keeps them. Its own it looks at when it maps them.
fn make_way(config: &Config, target: &Target, machine: &mut Machine) -> Result<(), Error> {
    if config.backend == Backend::Nftables {
        return iptables::make_way(machine, target, config);
    }
    let looked = |error: nft::Error| match error {
        nft::Error::Taken(text) => Error::internal(text),
        error => attempt("look for port mappings in nftables", error),
    };
    let Some(nft) = nf_tables(machine).map_err(looked)? else { return Ok(()) };
    let displaced = nftables::make_way(nft, target, config).map_err(looked)?;
    // Those flows end by themselves some day, and are no reason to fail.
    let _ = flows::end(machine, &displaced);
    Ok(())
}

/// Makes them, and takes everything back when that fails.
fn forward(call: &Call, plan: Plan, redirects: &[Redirect], machine: &mut Machine) -> Result<(), Error> {
    let mut done = Applied::default();
    if let Err(failure) = plan.apply(machine, &mut done) {
        for failure in done.undo(machine) {
            call.warn(format_args!("undoing ADD: {failure}"));
        }
        return Err(from_failure(failure));
    }
    if let Err(error) = flows::begin_anew(machine, redirects) {
        call.warn(format_args!("portmap: UDP flows that go elsewhere were not forgotten: {error}"));
    }
    Ok(())
}

/// Removes whatever the attachment has, in all places.
fn remove(call: &Call, config: &Config, target: &Target, machine: &mut Machine) -> Result<(), Error> {
    let mut failures = Failures::default();
    let mut redirects = Vec::new();
    match nf_tables(machine) {
        Ok(Some(nft)) => {
            let removed = nftables::remove(nft, target, config);
            failures.note(removed.map(|removed| redirects = removed).map_err(|error| whose(target, &error)));
            failures.note(foreign::remove(nft, target));
        }
        Ok(None) => {}
        Err(error) => failures.note(Err(whose(target, &error))),
    }
    failures.note(iptables::remove(machine, &target.owner).map(|removed| redirects.extend(removed)));
    if redirects.is_empty() {
        // It was in no place of ours, so what the configuration says is all that is known.
        redirects = Redirect::all(target, config);
    }
    forget(call, machine, &redirects);
    failures.into_result()
}

fn whose(target: &Target, error: &nft::Error) -> Error {
    let owner = &target.owner;
    let whose = format_args!("container {} ({}) in network {}", owner.id, owner.ifname, owner.net);
    attempt(format_args!("remove port mappings of {whose}"), error)
}

fn forget(call: &Call, machine: &mut Machine, redirects: &[Redirect]) {
    if let Err(error) = flows::end(machine, redirects) {
        call.warn(format_args!("portmap: connections to containers that are gone were not forgotten: {error}"));
    }
}

/// Removes what belongs to the network `name` and to none of its valid attachments.
fn collect(call: &Call, name: &NetName, valid: &ValidAttachments, machine: &mut Machine) -> Result<(), Error> {
    let mut failures = Failures::default();
    let mut redirects = Vec::new();
    let live = Live::of(name, valid);
    let of_network = |error: nft::Error| attempt(format_args!("remove port mappings of network {name}"), error);
    match nf_tables(machine) {
        Ok(Some(nft)) => {
            let removed = nftables::gc(nft, &|tag| live.is_stale(tag));
            failures.note(removed.map(|removed| redirects = removed).map_err(of_network));
            failures.note(foreign::gc(nft, name, valid));
        }
        Ok(None) => {}
        Err(error) => failures.note(Err(of_network(error))),
    }
    failures.note(iptables::gc(machine, name, valid).map(|removed| redirects.extend(removed)));
    forget(call, machine, &redirects);
    failures.into_result()
}

/// Whether everything that ADD made is there; or, of an attachment that is older than this plugin, whether the Go suite
/// has rules for it.
fn check(config: &Config, target: &Target, machine: &mut Machine) -> Result<(), Error> {
    let Err(deviation) = plan(config, target)?.check(machine) else { return Ok(()) };
    if config.backend == Backend::Nftables && is_foreign(config, target, machine)? {
        return Ok(());
    }
    Err(match deviation {
        // The Go suite's words, and behind them the line that would mend it.
        Deviation::Missing(text) => match text.split_once("; ") {
            Some((missing, line)) => Error::internal(format!("missing {missing}")).with_details(line),
            None => from_deviation(Deviation::Missing(text)),
        },
        deviation => from_deviation(deviation),
    })
}

/// Whether nothing of the attachment is in the maps, and the Go suite's rules are there instead.
fn is_foreign(config: &Config, target: &Target, machine: &mut Machine) -> Result<bool, Error> {
    let ask = |error: nft::Error| attempt("look for port mappings", error);
    let wanted = Redirect::all(target, config).len();
    let Some(nft) = nf_tables(machine).map_err(ask)? else { return Ok(false) };
    if nftables::has(nft, target).map_err(ask)? {
        return Ok(false);
    }
    if foreign::count(nft, target)? >= wanted {
        return Ok(true);
    }
    let rules = Rules::new(target, config);
    Ok(kernel::plan::Step::check(&rules, machine).is_ok())
}
