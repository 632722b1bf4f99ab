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
use std::fmt;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use cni::plugin::ValidAttachments;
use cni::quote::quote;
use cni::{NetName, Owner};
use ipnetwork::IpNetwork;
use kernel::iptables::{self, Error, Family, Restore, Rule, Saved, Variant, Wanted};
use kernel::netlink;
use kernel::nft::Nft;
use kernel::plan::{Deviation, Failure, Machine, Step};

use super::nf_tables;

const NAT: &str = "nat";
const POSTROUTING: &str = "POSTROUTING";
/// What all chain names of the Go suite begin with.
const PREFIX: &str = "CNI-";
/// How often a removal is tried again because somebody changed the rules between listing and removing them.
const ATTEMPTS: usize = 10;
/// How long to go on trying. A refusal can also mean that somebody holds the lock of the tables, for which one attempt
/// waits a minute.
const PATIENCE: Duration = Duration::from_secs(30);
const FAMILIES: [Family; 2] = [Family::V4, Family::V6];

/// The rules of one attachment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rules {
    owner: Owner,
    ips: Vec<IpNetwork>,
}

impl Rules {
    pub(super) fn new(owner: &Owner, ips: &[IpNetwork]) -> Self {
        Self { owner: owner.clone(), ips: ips.to_vec() }
    }

    fn chain(&self) -> String {
        self.owner.masq_chain()
    }

    fn families(&self) -> impl Iterator<Item = Family> {
        FAMILIES.into_iter().filter(|family| self.of(*family).next().is_some())
    }

    fn of(&self, family: Family) -> impl Iterator<Item = &IpNetwork> {
        self.ips.iter().filter(move |ip| Family::of(ip.ip()) == family)
    }

    fn rule(&self, chain: &str, matches: &[&str], target: &str) -> Rule {
        let comment = self.owner.masq_comment();
        Rule::new(chain, [matches, &["-m", "comment", "--comment", &comment, "-j", target]].concat())
    }

    /// The rules in which the chain accepts.
    fn accepting(&self, family: Family) -> Vec<Rule> {
        let nets: BTreeSet<String> = self.of(family).map(|ip| format!("{}/{}", ip.network(), ip.prefix())).collect();
        nets.iter().map(|net| self.rule(&self.chain(), &["-d", net], "ACCEPT")).collect()
    }

    /// The rule in which it masquerades, and the jumps to it.
    fn masquerading(&self, family: Family) -> Vec<Rule> {
        let multicast = match family {
            Family::V4 => "224.0.0.0/4",
            Family::V6 => "ff00::/8",
        };
        let masquerade = self.rule(&self.chain(), &["!", "-d", multicast], "MASQUERADE");
        let jump = |ip: &IpNetwork| self.rule(POSTROUTING, &["-s", &host(ip.ip())], &self.chain());
        std::iter::once(masquerade).chain(self.of(family).map(jump)).collect()
    }

    /// What is to be done where nothing is there yet. The jumps come last, so that no packet meets half a chain.
    fn creation(&self, family: Family) -> Restore {
        let mut changes = Restore::new(family, NAT);
        changes.chain(self.chain());
        self.accepting(family).into_iter().for_each(|rule| changes.append(rule));
        self.masquerading(family).into_iter().for_each(|rule| changes.append(rule));
        changes
    }

    /// What is to be done where the chain is there: made by an earlier attempt, or for another interface.
    fn completion(&self, found: &Saved) -> Restore {
        let mut changes = Restore::new(found.family, NAT);
        let missing = |rules: Vec<Rule>| rules.into_iter().filter(|rule| !found.rules.contains(rule));
        missing(self.accepting(found.family)).for_each(|rule| changes.insert(rule));
        missing(self.masquerading(found.family)).for_each(|rule| changes.append(rule));
        changes
    }

    fn create(&self, machine: &mut Machine) -> Result<(), Error> {
        let chain = self.chain();
        for family in self.families() {
            let found = iptables::find(nf_tables(machine)?, family, NAT, Wanted::Chain(&chain))?;
            match found.first() {
                Some(found) => iptables::restore(&self.completion(found), found.variant)?,
                None => iptables::restore(&self.creation(family), Variant::Default)?,
            }
        }
        Ok(())
    }

    /// The first rule that is missing.
    fn missing(&self, machine: &mut Machine) -> Result<Option<String>, Error> {
        let chain = self.chain();
        for family in self.families() {
            let found = iptables::find(nf_tables(machine)?, family, NAT, Wanted::Chain(&chain))?;
            let mut wanted = self.accepting(family).into_iter().chain(self.masquerading(family));
            let is_missing = |rule: &Rule| !found.iter().any(|saved| saved.rules.contains(rule));
            if let Some(rule) = wanted.find(is_missing) {
                return Ok(Some(format!("{family} -t {NAT} -A {rule}")));
            }
        }
        Ok(None)
    }
}

impl Step for Rules {
    fn refused(&self, error: netlink::Error) -> Result<(), Failure> {
        Err(Failure::new(self, "change iptables", &error))
    }

    fn apply(&self, machine: &mut Machine) -> Result<(), Failure> {
        self.create(machine).map_err(|error| {
            // One family may have been done before the other was refused.
            let _ = self.undo(machine);
            Failure::other(self, error.to_string())
        })
    }

    fn check(&self, machine: &mut Machine) -> Result<(), Deviation> {
        match self.missing(machine) {
            Ok(None) => Ok(()),
            Ok(Some(line)) => Err(Deviation::Missing(line)),
            Err(error) => Err(Deviation::Unknown(error.to_string())),
        }
    }

    fn undo(&self, machine: &mut Machine) -> Result<(), Failure> {
        let known: Vec<IpAddr> = self.ips.iter().map(IpNetwork::ip).collect();
        let nft = nf_tables(machine).map_err(Error::from);
        let removed = nft.and_then(|nft| remove(nft, &self.owner, &known));
        removed.map_err(|error| Failure::other(self, error.to_string()))
    }
}

impl fmt::Display for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut newline = "";
        for family in self.families() {
            write!(f, "{newline}{family} -t {NAT} -N {}", self.chain())?;
            for rule in self.accepting(family).iter().chain(&self.masquerading(family)) {
                write!(f, "\n{family} -t {NAT} -A {rule}")?;
            }
            newline = "\n";
        }
        Ok(())
    }
}

/// Removes the attachment's rules. A chain that other addresses still jump to loses only what these do not need.
pub(super) fn remove(mut nft: Option<&mut Nft>, owner: &Owner, known: &[IpAddr]) -> Result<(), Error> {
    let chain = owner.masq_chain();
    for family in FAMILIES {
        let change = |found: &Saved| removal(found, owner, known);
        settle(nft.as_deref_mut(), family, Wanted::Chain(&chain), &change)?;
    }
    Ok(())
}

/// Removes the rules of this network's containers of which no attachment is valid.
pub(super) fn gc(mut nft: Option<&mut Nft>, name: &NetName, valid: &ValidAttachments) -> Result<(), Error> {
    for family in FAMILIES {
        let change = |found: &Saved| collection(found, name, valid);
        settle(nft.as_deref_mut(), family, Wanted::Prefix(PREFIX), &change)?;
    }
    Ok(())
}

/// Makes the changes that `change` finds necessary, wherever something wanted is, again if the rules have changed in
/// between. Without iptables on the node there is nobody who could have made or could remove a rule.
fn settle(
    mut nft: Option<&mut Nft>,
    family: Family,
    wanted: Wanted<'_>,
    change: &dyn Fn(&Saved) -> Restore,
) -> Result<(), Error> {
    let mut last = Ok(());
    let patience = Instant::now() + PATIENCE;
    for _ in 0..ATTEMPTS {
        let found = match iptables::find(nft.as_deref_mut(), family, NAT, wanted) {
            Err(Error::Missing(_)) => return Ok(()),
            found => found?,
        };
        last = found.iter().try_for_each(|saved| iptables::restore(&change(saved), saved.variant));
        if !matches!(last, Err(Error::Refused { .. })) || Instant::now() > patience {
            break;
        }
    }
    last
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
