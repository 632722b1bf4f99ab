//! What all features have in common that are rules in iptables: masquerading, port mappings, the firewall.
//!
//! # Theory of operation
//!
//! A [`Feature`] says which chains and rules an attachment wants in one table ([`Ruleset`]), and nothing of how they come
//! and go. Chains, names and comments are those of the Go suite to the byte, so that either suite takes down what the other
//! made. What the Go suite leaves without an owner gets one from a rule without a target in a chain of our own, to which
//! nothing jumps (a [note](Ruleset::note)): packets never see it, DEL and GC do.
//!
//! Whatever happens, happens in one way ([`settle`]): look for the chains by name, which starts no process where there are
//! none; list the table where there are; decide what is to change; make that one transaction. If the transaction is
//! refused because somebody changed the rules in between, begin anew. So ADD adds what is missing, be that everything or
//! nothing, and DEL deletes what is there.
//!
//! Chains and jumps of all attachments are ensured and never removed. Adding them takes the [`Lock`], under which the
//! table is looked at once more: else twenty attachments that start on a fresh node would leave twenty jumps.

mod ruleset;

#[cfg(test)]
pub(crate) mod tests;

use std::fmt;
use std::time::{Duration, Instant};

use cni::Error;
use kernel::iptables::{self, Family, Lock, Restore, Rule, Saved, Variant, Wanted};
use kernel::netlink;
use kernel::plan::{Deviation, Failure, Machine, Step};

use crate::masquerade::nf_tables;

pub(crate) use ruleset::{Place, Ruleset};

/// The families, in the order in which they are gone through.
pub(crate) const FAMILIES: [Family; 2] = [Family::V4, Family::V6];
/// How often a change is tried again because somebody changed the rules between listing and changing them.
const ATTEMPTS: usize = 10;
/// How often the very same change may be refused. Then it is not the others who are in its way.
const SAME: usize = 3;
/// How long to go on trying. A refusal can also mean that somebody holds the lock of the tables, for which one attempt
/// waits a minute.
const PATIENCE: Duration = Duration::from_secs(30);

/// What an attachment has in iptables for one purpose.
pub(crate) trait Feature: fmt::Debug {
    /// The table.
    fn table(&self) -> &'static str;

    /// What it wants in a family; nothing where the attachment has no address of the family.
    fn ruleset(&self, family: Family) -> Ruleset;

    /// Looks at what is there before it is added, and changes of it what is in its way.
    ///
    /// # Errors
    ///
    /// When it can't be added to that.
    fn make_room(&self, found: &Saved, changes: &mut Restore) -> Result<(), Error> {
        let _ = (found, changes);
        Ok(())
    }

    /// Removes what [`Feature::ruleset`] owns.
    ///
    /// # Errors
    ///
    /// When that is refused.
    fn remove(&self, machine: &mut Machine) -> Result<(), Error>;

    /// How ADD reports a refusal.
    fn refuse(&self, error: Error) -> Error {
        error
    }

    /// How CHECK reports what is missing.
    fn deviation(&self, family: Family, missing: Missing<'_>) -> Deviation {
        Deviation::Missing(format!("{family} -t {} {missing}", self.table()))
    }
}

/// What CHECK did not find.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Missing<'a> {
    /// A chain.
    Chain(&'a str),
    /// A rule.
    Rule(&'a Rule),
}

/// The arguments that would make it.
impl fmt::Display for Missing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Chain(name) => write!(f, "-N {name}"),
            Self::Rule(rule) => write!(f, "-A {rule}"),
        }
    }
}

/// A feature as a step of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Attached<F>(pub(crate) F);

impl<F: Feature> Step for Attached<F> {
    fn refused(&self, error: netlink::Error) -> Result<(), Failure> {
        Err(Failure::new(self, "change iptables", &error))
    }

    fn apply(&self, machine: &mut Machine) -> Result<(), Failure> {
        add(&self.0, machine).map_err(|error| {
            // One family may have been done before the other was refused.
            let _ = self.0.remove(machine);
            Failure::other(self, error.to_string())
        })
    }

    fn check(&self, machine: &mut Machine) -> Result<(), Deviation> {
        check(&self.0, machine)
    }

    fn undo(&self, machine: &mut Machine) -> Result<(), Failure> {
        self.0.remove(machine).map_err(|error| Failure::other(self, error.to_string()))
    }
}

/// A line a chain and rule.
impl<F: Feature> fmt::Display for Attached<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = FAMILIES.into_iter().flat_map(|family| self.0.ruleset(family).lines(family, self.0.table()));
        f.write_str(&lines.collect::<Vec<_>>().join("\n"))
    }
}

/// Adds what is missing of the feature.
fn add(feature: &dyn Feature, machine: &mut Machine) -> Result<(), Error> {
    for family in FAMILIES {
        let ruleset = feature.ruleset(family);
        if ruleset.is_empty() {
            continue;
        }
        let chains = ruleset.chains();
        let place = Where { family, table: feature.table(), wanted: Wanted::Any(&chains) };
        let decide = |_: &mut Machine, found: &[Saved]| {
            let mut change = ruleset.completion(place, found.first());
            if let Some(found) = found.first() {
                feature.make_room(found, &mut change.restore)?;
            }
            Ok(vec![change])
        };
        let lock = if ruleset.is_exclusive() { Some(Lock::take().map_err(Trouble::from)?) } else { None };
        settle(machine, place, lock, &decide).map_err(Error::from).map_err(|error| feature.refuse(error))?;
    }
    Ok(())
}

/// Looks for everything that the feature wants, first for what is its own.
fn check(feature: &dyn Feature, machine: &mut Machine) -> Result<(), Deviation> {
    for family in FAMILIES {
        let ruleset = feature.ruleset(family);
        let chains = ruleset.chains();
        let place = Where { family, table: feature.table(), wanted: Wanted::Any(&chains) };
        let found = find(machine, place).map_err(|error| Deviation::Unknown(error.to_string()))?;
        if let Some(missing) = ruleset.missing(&found) {
            return Err(feature.deviation(family, missing));
        }
    }
    Ok(())
}

/// Where to look, and for what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Where<'a> {
    /// The family.
    pub family: Family,
    /// The table.
    pub table: &'static str,
    /// The chains without which there is nothing to see.
    pub wanted: Wanted<'a>,
}

/// One transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    /// In which iptables.
    pub variant: Variant,
    /// What.
    pub restore: Restore,
    /// Whether it depends on something that is not the attachment's alone.
    pub is_shared: bool,
}

impl Change {
    /// A change of the attachment's own, in the table that was listed.
    pub(crate) fn to(found: &Saved, restore: Restore) -> Self {
        Self { variant: found.variant, restore, is_shared: false }
    }
}

/// What is to change, given what is there in each variant of iptables.
type Decide<'a> = &'a dyn Fn(&mut Machine, &[Saved]) -> Result<Vec<Change>, Error>;

/// Why a change was not made.
enum Trouble {
    Tables(iptables::Error),
    Other(Error),
}

/// Changes what `decide` finds necessary to be changed, and looks anew if the rules have changed in between.
fn settle(machine: &mut Machine, place: Where<'_>, mut lock: Option<Lock>, decide: Decide<'_>) -> Result<(), Trouble> {
    let patience = Instant::now() + PATIENCE;
    let mut refused: Vec<Vec<Change>> = Vec::new();
    loop {
        let found = find(machine, place)?;
        let changes = decide(machine, &found)?;
        if lock.is_none() && changes.iter().any(|change| change.is_shared) {
            lock = Some(Lock::take()?);
            continue;
        }
        match changes.iter().try_for_each(|change| iptables::restore(&change.restore, change.variant)) {
            Err(error @ iptables::Error::Refused { .. }) => {
                let same = refused.iter().filter(|earlier| **earlier == changes).count() + 1;
                refused.push(changes);
                if same == SAME || refused.len() == ATTEMPTS || Instant::now() > patience {
                    return Err(error.into());
                }
            }
            made => return Ok(made?),
        }
    }
}

/// Removes what `decide` finds to be removed from a table. Without iptables on the node there is nobody who could have
/// made or could remove a rule.
///
/// # Errors
///
/// When the rules can't be listed or changed.
pub(crate) fn clear(
    machine: &mut Machine,
    place: Where<'_>,
    decide: &dyn Fn(&mut Machine, &Saved) -> Result<Change, Error>,
) -> Result<(), Error> {
    let each = |machine: &mut Machine, found: &[Saved]| found.iter().map(|saved| decide(machine, saved)).collect();
    match settle(machine, place, None, &each) {
        Err(Trouble::Tables(iptables::Error::Missing(_))) => Ok(()),
        settled => Ok(settled?),
    }
}

fn find(machine: &mut Machine, place: Where<'_>) -> Result<Vec<Saved>, iptables::Error> {
    let nft = nf_tables(machine)?;
    iptables::find(nft, place.family, place.table, place.wanted)
}

impl From<iptables::Error> for Trouble {
    fn from(error: iptables::Error) -> Self {
        Self::Tables(error)
    }
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self::Other(error)
    }
}

impl From<Trouble> for Error {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Tables(error) => Self::internal(error.to_string()),
            Trouble::Other(error) => error,
        }
    }
}
