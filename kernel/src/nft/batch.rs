//! A batch: changes that the kernel makes all at once or not at all.

use std::fmt;

use netlink_packet_netfilter::nftables::NfTablesMessage;

use super::chain::{self, Chain};
use super::rule::{self, Rule};
use super::set::{self, Element, Set};
use super::table::{Family, ObjectName, Table, TableName};
use super::value::Value;

/// Flags of `include/uapi/linux/netlink.h`.
const NLM_F_CREATE: u16 = 0x400;
const NLM_F_EXCL: u16 = 0x200;
const NLM_F_APPEND: u16 = 0x800;
/// Delete only what is empty.
const NLM_F_NONREC: u16 = 0x100;

/// Something that can be added or created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Object {
    /// A table.
    Table(Table),
    /// A chain.
    Chain(Chain),
    /// A set or map.
    Set(Set),
    /// An element of one.
    Element(Element),
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Make sure that the object is there. One that is there stays as it is.
    Add(Object),
    /// Make the object; fail if it is there.
    Create(Object),
    /// Put a rule at the end of its chain. There is no such thing as a rule that is there already.
    AddRule(Rule),
    /// Delete a table with all that it holds.
    DeleteTable(TableName),
    /// Delete a chain that has no rules and is not used.
    DeleteChain(ObjectName),
    /// Delete a set or map that has no elements and is not used.
    DeleteSet(ObjectName),
    /// Delete an element, whatever it holds.
    DeleteElement(ObjectName, Value),
    /// Delete the rule with this handle from the chain.
    DeleteRule(ObjectName, u64),
    /// Delete all rules of a chain.
    FlushChain(ObjectName),
}

/// Changes that are made all at once or not at all, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    changes: Vec<Change>,
}

impl Batch {
    /// No changes.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes sure that `object` is there.
    pub fn add(&mut self, object: impl Into<Object>) {
        self.push(Change::Add(object.into()));
    }

    /// Makes `object`, or fails if it is there.
    pub fn create(&mut self, object: impl Into<Object>) {
        self.push(Change::Create(object.into()));
    }

    /// Puts `rule` at the end of its chain.
    pub fn rule(&mut self, rule: Rule) {
        self.push(Change::AddRule(rule));
    }

    /// Appends any change.
    pub fn push(&mut self, change: Change) {
        self.changes.push(change);
    }

    /// The changes in order.
    #[must_use]
    pub fn changes(&self) -> &[Change] {
        &self.changes
    }

    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }
}

impl Object {
    fn family(&self) -> Family {
        match self {
            Self::Table(table) => table.name.family,
            Self::Chain(chain) => chain.name.table.family,
            Self::Set(set) => set.name.table.family,
            Self::Element(element) => element.set.table.family,
        }
    }

    fn message(&self, id: u32) -> NfTablesMessage {
        match self {
            Self::Table(table) => table.message(),
            Self::Chain(chain) => chain.message(),
            Self::Set(set) => set.message(id),
            Self::Element(element) => NfTablesMessage::NewSetElement(element.message()),
        }
    }
}

impl Change {
    pub(super) fn family(&self) -> Family {
        match self {
            Self::Add(object) | Self::Create(object) => object.family(),
            Self::AddRule(rule) => rule.chain.table.family,
            Self::DeleteTable(table) => table.family,
            Self::DeleteChain(name)
            | Self::DeleteSet(name)
            | Self::DeleteElement(name, _)
            | Self::DeleteRule(name, _)
            | Self::FlushChain(name) => name.table.family,
        }
    }

    pub(super) const fn flags(&self) -> u16 {
        match self {
            Self::Add(_) => NLM_F_CREATE,
            Self::Create(_) => NLM_F_CREATE | NLM_F_EXCL,
            Self::AddRule(_) => NLM_F_CREATE | NLM_F_APPEND,
            Self::DeleteChain(_) | Self::DeleteSet(_) => NLM_F_NONREC,
            Self::DeleteTable(_) | Self::DeleteElement(..) | Self::DeleteRule(..) | Self::FlushChain(_) => 0,
        }
    }

    /// `id` only has to differ between the changes of a batch.
    pub(super) fn message(&self, id: u32) -> NfTablesMessage {
        match self {
            Self::Add(object) | Self::Create(object) => object.message(id),
            Self::AddRule(rule) => NfTablesMessage::NewRule(rule.message()),
            Self::DeleteTable(table) => NfTablesMessage::DeleteTable(table.message()),
            Self::DeleteChain(name) => NfTablesMessage::DeleteChain(chain::name(name)),
            Self::DeleteSet(name) => NfTablesMessage::DeleteSet(set::name(name)),
            Self::DeleteElement(name, key) => NfTablesMessage::DeleteSetElement(set::key(name, key)),
            Self::DeleteRule(name, handle) => NfTablesMessage::DeleteRule(rule::handle(name, *handle)),
            Self::FlushChain(name) => NfTablesMessage::DeleteRule(rule::chain(name)),
        }
    }
}

impl From<Table> for Object {
    fn from(table: Table) -> Self {
        Self::Table(table)
    }
}

impl From<Chain> for Object {
    fn from(chain: Chain) -> Self {
        Self::Chain(chain)
    }
}

impl From<Set> for Object {
    fn from(set: Set) -> Self {
        Self::Set(set)
    }
}

impl From<Element> for Object {
    fn from(element: Element) -> Self {
        Self::Element(element)
    }
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Table(table) => table.fmt(f),
            Self::Chain(chain) => chain.fmt(f),
            Self::Set(set) => set.fmt(f),
            Self::Element(element) => element.fmt(f),
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Add(object) => write!(f, "add {object}"),
            Self::Create(object) => write!(f, "create {object}"),
            Self::AddRule(rule) => write!(f, "add {rule}"),
            Self::DeleteTable(name) => write!(f, "delete table {name}"),
            Self::DeleteChain(name) => write!(f, "delete chain {name}"),
            Self::DeleteSet(name) => write!(f, "delete set {name}"),
            Self::DeleteElement(set, key) => write!(f, "delete element {set} {{ {key} }}"),
            Self::DeleteRule(chain, handle) => write!(f, "delete rule {chain} handle {handle}"),
            Self::FlushChain(name) => write!(f, "flush chain {name}"),
        }
    }
}

impl fmt::Display for Batch {
    /// One change a line, as in a file for `nft -f`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, change) in self.changes.iter().enumerate() {
            let newline = if at == 0 { "" } else { "\n" };
            write!(f, "{newline}{change}")?;
        }
        Ok(())
    }
}
