//! Owned elements in a shared layout: what a plugin puts into a plan.
//!
//! The layout (a table, base chains, sets, the rules that look the sets up) belongs to nobody and stays. An attachment
//! owns elements, each with the owner's tag as its comment. So the usual ADD is one transaction with nothing but
//! elements, and only when the kernel answers that a set is missing does a second one bring the layout along.
//!
//! Rules have no names, so adding a rule twice gives two. A [`Part`] therefore hangs its rules on an object that can be
//! created only once: of many processes that find the layout missing at the same time one creates a part, the others
//! are told that it exists and go on with the elements.

use std::fmt;

use super::Change;
use super::batch::{Batch, Object};
use super::client::Nft;
use super::error::Error;
use super::read::Entry;
use super::rule::Rule;
use super::set::Element;
use super::table::{ObjectName, Table};
use super::userdata;
use super::value::Value;

/// How often a creation is tried again because others create or delete the same things at the same time.
const ATTEMPTS: usize = 1000;

/// The static half of a ruleset: one table and what is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// The table, which nobody else uses. A change of the layout's shape needs a new name, so that both can coexist.
    pub table: Table,
    /// What is in it, in an order in which it can be created.
    pub parts: Vec<Part>,
}

/// A chain or set, and the rules that come into being with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The chain or set.
    pub object: PartObject,
    /// Its rules, or rules of another chain that use it. Their comments tell them apart for [`Elements::check`].
    pub rules: Vec<Rule>,
}

/// What a [`Part`] can hang on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PartObject {
    /// A chain.
    Chain(super::chain::Chain),
    /// A set or map.
    Set(super::set::Set),
}

/// Elements of one owner, with the layout that they live in.
///
/// Every element's comment is its owner's tag: what stands before its first comma tells owners apart, the rest is for
/// people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Elements {
    /// Created when it is missing, never removed.
    pub layout: Layout,
    /// Created, checked and removed.
    pub elements: Vec<Element>,
}

/// What is to be done about a key that is taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// What is there is as it should be.
    Keep,
    /// The element takes the place of what is there.
    Replace,
    /// What is there stays, and nothing is changed at all, for the reason given.
    Refuse(String),
}

/// What is to be done about one element.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Task {
    Create,
    Replace,
    Nothing,
}

/// Where a change of a batch comes from.
#[derive(Clone, Copy)]
enum Origin {
    Layout,
    Element(usize),
}

impl Elements {
    /// Creates the elements, and the layout where it is missing. Elements that are there with the same owner and data
    /// stay; those of another owner, who must have left without a word, are taken over.
    ///
    /// # Errors
    ///
    /// The first refusal that trying again can't mend. Nothing was changed then.
    pub fn apply(&self, nft: &mut Nft) -> Result<(), Error> {
        self.claim(nft, &mut |element, entry| if element.is(entry) { Claim::Keep } else { Claim::Replace })
    }

    /// As [`Elements::apply`], but for a key that is taken `judge` decides, by what is there.
    ///
    /// An element is replaced only if nobody changed the ruleset after it was judged, so `judge` may be asked again
    /// about the same element.
    ///
    /// # Errors
    ///
    /// [`Error::Taken`] with the words of `judge`, or as there.
    pub fn claim(&self, nft: &mut Nft, judge: &mut dyn FnMut(&Element, &Entry) -> Claim) -> Result<(), Error> {
        let mut tasks = vec![Task::Create; self.elements.len()];
        // What the judgements in `tasks` were made upon.
        let mut judged_at = None;
        let mut with_layout = false;
        let mut attempt = 0;
        loop {
            let missing = if with_layout { self.layout.missing(nft)? } else { Vec::new() };
            let (batch, origins) = self.batch(&missing, &tasks);
            let committed = match judged_at {
                Some(generation) if tasks.contains(&Task::Replace) => nft.commit_at(&batch, generation),
                _ => nft.commit(&batch),
            };
            let Err(error) = committed else { return Ok(()) };
            attempt += 1;
            let index = match &error {
                Error::NotFound { index, .. } | Error::Exists { index, .. } => *index,
                _ => None,
            };
            let origin = index.and_then(|at| origins.get(at).copied());
            match (origin, error) {
                (_, error) if attempt >= ATTEMPTS => return Err(error),
                (_, Error::Changed { .. }) => {
                    tasks.fill(Task::Create);
                    judged_at = None;
                }
                (Some(Origin::Element(at)), Error::Exists { .. }) => {
                    if judged_at.is_none() {
                        judged_at = Some(nft.generation()?);
                    }
                    tasks[at] = self.taken(nft, at, judge)?;
                }
                (Some(Origin::Element(at)), _) => {
                    // The set is missing, or the element that was to be replaced is gone.
                    tasks[at] = Task::Create;
                    with_layout = true;
                }
                (Some(Origin::Layout), _) => with_layout = true,
                (None, error) => return Err(error),
            }
        }
    }

    /// The transaction for `tasks`, and for each of its changes where it comes from.
    fn batch(&self, missing: &[&Part], tasks: &[Task]) -> (Batch, Vec<Origin>) {
        let mut batch = self.layout.creation(missing);
        let mut origins = vec![Origin::Layout; batch.changes().len()];
        for (at, (element, task)) in self.elements.iter().zip(tasks).enumerate() {
            if *task == Task::Replace {
                batch.push(Change::DeleteElement(element.set.clone(), element.key.clone()));
                origins.push(Origin::Element(at));
            }
            if *task != Task::Nothing {
                batch.create(element.clone());
                origins.push(Origin::Element(at));
            }
        }
        (batch, origins)
    }

    /// What to do about an element whose key is taken.
    fn taken(&self, nft: &mut Nft, at: usize, judge: &mut dyn FnMut(&Element, &Entry) -> Claim) -> Result<Task, Error> {
        let element = &self.elements[at];
        let Some(entry) = nft.element(&element.set, &element.key)? else { return Ok(Task::Create) };
        match judge(element, &entry) {
            Claim::Keep => Ok(Task::Nothing),
            Claim::Replace => Ok(Task::Replace),
            Claim::Refuse(text) => Err(Error::Taken(text)),
        }
    }

    /// Compares the kernel with the layout and the elements. The answer is the first line that does not hold.
    ///
    /// # Errors
    ///
    /// When the kernel can't be asked. A deviation is no error.
    pub fn check(&self, nft: &mut Nft) -> Result<Option<String>, Error> {
        for element in &self.elements {
            let deviation = match nft.element(&element.set, &element.key)? {
                None => Some(format!("nft add {element}")),
                Some(entry) => element.deviation(&entry),
            };
            if deviation.is_some() {
                return Ok(deviation);
            }
        }
        self.layout.check(nft)
    }

    /// Deletes those of the elements that still have their owner's tag, and says how many. Missing ones are fine.
    ///
    /// # Errors
    ///
    /// Any refusal but that something is missing.
    pub fn remove(&self, nft: &mut Nft) -> Result<usize, Error> {
        let mut removed = 0;
        for group in self.elements.chunk_by(|one, next| one.comment == next.comment) {
            let tag = group.first().and_then(|element| element.comment.as_deref()).unwrap_or_default();
            let targets: Vec<(&ObjectName, &Value)> =
                group.iter().map(|element| (&element.set, &element.key)).collect();
            removed += nft.take(&targets, &|comment| userdata::owner(comment) == userdata::owner(tag))?.len();
        }
        Ok(removed)
    }
}

impl Element {
    /// Whether this is what the kernel has: the same comment and data.
    #[must_use]
    pub fn is(&self, entry: &Entry) -> bool {
        entry.comment.as_deref() == self.comment.as_deref().map(userdata::cut) && self.holds(entry)
    }

    fn holds(&self, entry: &Entry) -> bool {
        match (&self.data, &entry.data) {
            (Some(wanted), Some(found)) => wanted.is_same(found),
            (None, None) => true,
            _ => false,
        }
    }

    /// How the kernel's element differs: the line that does not hold, and what is there instead.
    fn deviation(&self, found: &Entry) -> Option<String> {
        let owner = |comment: Option<&str>| comment.map(|comment| userdata::owner(comment).to_owned());
        if owner(found.comment.as_deref()) != owner(self.comment.as_deref()) {
            let owner = found.comment.as_deref().unwrap_or("nobody");
            return Some(format!("nft add {self} (it belongs to: {owner})"));
        }
        match &found.data {
            _ if self.holds(found) => None,
            Some(data) => Some(format!("nft add {self} (it holds: {data})")),
            None => Some(format!("nft add {self} (it holds nothing)")),
        }
    }
}

impl Layout {
    fn missing(&self, nft: &mut Nft) -> Result<Vec<&Part>, Error> {
        let mut missing = Vec::new();
        for part in &self.parts {
            if !part.object.exists(nft)? {
                missing.push(part);
            }
        }
        Ok(missing)
    }

    /// Whether the kernel would make what is missing of it. Nothing is changed.
    ///
    /// # Errors
    ///
    /// The refusal of the first change that it would not make.
    pub fn rehearse(&self, nft: &mut Nft) -> Result<(), Error> {
        nft.supported()?;
        let missing = self.missing(nft)?;
        nft.rehearse(&self.creation(&missing))
    }

    /// The transaction that creates the missing parts.
    fn creation(&self, missing: &[&Part]) -> Batch {
        let mut batch = Batch::new();
        if !missing.is_empty() {
            batch.add(self.table.clone());
        }
        for part in missing {
            batch.create(part.object.clone());
            part.rules.iter().for_each(|rule| batch.rule(rule.clone()));
        }
        batch
    }

    /// The first part or rule that is missing. Rules are found by their comments.
    fn check(&self, nft: &mut Nft) -> Result<Option<String>, Error> {
        if let Some(part) = self.missing(nft)?.first() {
            return Ok(Some(format!("nft add {}", part.object)));
        }
        let mut listed: Vec<(&ObjectName, Vec<Option<String>>)> = Vec::new();
        for rule in self.parts.iter().flat_map(|part| &part.rules) {
            if !listed.iter().any(|(chain, _)| *chain == &rule.chain) {
                let comments = nft.rules(&rule.chain)?.into_iter().map(|entry| entry.comment).collect();
                listed.push((&rule.chain, comments));
            }
            let comment = rule.comment.as_deref().map(|comment| userdata::cut(comment).to_owned());
            if !listed.iter().any(|(chain, comments)| *chain == &rule.chain && comments.contains(&comment)) {
                return Ok(Some(format!("nft add {rule}")));
            }
        }
        Ok(None)
    }
}

impl PartObject {
    fn exists(&self, nft: &mut Nft) -> Result<bool, Error> {
        match self {
            Self::Chain(chain) => nft.chain_exists(&chain.name),
            Self::Set(set) => nft.set_exists(&set.name),
        }
    }
}

impl From<PartObject> for Object {
    fn from(object: PartObject) -> Self {
        match object {
            PartObject::Chain(chain) => Self::Chain(chain),
            PartObject::Set(set) => Self::Set(set),
        }
    }
}

impl fmt::Display for PartObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Chain(chain) => chain.fmt(f),
            Self::Set(set) => set.fmt(f),
        }
    }
}

impl fmt::Display for Elements {
    /// The lines of the elements; the layout is everybody's.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, element) in self.elements.iter().enumerate() {
            let newline = if at == 0 { "" } else { "\n" };
            write!(f, "{newline}nft create {element}")?;
        }
        Ok(())
    }
}
