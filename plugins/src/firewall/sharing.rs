//! What attachments share, and who answers for it.
//!
//! # Theory of operation
//!
//! That a bridge is under a policy is one element in a set that the rules look at, however many attachments want it. It
//! must be there as long as there is one of them, or the last containers are left without protection; and no longer, or
//! traffic is dropped of which the configuration says nothing any more. To count would be to keep a number right through
//! crashes. Instead the element carries the tag of one of them, who *holds* it, and each has a place of its own in a second
//! set, which no rule looks at:
//!
//! * ADD takes its place first and then makes sure of the element, whoever holds it.
//! * DEL gives its place up first, and then looks whether it holds anything, which takes no time because bridges are few.
//!   Only if it does, it reads the places: the first other attachment there holds the element from now on; if there is
//!   none, the element goes. All of that is one transaction, which the kernel makes only if nobody changed anything since
//!   the places were read.
//! * GC does the same for all stale attachments.
//!
//! Whoever takes a place while another hands on is either seen by it, or makes its transaction be repeated, or comes so
//! late that it finds the element gone and makes it anew. A crash between the two halves of ADD or DEL is made good by the
//! next DEL or GC: the tag still says whose the element was.

use std::fmt;

use cni::Owner;
use kernel::netlink;
use kernel::nft::{self, Batch, Change, Element, Elements, Entry, Error, Layout, Nft, ObjectName, Value};
use kernel::plan::{Deviation, Failure, Machine, Step};

use super::nftables::{ROUTED, SHARES};

/// How often handing on is tried again because somebody changed the ruleset in between; above any number of plugins that
/// run at once.
const ATTEMPTS: usize = 1000;
/// How long the name of a link is in a key (`IFNAMSIZ`).
const LINK: usize = 16;

/// Elements that are shared, and the places of those who share them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Share {
    /// The sets of what is shared. Their keys begin with the name of a link.
    pub(super) sets: &'static [&'static str],
    /// The set of places: a link, and one of those who share it.
    pub(super) places: &'static str,
}

/// What an attachment has in one table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Holding {
    /// What is its own, the places among it.
    own: Elements,
    /// What it shares with others.
    shared: Vec<Element>,
    tag: String,
}

impl Holding {
    /// Nothing yet, in the table with this layout.
    pub(super) fn new(owner: &Owner, layout: Layout) -> Self {
        Self { own: Elements { layout, elements: Vec::new() }, shared: Vec::new(), tag: owner.tag() }
    }

    /// An element of its own.
    pub(super) fn own(&mut self, set: &'static str, key: Value) {
        self.own.elements.push(self.element(set, key));
    }

    /// An element that others may want, too.
    pub(super) fn share(&mut self, set: &'static str, key: Value) {
        self.shared.push(self.element(set, key));
    }

    fn element(&self, set: &'static str, key: Value) -> Element {
        let set = self.own.layout.table.name.object(set);
        Element { set, key, data: None, comment: Some(self.tag.clone()) }
    }

    fn apply(&self, nft: &mut Nft) -> Result<(), Error> {
        self.own.apply(nft)?;
        let mut batch = Batch::new();
        for element in &self.shared {
            // Asked for first: a transaction that the kernel has to take back costs it 15 ms. Nobody removes what is
            // there now, because we have our place.
            if nft.element(&element.set, &element.key)?.is_none() {
                batch.add(element.clone());
            }
        }
        nft.commit(&batch)
    }

    /// The first line that does not hold.
    fn check(&self, nft: &mut Nft) -> Result<Option<String>, Error> {
        let missing = self.own.check(nft)?;
        if missing.is_some() {
            return Ok(missing);
        }
        for element in &self.shared {
            if nft.element(&element.set, &element.key)?.is_none() {
                return Ok(Some(format!("nft add {element}")));
            }
        }
        Ok(None)
    }

    /// Removes what is its own, by key, and says how many of it were there.
    pub(super) fn remove(&self, nft: &mut Nft) -> Result<usize, Error> {
        self.own.remove(nft)
    }
}

/// All that an attachment has in our tables, as a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Held(pub(super) Vec<Holding>);

impl Held {
    /// Removes all of it, as far as that can be; returns the first refusal.
    fn remove(&self, nft: &mut Nft) -> Result<(), Error> {
        let mut removed = Ok(());
        for holding in &self.0 {
            removed = removed.and(holding.remove(nft).map(drop));
        }
        let Some(Holding { tag, .. }) = self.0.first() else { return Ok(()) };
        removed.and(release(nft, &|found| nft::owner(found) == nft::owner(tag)))
    }
}

impl Step for Held {
    fn refused(&self, error: netlink::Error) -> Result<(), Failure> {
        Err(Failure::new(self, "change nftables", &error))
    }

    fn apply(&self, machine: &mut Machine) -> Result<(), Failure> {
        let failed = |error: Error| Failure::other(self, error.to_string());
        let nft = machine.nft().map_err(failed)?;
        self.0.iter().try_for_each(|holding| holding.apply(nft)).map_err(|error| {
            // One half may have been done before the other was refused.
            let _ = self.remove(nft);
            failed(error)
        })
    }

    fn check(&self, machine: &mut Machine) -> Result<(), Deviation> {
        let unknown = |error: Error| Deviation::Unknown(error.to_string());
        let nft = machine.nft().map_err(unknown)?;
        for holding in &self.0 {
            if let Some(line) = holding.check(nft).map_err(unknown)? {
                return Err(Deviation::Missing(line));
            }
        }
        Ok(())
    }

    fn undo(&self, machine: &mut Machine) -> Result<(), Failure> {
        let removed = machine.nft().and_then(|nft| self.remove(nft));
        removed.map_err(|error| Failure::other(self, error.to_string()))
    }
}

/// A line an element.
impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut newline = "";
        for Holding { own, shared, .. } in &self.0 {
            for element in &own.elements {
                write!(f, "{newline}nft create {element}")?;
                newline = "\n";
            }
            for element in shared {
                write!(f, "{newline}nft add {element}")?;
                newline = "\n";
            }
        }
        Ok(())
    }
}

/// Hands on what the leaving hold to somebody who stays, and removes that for which there is nobody. They must have given
/// up their places.
///
/// # Errors
///
/// The first refusal; all of it was tried then.
pub(super) fn release(nft: &mut Nft, is_leaving: &dyn Fn(&str) -> bool) -> Result<(), Error> {
    let mut released = Ok(());
    for share in &SHARES {
        released = released.and(share.release(nft, is_leaving));
    }
    released
}

impl Share {
    fn release(&self, nft: &mut Nft, is_leaving: &dyn Fn(&str) -> bool) -> Result<(), Error> {
        let mut last = Ok(());
        for _ in 0..ATTEMPTS {
            let generation = nft.generation()?;
            let batch = self.succession(nft, is_leaving)?;
            last = nft.commit_at(&batch, generation);
            if !matches!(last, Err(Error::Changed { .. } | Error::NotFound { .. } | Error::Exists { .. })) {
                break;
            }
        }
        last
    }

    /// What is to change, going by what is there now.
    fn succession(&self, nft: &mut Nft, is_leaving: &dyn Fn(&str) -> bool) -> Result<Batch, Error> {
        let mut left = Vec::new();
        for set in self.sets {
            let set = ROUTED.object(*set);
            let is_left = |entry: &Entry| entry.comment.as_deref().is_some_and(is_leaving);
            left.extend(list(nft, &set)?.into_iter().filter(is_left).map(|entry| (set.clone(), entry.key)));
        }
        let mut batch = Batch::new();
        if left.is_empty() {
            return Ok(batch);
        }
        let places = list(nft, &ROUTED.object(self.places))?;
        let stays = |place: &&Entry| place.comment.as_deref().is_some_and(|tag| !is_leaving(tag));
        for (set, key) in left {
            batch.push(Change::DeleteElement(set.clone(), key.clone()));
            if let Some(heir) = places.iter().filter(stays).find(|place| link(&place.key) == link(&key)) {
                batch.create(Element { set, key, data: None, comment: heir.comment.clone() });
            }
        }
        Ok(batch)
    }
}

/// The elements of a set; none if there is no such set.
fn list(nft: &mut Nft, set: &ObjectName) -> Result<Vec<Entry>, Error> {
    match nft.elements(set) {
        Err(error) if error.is_not_found() => Ok(Vec::new()),
        listed => listed,
    }
}

/// The link with whose name a key begins.
fn link(key: &Value) -> Vec<u8> {
    let mut bytes = key.bytes();
    bytes.truncate(LINK);
    bytes
}
