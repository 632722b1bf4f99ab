//! Taking rules down, whoever made them.

use std::collections::BTreeSet;
use std::net::IpAddr;

use cni::plugin::ValidAttachments;
use cni::{Error, NetName, Owner};
use ipnetwork::IpNetwork;
use kernel::iptables::{self, Effect, Family, Restore, Rule, Saved, Wanted};
use kernel::nft;
use kernel::plan::Machine;

use super::note::{self, Note};
use super::{CONTAINERS, FILTER, NOTES, STAGE1, STAGE2};
use crate::error::attempt;
use crate::iptables::{Change, FAMILIES, Where, clear};
use crate::masquerade::nf_tables;
use crate::ownership::Live;
use crate::records::Records;

/// Where anything of an attachment may be.
const CHAINS: Wanted<'_> = Wanted::Any(&[CONTAINERS, NOTES, STAGE1]);

/// Removes the attachment's rules, with both iptables and both families: those that are noted as its own, and those for
/// the addresses that it is `known` to have, unless they are noted as somebody else's. Of an attachment that the Go suite
/// made and nobody tells the addresses of, those on record are taken.
///
/// # Errors
///
/// When something of it is there and can't be removed.
pub(crate) fn remove(machine: &mut Machine, owner: &Owner, known: &[IpAddr]) -> Result<(), Error> {
    for family in FAMILIES {
        if !may_have(machine, family, owner)? {
            continue;
        }
        let place = Where { family, table: FILTER, wanted: CHAINS };
        let decide = |machine: &mut Machine, found: &Saved| {
            let is_noted = note::all(found).any(|note| note.is_of(owner));
            let known = if is_noted || !known.is_empty() { known.to_vec() } else { recorded(owner) };
            Removal::of(found, |note| note.is_of(owner)).change(machine, &known, &[])
        };
        let removed = clear(machine, place, &decide);
        removed.map_err(|error| attempt(format_args!("remove {family} rules of container {}", owner.id), error))?;
    }
    Ok(())
}

/// Removes what belongs to the network and to none of its valid attachments, and what puts bridges under a policy to
/// which nothing is attached any more, with both iptables and both families.
///
/// # Errors
///
/// When something of it is there and can't be removed.
pub(crate) fn gc(machine: &mut Machine, name: &NetName, valid: &ValidAttachments) -> Result<(), Error> {
    if !valid.is_specified() {
        return Ok(());
    }
    let live = Live::of(name, valid);
    for family in FAMILIES {
        let place = Where { family, table: FILTER, wanted: CHAINS };
        let decide = |machine: &mut Machine, found: &Saved| {
            let unowned = left_behind(found, name, valid)?;
            let bridges: Vec<&str> = found.chain(STAGE2).filter_map(|rule| rule.value("-o")).collect();
            Removal::of(found, |note| live.is_stale(note.tag)).change(machine, &unowned, &bridges)
        };
        let removed = clear(machine, place, &decide);
        removed.map_err(|error| attempt(format_args!("remove {family} rules of network {name}"), error))?;
    }
    Ok(())
}

/// Whether the attachment may have rules: there are some that accept, or a note. So a node that once had such rules, and
/// has the chains still, is not listed each time.
fn may_have(machine: &mut Machine, family: Family, owner: &Owner) -> Result<bool, Error> {
    let failed = |error: iptables::Error| attempt("look for firewall rules", error);
    if iptables::is_legacy_in_use(family, FILTER).map_err(failed)? {
        return Ok(true);
    }
    let Some(nft) = nf_tables(machine).map_err(|error| failed(error.into()))? else { return Ok(false) };
    let mut rules = |chain| {
        let outline = iptables::outline(nft, family, FILTER, chain).map_err(failed)?;
        Ok::<_, Error>(outline.map(|outline| outline.rules).unwrap_or_default())
    };
    let is_mine = |tag: &String| nft::owner(tag) == owner.tag_prefix();
    Ok(rules(CONTAINERS)?.iter().any(|rule| rule.effect == Effect::Accept)
        || rules(NOTES)?.iter().any(|rule| rule.comment.as_ref().is_some_and(is_mine)))
}

/// The addresses that others have on record for the attachment. Without records there are none.
fn recorded(owner: &Owner) -> Vec<IpAddr> {
    let records = Records::of(&owner.net);
    records.map(|records| records.addresses_of(owner.id.as_str(), owner.ifname.as_str())).unwrap_or_default()
}

/// The addresses with rules and without a note that attachments of this network have left behind.
fn left_behind(found: &Saved, name: &NetName, valid: &ValidAttachments) -> Result<Vec<IpAddr>, Error> {
    let noted: BTreeSet<IpAddr> = note::all(found).filter_map(|note| note.address()).collect();
    let addresses = found.chain(CONTAINERS).filter_map(address).filter(|address| !noted.contains(address));
    let addresses: BTreeSet<IpAddr> = addresses.collect();
    if addresses.is_empty() {
        return Ok(Vec::new());
    }
    let failed = |error: std::io::Error| attempt("read what is on record about addresses", error);
    let records = Records::of(name).map_err(failed)?;
    let mut stale = Vec::new();
    for address in addresses {
        if records.is_stale_address(address, valid).map_err(failed)? {
            stale.push(address);
        }
    }
    Ok(stale)
}

/// The address that a rule lets pass, if it is one of those that an attachment has.
fn address(rule: &Rule) -> Option<IpAddr> {
    let host = rule.value("-s").or_else(|| rule.value("-d"))?;
    let address = host.parse::<IpNetwork>().ok()?.ip();
    super::passing(address).contains(rule).then_some(address)
}

/// What is to be removed from a table: what is noted as belonging to those who leave.
struct Removal<'a> {
    found: &'a Saved,
    leaving: Vec<Note<'a>>,
    staying: Vec<Note<'a>>,
}

impl<'a> Removal<'a> {
    fn of(found: &'a Saved, is_leaving: impl Fn(&Note<'_>) -> bool) -> Self {
        let (leaving, staying) = note::all(found).partition(is_leaving);
        Self { found, leaving, staying }
    }

    /// Removes it, and besides what is for `addresses` and `bridges`, as far as that is noted as nobody's who stays.
    fn change(&self, machine: &mut Machine, addresses: &[IpAddr], bridges: &[&str]) -> Result<Change, Error> {
        let mut change = Change::to(self.found, Restore::new(self.found.family, FILTER));
        self.leaving.iter().for_each(|note| change.restore.delete(note.rule.clone()));
        let staying: BTreeSet<IpAddr> = self.staying.iter().filter_map(Note::address).collect();
        let leaving = self.leaving.iter().filter_map(Note::address).chain(addresses.iter().copied());
        let leaving: BTreeSet<IpAddr> = leaving.filter(|address| !staying.contains(address)).collect();
        let passing = self.found.chain(CONTAINERS).filter_map(|rule| Some((rule, address(rule)?)));
        let (closed, open): (Vec<_>, Vec<_>) = passing.partition(|(_, address)| leaving.contains(address));
        closed.into_iter().for_each(|(rule, _)| change.restore.delete(rule.clone()));
        // The Go suite's attachments note nothing, neither their addresses nor their policies.
        let has_strangers = open.iter().any(|(_, address)| !staying.contains(address));
        let left: BTreeSet<&str> = self.leaving.iter().filter_map(Note::bridge).map(|(bridge, _)| bridge).collect();
        // Of two that leave at the same time, neither would be the last.
        change.is_shared = !left.is_empty();
        for bridge in left.into_iter().chain(bridges.iter().copied()).collect::<BTreeSet<_>>() {
            let rules = self.unwanted(bridge);
            if !rules.is_empty() && !has_strangers && !has_strange_ports(machine, bridge)? {
                rules.into_iter().for_each(|rule| change.restore.delete(rule.clone()));
                change.is_shared = true;
            }
        }
        Ok(change)
    }

    /// The rules for a bridge that nobody who stays wants.
    fn unwanted(&self, bridge: &str) -> Vec<&'a Rule> {
        let wishes: Vec<bool> = self
            .staying
            .iter()
            .filter_map(Note::bridge)
            .filter(|(name, _)| *name == bridge)
            .map(|(_, is)| is)
            .collect();
        let is_isolated = wishes.contains(&true);
        let is_of = |rule: &&Rule| match rule.chain.as_str() {
            STAGE1 => rule.value("-i") == Some(bridge),
            _ => rule.chain == STAGE2 && rule.value("-o") == Some(bridge),
        };
        let is_wanted = |rule: &&Rule| match rule.target() {
            // To itself.
            Some("DROP") if rule.chain == STAGE1 => is_isolated,
            // To other bridges. The policy is in the comment.
            Some(STAGE2) => wishes.iter().any(|isolated| is_for(rule, *isolated)),
            _ => !wishes.is_empty(),
        };
        self.found.rules.iter().filter(is_of).filter(|rule| !is_wanted(rule)).collect()
    }
}

/// Whether the comment of a rule names the policy. Early releases of the Go suite had but one.
fn is_for(rule: &Rule, isolated: bool) -> bool {
    rule.comment().is_some_and(|comment| comment.contains("isolated") == isolated)
}

/// Whether a bridge has ports of which nobody says whose they are: of the Go suite, say, and under a policy.
fn has_strange_ports(machine: &mut Machine, bridge: &str) -> Result<bool, Error> {
    let failed = |error: kernel::netlink::Error| attempt(format_args!("look for ports of {bridge}"), error);
    let host = machine.host().map_err(failed)?;
    let Some(link) = host.link(bridge).map_err(failed)? else { return Ok(false) };
    let ports = host.ports(link.index).map_err(failed)?;
    let is_ours = |alias: &String| Owner::parse_tag(alias).is_some();
    Ok(ports.iter().any(|port| !port.alias.as_ref().is_some_and(is_ours)))
}
