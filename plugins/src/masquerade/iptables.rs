//! Masquerading by iptables, to the byte as the Go suite does it, so that either can take down what the other made.
//!
//! ```text
//! -A POSTROUTING -s 10.77.0.2/32 -m comment --comment "name: \"n1\" id: \"cid1\"" -j CNI-ca7a875c2b85fc44a855128b
//! -A CNI-ca7a875c2b85fc44a855128b -d 10.77.0.0/24 -m comment --comment "name: \"n1\" id: \"cid1\"" -j ACCEPT
//! -A CNI-ca7a875c2b85fc44a855128b ! -d 224.0.0.0/4 -m comment --comment "name: \"n1\" id: \"cid1\"" -j MASQUERADE
//! ```
//!
//! The chain is named after network and container, so the interfaces of one container in one network share it. Taking
//! one of them down leaves what the others still need.
//!
//! In one thing this differs from the Go suite: the rules that accept come before the one that masquerades also when an
//! attachment has addresses in several subnets.

use std::collections::BTreeSet;
use std::net::IpAddr;

use cni::plugin::ValidAttachments;
use cni::quote::quote;
use cni::{Error, NetName, Owner};
use ipnetwork::IpNetwork;
use kernel::iptables::{Family, Restore, Rule, Saved, Wanted};
use kernel::plan::Machine;

use crate::iptables::{self, Attached, Change, FAMILIES, Feature, Place, Ruleset, Where};

const NAT: &str = "nat";
const POSTROUTING: &str = "POSTROUTING";
/// What all chain names of the Go suite begin with.
const PREFIX: &str = "CNI-";

/// The rules of one attachment, as a step.
pub(super) type Rules = Attached<Masquerade>;

/// An attachment whose addresses are masqueraded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Masquerade {
    owner: Owner,
    ips: Vec<IpNetwork>,
}

impl Rules {
    pub(super) fn new(owner: &Owner, ips: &[IpNetwork]) -> Self {
        Self(Masquerade { owner: owner.clone(), ips: ips.to_vec() })
    }
}

impl Masquerade {
    fn of(&self, family: Family) -> impl Iterator<Item = &IpNetwork> {
        self.ips.iter().filter(move |ip| Family::of(ip.ip()) == family)
    }

    fn rule(&self, chain: &str, matches: &[&str], target: &str) -> Rule {
        let comment = self.owner.masq_comment();
        Rule::new(chain, [matches, &["-m", "comment", "--comment", &comment, "-j", target]].concat())
    }
}

impl Feature for Masquerade {
    fn table(&self) -> &'static str {
        NAT
    }

    /// The jumps come last, so that no packet meets half a chain.
    fn ruleset(&self, family: Family) -> Ruleset {
        let mut ruleset = Ruleset::default();
        if self.of(family).next().is_none() {
            return ruleset;
        }
        let chain = self.owner.masq_chain();
        let multicast = match family {
            Family::V4 => "224.0.0.0/4",
            Family::V6 => "ff00::/8",
        };
        let nets: BTreeSet<String> = self.of(family).map(|ip| format!("{}/{}", ip.network(), ip.prefix())).collect();
        ruleset.own_chain(&chain);
        // Each goes in front of the one before.
        nets.iter().rev().for_each(|net| ruleset.own(Place::First, self.rule(&chain, &["-d", net], "ACCEPT")));
        ruleset.own(Place::Last, self.rule(&chain, &["!", "-d", multicast], "MASQUERADE"));
        for ip in self.of(family) {
            ruleset.own(Place::Last, self.rule(POSTROUTING, &["-s", &host(ip.ip())], &chain));
        }
        ruleset
    }

    fn remove(&self, machine: &mut Machine) -> Result<(), Error> {
        let known: Vec<IpAddr> = self.ips.iter().map(IpNetwork::ip).collect();
        remove(machine, &self.owner, &known)
    }
}

/// Removes the attachment's rules. A chain that other addresses still jump to loses only what these do not need.
pub(super) fn remove(machine: &mut Machine, owner: &Owner, known: &[IpAddr]) -> Result<(), Error> {
    let chain = owner.masq_chain();
    clear(machine, Wanted::Chain(&chain), &|found| removal(found, owner, known))
}

/// Removes the rules of this network's containers of which no attachment is valid.
pub(super) fn gc(machine: &mut Machine, name: &NetName, valid: &ValidAttachments) -> Result<(), Error> {
    clear(machine, Wanted::Prefix(PREFIX), &|found| collection(found, name, valid))
}

fn clear(machine: &mut Machine, wanted: Wanted<'_>, change: &dyn Fn(&Saved) -> Restore) -> Result<(), Error> {
    FAMILIES.into_iter().try_for_each(|family| {
        let place = Where { family, table: NAT, wanted };
        iptables::clear(machine, place, &|_, found| Ok(Change::to(found, change(found))))
    })
}

fn removal(found: &Saved, owner: &Owner, known: &[IpAddr]) -> Restore {
    let (chain, comment) = (owner.masq_chain(), owner.masq_comment());
    let is_mine = |rule: &Rule| {
        let known_source = || source(rule).is_some_and(|source| known.iter().any(|ip| source.contains(*ip)));
        rule.comment() == Some(&comment) && (known.is_empty() || known_source())
    };
    let mut changes = Restore::new(found.family, NAT);
    let jumps = found.chain(POSTROUTING).filter(|rule| rule.target() == Some(&chain));
    let (mine, others): (Vec<&Rule>, Vec<&Rule>) = jumps.partition(|rule| is_mine(rule));
    mine.iter().for_each(|rule| changes.delete((*rule).clone()));
    if others.is_empty() {
        changes.delete_chain(chain);
        return changes;
    }
    let holds = |net: &IpNetwork, rules: &[&Rule]| {
        rules.iter().filter_map(|rule| source(rule)).any(|source| net.contains(source.ip()))
    };
    for rule in found.chain(&chain) {
        let net = rule.value("-d").and_then(|net| net.parse::<IpNetwork>().ok());
        if net.is_some_and(|net| holds(&net, &mine) && !holds(&net, &others)) {
            changes.delete(rule.clone());
        }
    }
    changes
}

fn collection(found: &Saved, name: &NetName, valid: &ValidAttachments) -> Restore {
    let network = format!("name: {} id: ", quote(name.as_str()));
    let is_stale = |rule: &Rule| {
        let id = rule.comment().and_then(|comment| comment.strip_prefix(network.as_str()));
        let id = id.and_then(|id| id.strip_prefix('"')?.strip_suffix('"'));
        id.is_some_and(|id| !valid.contains_id(id))
    };
    let is_ours = |rule: &&Rule| rule.target().is_some_and(|target| target.starts_with(PREFIX));
    let mut changes = Restore::new(found.family, NAT);
    let (stale, live): (Vec<&Rule>, Vec<&Rule>) =
        found.chain(POSTROUTING).filter(is_ours).partition(|rule| is_stale(rule));
    stale.iter().for_each(|rule| changes.delete((*rule).clone()));
    let used: BTreeSet<&str> = live.into_iter().filter_map(Rule::target).collect();
    let unused: BTreeSet<&str> =
        stale.into_iter().filter_map(Rule::target).filter(|chain| !used.contains(chain)).collect();
    unused.into_iter().for_each(|chain| changes.delete_chain(chain));
    changes
}

/// The address whose packets jump. Old releases of the Go suite gave it the network's prefix, so it is a whole network.
fn source(rule: &Rule) -> Option<IpNetwork> {
    rule.value("-s")?.parse().ok()
}

fn host(address: IpAddr) -> String {
    IpNetwork::from(address).to_string()
}
