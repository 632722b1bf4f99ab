//! Deleting elements of an owner, and only that owner's.

use std::collections::BTreeSet;

use super::batch::{Batch, Change};
use super::client::{Nft, summary};
use super::error::Error;
use super::read::Entry;
use super::table::ObjectName;
use super::value::Value;

/// How often a deletion is tried again because somebody changed the ruleset between reading the owner and deleting.
/// One of all who try at the same time always succeeds, so this is above any number of plugins that run at once.
const ATTEMPTS: usize = 1000;
/// How often sets are tried to be retired. They are in nobody's way.
const RETIREMENTS: usize = 100;
/// How many elements are looked at between two looks at the generation, so that a busy ruleset can't stop a sweep.
const GROUP: usize = 64;

impl Nft {
    /// Deletes the elements of `set` whose comment is `owned`, and says how many. A set that is not there has none.
    ///
    /// # Errors
    ///
    /// Any refusal but that of a missing set.
    pub fn remove_owned(&mut self, set: &ObjectName, owned: &dyn Fn(&str) -> bool) -> Result<usize, Error> {
        self.take_owned(set, owned).map(|entries| entries.len())
    }

    /// As [`Nft::remove_owned`], and returns the elements as they were.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn take_owned(&mut self, set: &ObjectName, owned: &dyn Fn(&str) -> bool) -> Result<Vec<Entry>, Error> {
        let entries = match self.elements(set) {
            Ok(entries) => entries,
            Err(error) if error.is_not_found() => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let owned_entries = entries.into_iter().filter(|entry| entry.is_owned(owned));
        // A list that was read while elements came and went may have one twice.
        let keys: BTreeSet<Vec<u8>> = owned_entries.map(|entry| entry.key.bytes()).collect();
        let keys: Vec<Value> = keys.into_iter().map(Value::Raw).collect();
        let targets: Vec<(&ObjectName, &Value)> = keys.iter().map(|key| (set, key)).collect();
        let taken = self.take(&targets, owned)?;
        Ok(taken.into_iter().map(|(_, entry)| entry).collect())
    }

    /// Deletes those of the elements whose comment is `owned` at the moment of the deletion, and returns them as they
    /// were, each with its place in `targets`. Neither a missing element nor a missing set is an error.
    ///
    /// The owner is read, and the deletion holds only for the generation that was read: another process can't give an
    /// element to a new owner in between.
    ///
    /// # Errors
    ///
    /// Any other refusal.
    pub fn take(
        &mut self,
        targets: &[(&ObjectName, &Value)],
        owned: &dyn Fn(&str) -> bool,
    ) -> Result<Vec<(usize, Entry)>, Error> {
        let mut taken = Vec::new();
        for (at, group) in targets.chunks(GROUP).enumerate() {
            let found = self.take_some(group, owned)?;
            taken.extend(found.into_iter().map(|(place, entry)| (at * GROUP + place, entry)));
        }
        Ok(taken)
    }

    /// Deletes sets that have no elements, with the rules of `users` that use them, told by chain and comment, and the
    /// `chains` that are for nothing else. Says whether it did: if any of the sets has an element, all stay.
    ///
    /// It holds for the generation in which the sets were seen empty. Older kernels (6.1) do not count the elements of
    /// sets without a limit, and would delete them with what has come in between, whatever `NLM_F_NONREC` says.
    ///
    /// # Errors
    ///
    /// Any refusal but that something is missing, or used by others.
    pub fn retire(
        &mut self,
        sets: &[ObjectName],
        users: &[(ObjectName, String)],
        chains: &[ObjectName],
    ) -> Result<bool, Error> {
        for _ in 0..RETIREMENTS {
            let generation = self.generation()?;
            for set in sets {
                match self.elements(set) {
                    Ok(elements) if elements.is_empty() => {}
                    Err(error) if !error.is_not_found() => return Err(error),
                    _ => return Ok(false),
                }
            }
            let batch = self.retirement(sets, users, chains)?;
            match self.commit_at(&batch, generation) {
                Ok(()) => return Ok(true),
                Err(Error::Changed { .. }) => {}
                Err(error) if error.is_busy() || error.is_not_found() => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        // Who keeps coming needs them.
        Ok(false)
    }

    fn retirement(
        &mut self,
        sets: &[ObjectName],
        users: &[(ObjectName, String)],
        chains: &[ObjectName],
    ) -> Result<Batch, Error> {
        let mut batch = Batch::new();
        for (chain, comment) in users {
            let rules = self.rules(chain)?.into_iter().filter(|rule| rule.comment.as_ref() == Some(comment));
            rules.for_each(|rule| batch.push(Change::DeleteRule(chain.clone(), rule.handle)));
        }
        for chain in chains {
            batch.push(Change::FlushChain(chain.clone()));
            batch.push(Change::DeleteChain(chain.clone()));
        }
        sets.iter().for_each(|set| batch.push(Change::DeleteSet(set.clone())));
        Ok(batch)
    }

    fn take_some(
        &mut self,
        targets: &[(&ObjectName, &Value)],
        owned: &dyn Fn(&str) -> bool,
    ) -> Result<Vec<(usize, Entry)>, Error> {
        let mut batch = Batch::new();
        for _ in 0..ATTEMPTS {
            let (generation, entries) = self.look_up(targets)?;
            let found = entries.into_iter().enumerate().filter_map(|(at, entry)| Some((at, entry?)));
            let mine: Vec<(usize, Entry)> = found.filter(|(_, entry)| entry.is_owned(owned)).collect();
            batch = Batch::new();
            for (at, _) in &mine {
                let (set, key) = targets[*at];
                batch.push(Change::DeleteElement(set.clone(), key.clone()));
            }
            match self.commit_at(&batch, generation) {
                Ok(()) => return Ok(mine),
                Err(Error::Changed { .. } | Error::NotFound { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Err(Error::Changed { action: summary(&batch) })
    }
}

impl Entry {
    fn is_owned(&self, owned: &dyn Fn(&str) -> bool) -> bool {
        self.comment.as_deref().is_some_and(owned)
    }
}
