//! Taking mappings down, whoever made them, without being told which they were.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use cni::plugin::ValidAttachments;
use cni::{Error, NetName, Owner};
use ipnetwork::IpNetwork;
use kernel::iptables::{Family, Restore, Rule, Saved, Wanted, outline};
use kernel::plan::Machine;

use super::{CHAIN, DNAT, NAT, NOTES, entry};
use crate::error::attempt;
use crate::iptables::{Change, FAMILIES, Where, clear};
use crate::masquerade::nf_tables;
use crate::ownership::Live;
use crate::portmap::flows::Redirect;

/// Early releases of the Go suite had a second chain for each container.
const PAST: &str = "CNI-SN-";

/// Removes the attachment's rules, with both iptables and both families, and says where its ports led.
///
/// # Errors
///
/// When something of it is there and can't be removed.
pub(in crate::portmap) fn remove(machine: &mut Machine, owner: &Owner) -> Result<Vec<Redirect>, Error> {
    let (present, past) = (owner.chain(CHAIN), owner.chain(PAST));
    let mut redirects = Vec::new();
    for family in FAMILIES {
        // The chain with the notes is nearly always there, so it alone is no reason to list the table.
        let chains = [present.as_str(), past.as_str(), NOTES];
        let chains = if is_noted(machine, family, owner)? { &chains[..] } else { &chains[..2] };
        let place = Where { family, table: NAT, wanted: Wanted::Any(chains) };
        let removed = clear_noting(machine, place, &|found| removal(found, owner));
        redirects.extend(
            removed.map_err(|error| error.context(format_args!("could not teardown {} dnat", version(family))))?,
        );
    }
    Ok(redirects)
}

/// Removes the rules of this network's containers of which no attachment is valid, with both iptables and both families,
/// and says where their ports led.
///
/// # Errors
///
/// When something of it is there and can't be removed.
pub(in crate::portmap) fn gc(
    machine: &mut Machine,
    name: &NetName,
    valid: &ValidAttachments,
) -> Result<Vec<Redirect>, Error> {
    let mut redirects = Vec::new();
    if !valid.is_specified() {
        return Ok(redirects);
    }
    for family in FAMILIES {
        let place = Where { family, table: NAT, wanted: Wanted::Any(&[DNAT, NOTES]) };
        let removed = clear_noting(machine, place, &|found| collection(found, name, valid));
        let failed = |error| attempt(format_args!("remove port mappings of network {name}"), error);
        redirects.extend(removed.map_err(failed)?);
    }
    Ok(redirects)
}

/// Removes from a table what `decide` says, and tells where the ports led that lead there no more.
fn clear_noting(
    machine: &mut Machine,
    place: Where<'_>,
    decide: &dyn Fn(&Saved) -> Restore,
) -> Result<Vec<Redirect>, Error> {
    let redirects = RefCell::new(Vec::new());
    clear(machine, place, &|_, found| {
        let changes = decide(found);
        let lost = found.rules.iter().filter(|rule| changes.deletes(rule)).filter_map(entry::redirect);
        redirects.borrow_mut().extend(lost);
        Ok(Change::to(found, changes))
    })?;
    Ok(redirects.into_inner())
}

const fn version(family: Family) -> &'static str {
    match family {
        Family::V4 => "ipv4",
        Family::V6 => "ipv6",
    }
}

/// Whether a note about the attachment is in nf_tables. Where legacy iptables is in use it is listed anyway.
fn is_noted(machine: &mut Machine, family: Family, owner: &Owner) -> Result<bool, Error> {
    let failed = |error: kernel::iptables::Error| attempt("look for port mappings", error);
    let Some(nft) = nf_tables(machine).map_err(|error| failed(error.into()))? else { return Ok(false) };
    let notes = outline(nft, family, NAT, NOTES).map_err(failed)?;
    let tags = notes.iter().flat_map(|notes| &notes.rules).filter_map(|rule| rule.comment.as_deref());
    Ok(tags.into_iter().any(|tag| entry::is_of(tag, owner)))
}

fn removal(found: &Saved, owner: &Owner) -> Restore {
    let mut changes = Restore::new(found.family, NAT);
    let (mine, others): (Vec<_>, Vec<_>) = entry::notes(found).partition(|note| note.is_of(owner));
    mine.iter().for_each(|note| changes.delete(note.rule.clone()));
    let is_mine = |address: IpAddr| mine.iter().any(|note| note.address == address);
    let sharing = others.iter().filter(|note| note.shares_chain(owner) && !is_mine(note.address));
    let staying: Vec<IpAddr> = sharing.map(|note| note.address).collect();
    let chain = owner.chain(CHAIN);
    reduce(found, &chain, &staying, &mut changes);
    delete(found, &owner.chain(PAST), &mut changes);
    changes
}

/// Deletes a chain of a container, and the jumps to it.
pub(super) fn delete(found: &Saved, chain: &str, changes: &mut Restore) {
    let jumps = found.rules.iter().filter(|rule| rule.target() == Some(chain));
    jumps.for_each(|rule| changes.delete(rule.clone()));
    if found.has_chain(chain) {
        changes.delete_chain(chain);
    }
}

/// Deletes of a container's chain what leads to other addresses than those that stay, and what serves only that.
pub(super) fn reduce(found: &Saved, chain: &str, staying: &[IpAddr], changes: &mut Restore) {
    let stays = |to: SocketAddr| staying.contains(&to.ip());
    let kept: Vec<&Rule> = found.chain(chain).filter(|rule| entry::destination(rule).is_some_and(stays)).collect();
    if kept.is_empty() {
        return delete(found, chain, changes);
    }
    let serves = |mark: &Rule| {
        let source = mark.value("-s").and_then(|source| source.parse::<IpNetwork>().ok());
        let is_theirs = |net: IpNetwork| net.ip().is_loopback() || staying.iter().any(|address| net.contains(*address));
        source.is_none_or(is_theirs) && kept.iter().any(|rule| entry::packets(rule) == entry::packets(mark))
    };
    for rule in found.chain(chain) {
        let is_needed = match entry::destination(rule) {
            Some(to) => stays(to),
            None => serves(rule),
        };
        if !is_needed {
            changes.delete(rule.clone());
        }
    }
    let kept: Vec<entry::Port<'_>> = kept.iter().filter_map(|rule| entry::port(rule)).collect();
    leave_jumps(found, chain, &kept, changes);
}

/// Deletes the jumps to a container's chain that are not needed for its ports.
fn leave_jumps(found: &Saved, chain: &str, kept: &[entry::Port<'_>], changes: &mut Restore) {
    let jumps: Vec<&Rule> = found.chain(DNAT).filter(|rule| rule.target() == Some(chain)).collect();
    let (exact, partial): (Vec<&Rule>, Vec<&Rule>) =
        jumps.into_iter().partition(|jump| entry::ports(jump).all(|port| kept.contains(&port)));
    let is_served = |port: &entry::Port<'_>| exact.iter().any(|jump| entry::ports(jump).any(|one| one == *port));
    for jump in partial {
        if !entry::ports(jump).any(|port| kept.contains(&port) && !is_served(&port)) {
            changes.delete(jump.clone());
        }
    }
}

fn collection(found: &Saved, name: &NetName, valid: &ValidAttachments) -> Restore {
    let mut changes = Restore::new(found.family, NAT);
    let live = Live::of(name, valid);
    let mut dead = BTreeSet::new();
    for note in entry::notes(found).filter(|note| live.is_stale(note.tag)) {
        changes.delete(note.rule.clone());
        // A chain without a jump can't say whose it is.
        dead.extend(note.owner().filter(|owner| !valid.contains_id(owner.id.as_str())).map(|owner| owner.chain(CHAIN)));
    }
    let network = entry::network(name.as_str());
    let alive: BTreeSet<String> = valid.iter().map(|(id, _)| entry::comment(name.as_str(), id)).collect();
    let (stale, others): (Vec<&Rule>, Vec<&Rule>) = found.chain(DNAT).partition(|jump| {
        jump.comment().is_some_and(|comment| comment.starts_with(&network) && !alive.contains(comment))
    });
    for jump in &stale {
        dead.extend(jump.target().map(str::to_owned));
        let past = jump.target().and_then(|chain| chain.strip_prefix(CHAIN)).map(|hash| format!("{PAST}{hash}"));
        dead.extend(past);
    }
    // Two networks and containers may share a chain: then only the jumps go.
    dead.retain(|chain| !others.iter().any(|jump| jump.target() == Some(chain)));
    stale.iter().filter(|jump| !jump.target().is_some_and(|chain| dead.contains(chain))).for_each(|jump| {
        changes.delete((**jump).clone());
    });
    dead.iter().for_each(|chain| delete(found, chain, &mut changes));
    changes
}
