//! The `sbr` plugin: source based routing, so that a container with several interfaces answers through the one it was
//! asked through.
//!
//! # Theory of operation
//!
//! A container has one routing table, main, and with two interfaces two networks claim its default route. So this plugin,
//! chained behind the one that made the interface, gives every address of the interface a table of its own. A rule
//! (`from ADDRESS lookup TABLE`) leads there; the table holds a default route through the address's router and a copy of
//! the interface's routes; and table main loses them, so that the interface does not get what others send.
//!
//! All of that lives in the container's namespace and dies with it: the routes with the interface, the rules with the
//! namespace. Nothing is kept on the host, so GC has nothing to find. DEL removes the rules, because a namespace may
//! outlive an interface; without a namespace there is nothing to remove.
//!
//! Which tables are free is known only while nobody else takes one. Whoever works on a namespace holds a lock (`flock(2)`)
//! on its file, the same as the Go suite's. The file is opened as a namespace and never created.
//!
//! ADD looks first (rules, the link, its routes, the tables that could be taken) and then sends two batches: what fills
//! the tables, and, only when all of it was accepted, what empties table main. Any refusal takes everything back. A
//! second ADD finds the rule of an address and with it the table, and adds what is missing there.

mod config;
mod plan;

use std::fs::File;
use std::io;
use std::os::fd::AsFd;

use cni::plugin::{Attachment, Call, Plugin, ValidAttachments};
use cni::result::{AddResult, IpConfig};
use cni::{Code, Error};
use kernel::netlink;
use kernel::netns::{self, NetNs};
use kernel::plan::{Applied, Machine, Side};
use kernel::rule::Rule;

use crate::container;
use crate::error::{attempt, from_failure};
use config::{Config, Gateways, Lookup};
use plan::Found;

/// The plugin.
#[derive(Clone, Copy, Debug)]
pub struct Sbr;

impl Plugin for Sbr {
    const NAME: &'static str = "sbr";

    fn add(&self, call: &Call, attachment: &Attachment) -> Result<AddResult, Error> {
        let (config, previous) = load(call)?;
        let ifname = attachment.ifname.as_str();
        let ips = wanted(&previous, ifname)?;
        let (mut machine, _lock) = enter(container::open(attachment)?)?;
        match config.lookup {
            Lookup::Given(table) => lead_to(&mut machine, table, &ips)?,
            Lookup::Own { gateways, source_hints } => {
                let found = survey(&mut machine, ifname)?;
                route(&mut machine, &found, &ips, gateways, source_hints.then_some(call))?;
            }
        }
        Ok(previous)
    }

    fn del(&self, call: &Call, attachment: &Attachment) -> Result<(), Error> {
        let table = Config::load_table(call)?;
        let netns = match NetNs::open(&attachment.netns) {
            Ok(netns) => netns,
            // A namespace that is gone has no rules, and so has a file that was never one.
            Err(netns::Error::NotExist(..) | netns::Error::NotNamespace(..)) => return Ok(()),
            Err(error) => return Err(Error::internal(error.to_string())),
        };
        let (mut machine, _lock) = enter(netns)?;
        let mut rules = rules(&mut machine)?;
        rules.retain(|rule| rule.source.is_some() && table.is_none_or(|table| table == i64::from(rule.table)));
        delete(&mut machine, call, attachment, &rules)
    }

    fn check(&self, call: &Call, attachment: &Attachment) -> Result<(), Error> {
        let (config, previous) = load(call)?;
        let ifname = attachment.ifname.as_str();
        let ips = wanted(&previous, ifname)?;
        let (mut machine, _lock) = enter(container::open(attachment)?)?;
        let found = survey(&mut machine, ifname)?;
        ips.iter().try_for_each(|ip| check(&mut machine, &found, ip, &config.lookup))
    }

    fn gc(&self, _: &Call, _: &ValidAttachments) -> Result<(), Error> {
        Ok(()) // nothing of it outlives the namespace
    }

    fn status(&self, call: &Call) -> Result<(), Error> {
        Config::load(call)?;
        let reason = match Machine::host_only().host().and_then(kernel::Handle::has_rules) {
            Ok(true) => return Ok(()),
            Ok(false) => "there are no rules, not even the kernel's own".to_owned(),
            Err(error) => error.to_string(),
        };
        Err(Error::new(Code::PLUGIN_NOT_AVAILABLE, format!("no policy routing: {reason}")))
    }
}

fn load(call: &Call) -> Result<(Config, AddResult), Error> {
    let config = Config::load(call)?;
    let previous =
        call.prev_result()?.ok_or_else(|| Error::internal("This plugin must be called as chained plugin"))?;
    Ok((config, previous))
}

/// The addresses of the interface.
fn wanted<'a>(previous: &'a AddResult, ifname: &'a str) -> Result<Vec<&'a IpConfig>, Error> {
    let ips: Vec<&IpConfig> = plan::addresses(previous, ifname).collect();
    match ips.is_empty() {
        true => Err(Error::internal(format!("No IP addresses supplied on interface: {ifname}"))),
        false => Ok(ips),
    }
}

/// Waits until nobody else works on the namespace. The lock goes with the value that is returned.
fn enter(netns: NetNs) -> Result<(Machine, File), Error> {
    let lock = || -> io::Result<File> {
        let file = File::from(netns.as_fd().try_clone_to_owned()?);
        file.lock()?;
        Ok(file)
    };
    let lock = lock().map_err(|error| attempt(format_args!("lock {}", netns.path().display()), error))?;
    let machine = Machine::with_container(netns).map_err(|error| attempt("enter the container's netns", error))?;
    Ok((machine, lock))
}

fn rules(machine: &mut Machine) -> Result<Vec<Rule>, Error> {
    let rules = machine.side(Side::Container).and_then(kernel::Handle::rules);
    rules.map_err(|error| attempt("Failed to list all rules", error))
}

fn survey(machine: &mut Machine, ifname: &str) -> Result<Found, Error> {
    let rules = rules(machine)?;
    let no_link =
        |error: &dyn std::fmt::Display| attempt(format_args!("Cannot find network interface {ifname}"), error);
    let link = machine.side(Side::Container).and_then(|container| container.link(ifname));
    let link = link.map_err(|error| no_link(&error))?.ok_or_else(|| no_link(&"Link not found"))?;
    let routes = machine.side(Side::Container).and_then(|container| container.link_routes(plan::MAIN, link.index));
    let routes = routes.map_err(|error| attempt("Unable to list routes", error))?;
    Ok(Found { link: link.index, name: link.name, routes, rules })
}

/// Adds the rules that lead to a table which somebody else fills.
fn lead_to(machine: &mut Machine, table: u32, ips: &[&IpConfig]) -> Result<(), Error> {
    let rules = rules(machine)?;
    let mut done = Applied::default();
    let result = plan::rules_to(table, ips, &rules).apply(machine, &mut done);
    result.map_err(|failure| take_back(machine, done, from_failure(failure)))
}

/// Gives each address its table. With `hints`, the networks stay in table main, and failures there are only told.
fn route(
    machine: &mut Machine,
    found: &Found,
    ips: &[&IpConfig],
    gateways: Gateways,
    hints: Option<&Call>,
) -> Result<(), Error> {
    let tables = found.tables(machine, ips).map_err(|error| attempt("Failed to list all routes", error))?;
    let mut done = Applied::default();
    let filled = found.fill(ips, &tables, gateways).apply(machine, &mut done);
    let result = filled.and_then(|()| match hints {
        Some(_) => Ok(()),
        None => found.empty_main().apply(machine, &mut done),
    });
    if let Err(failure) = result {
        return Err(take_back(machine, done, from_failure(failure)));
    }
    let Some(call) = hints else { return Ok(()) };
    let (attempts, requests): (Vec<_>, Vec<_>) = found.hint(ips).into_iter().unzip();
    match machine.side(Side::Container).and_then(|container| container.exchange(&requests)) {
        Ok(outcomes) => {
            for (attempt, outcome) in attempts.iter().zip(outcomes) {
                if let Err(refusal) = outcome {
                    call.warn(format_args!("{attempt}: {refusal}"));
                }
            }
            Ok(())
        }
        Err(error) => Err(take_back(machine, done, attempt("Failed to add subnet route to main table", error))),
    }
}

/// Undoes what was done; what could not be undone is in the details of the error.
fn take_back(machine: &mut Machine, done: Applied, error: Error) -> Error {
    let failures: Vec<String> = done.undo(machine).iter().map(ToString::to_string).collect();
    if failures.is_empty() {
        return error;
    }
    let details = format!("{}; {}", error.details, failures.join("; "));
    error.with_details(details)
}

/// Removes those of `rules` that are for an address of the interface. When the interface is gone, its addresses are those
/// of the previous result, if there is one.
fn delete(machine: &mut Machine, call: &Call, attachment: &Attachment, rules: &[Rule]) -> Result<(), Error> {
    if rules.is_empty() {
        return Ok(());
    }
    let ifname = attachment.ifname.as_str();
    let link = machine.side(Side::Container).and_then(|container| container.link(ifname));
    let mut addresses = Vec::new();
    match link.map_err(|error| attempt(format_args!("Failed to get link {ifname}"), error))? {
        Some(link) => {
            for is_ipv6 in [false, true] {
                let found = machine.side(Side::Container).and_then(|side| side.addresses(link.index, is_ipv6));
                let found = found.map_err(|error| attempt("Failed to list all addrs", error))?;
                addresses.extend(found.iter().map(|address| address.network.ip()));
            }
        }
        None => {
            let previous = call.prev_result().ok().flatten().unwrap_or_default();
            addresses.extend(plan::addresses(&previous, ifname).map(|ip| ip.address.ip()));
        }
    }
    let is_its = |rule: &&Rule| rule.source.is_some_and(|source| addresses.iter().any(|ip| source == (*ip).into()));
    let requests: Vec<_> = rules.iter().filter(is_its).filter_map(Rule::del).collect();
    let outcomes = machine.side(Side::Container).and_then(|container| container.exchange(&requests));
    let failed = |error: &netlink::Error| Error::internal(format!("Failed to delete rule {error}"));
    let mut result = Ok(());
    for outcome in outcomes.map_err(|error| failed(&error))? {
        match outcome.map_err(netlink::Error::from) {
            Err(error) if !error.is_not_found() => result = Err(failed(&error)),
            _ => {}
        }
    }
    result
}

/// Checks that packets from an address find their table, and something in it.
fn check(machine: &mut Machine, found: &Found, ip: &IpConfig, lookup: &Lookup) -> Result<(), Error> {
    let leads_there = |rule: &&Rule| {
        plan::is_for(rule, ip)
            && match lookup {
                Lookup::Given(table) => rule.table == *table,
                Lookup::Own { .. } => plan::is_ours(rule.table),
            }
    };
    let Some(rule) = found.rules.iter().find(leads_there) else {
        let table = if let Lookup::Given(table) = lookup { table.to_string() } else { "TABLE".to_owned() };
        return Err(missing(format_args!("rule from {} lookup {table}", plan::source(ip))));
    };
    let Lookup::Own { gateways, source_hints } = lookup else { return Ok(()) };
    let held = machine.side(Side::Container).and_then(|container| container.table_routes(rule.table));
    let held = held.map_err(|error| attempt("Failed to list all routes", error))?;
    let hops = || held.iter().flat_map(|route| route.hops()).filter(|hop| hop.oif == Some(found.link));
    if let Some(router) = gateways.get(ip.address.is_ipv6()).or(ip.gateway) {
        let default = plan::default_route(router, rule.table);
        if !hops().any(|hop| hop.dst == default.dst) {
            return Err(missing(format_args!("route {default} dev {}", found.name)));
        }
    }
    if *source_hints {
        let hint = plan::hinted(ip);
        let mut main = found.routes.iter().flat_map(|route| route.hops());
        if !main.any(|hop| hop.dst == hint.dst && hop.source == hint.source) {
            return Err(missing(format_args!("route {hint} dev {}", found.name)));
        }
    }
    Ok(())
}

fn missing(what: impl std::fmt::Display) -> Error {
    Error::internal(format!("missing: {what}"))
}

#[cfg(test)]
pub(crate) mod tests;
