//! Sets, maps, verdict maps and their elements.

use std::fmt;

use netlink_packet_netfilter::nftables::{
    DataAttribute, ListAttribute, NfTablesMessage, SetAttribute, SetElementAttribute, SetElementList,
    SetElementMessage, SetFlags, SetMessage,
};

use super::rule::Verdict;
use super::table::ObjectName;
use super::userdata;
use super::value::{KeyType, Value};

/// The data type of a verdict map (`NFT_DATA_VERDICT`).
const VERDICT: u32 = 0xffff_ff00;

/// A set, or with [`Set::data`] a map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Set {
    /// Its name.
    pub name: ObjectName,
    /// What its elements are looked up by.
    pub key: KeyType,
    /// What a map gives for a key.
    pub data: Option<DataType>,
    /// Words for whoever lists the ruleset.
    pub comment: Option<String>,
}

/// What a map gives for a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DataType {
    /// A value.
    Value(KeyType),
    /// Where the packet goes on.
    Verdict,
}

/// What an element of a map holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Data {
    /// A value.
    Value(Value),
    /// Where the packet goes on.
    Verdict(Verdict),
}

/// An element of a set or map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Element {
    /// The set or map.
    pub set: ObjectName,
    /// What it is looked up by.
    pub key: Value,
    /// What is found, in a map.
    pub data: Option<Data>,
    /// Who owns it.
    pub comment: Option<String>,
}

impl Set {
    const fn noun(&self) -> &'static str {
        if self.data.is_some() { "map" } else { "set" }
    }

    /// `id` only has to differ from the ids of other sets that the same batch creates.
    pub(super) fn message(&self, id: u32) -> NfTablesMessage {
        let mut attributes = name(&self.name).attributes;
        let flags = if self.data.is_some() { SetFlags::Map } else { SetFlags::empty() };
        attributes.push(SetAttribute::Flags(flags));
        attributes.push(SetAttribute::KeyType(self.key.id()));
        attributes.push(SetAttribute::KeyLen(length(self.key.size())));
        let (data, order) = match &self.data {
            Some(DataType::Value(data)) => (Some((data.id(), length(data.size()))), Some(data.order())),
            Some(DataType::Verdict) => (Some((VERDICT, 0)), Some(0)),
            None => (None, None),
        };
        if let Some((kind, length)) = data {
            attributes.extend([SetAttribute::DataType(kind), SetAttribute::DataLen(length)]);
        }
        attributes.push(SetAttribute::Id(id));
        let userdata = userdata::set(self.key.order(), order, self.comment.as_deref());
        attributes.push(SetAttribute::UserData(userdata));
        NfTablesMessage::NewSet(SetMessage { attributes })
    }
}

/// Sizes of types are at most some hundred bytes.
fn length(size: usize) -> u32 {
    u32::try_from(size).unwrap_or(u32::MAX)
}

/// A message that names the set and says nothing more.
pub(super) fn name(set: &ObjectName) -> SetMessage {
    let table = SetAttribute::Table(set.table.name.clone().into_owned());
    SetMessage { attributes: vec![table, SetAttribute::Name(set.name.clone().into_owned())] }
}

impl fmt::Display for Set {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {{ type {}", self.noun(), self.name, self.key)?;
        match &self.data {
            Some(DataType::Value(data)) => write!(f, " : {data}")?,
            Some(DataType::Verdict) => f.write_str(" : verdict")?,
            None => {}
        }
        f.write_str(" ;")?;
        if let Some(comment) = &self.comment {
            write!(f, " comment \"{}\" ;", userdata::cut(comment))?;
        }
        f.write_str(" }")
    }
}

impl Data {
    pub(super) fn attribute(&self) -> DataAttribute {
        match self {
            Self::Value(value) => DataAttribute::Value(value.bytes()),
            Self::Verdict(verdict) => DataAttribute::Verdict(verdict.attributes()),
        }
    }

    /// Whether both mean the same to the kernel.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Value(one), Self::Value(other)) => one.bytes() == other.bytes(),
            (Self::Verdict(one), Self::Verdict(other)) => one == other,
            _ => false,
        }
    }
}

impl fmt::Display for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value(value) => value.fmt(f),
            Self::Verdict(verdict) => verdict.fmt(f),
        }
    }
}

impl Element {
    pub(super) fn message(&self) -> SetElementMessage {
        let mut element = vec![SetElementAttribute::Key(DataAttribute::Value(self.key.bytes()))];
        if let Some(data) = &self.data {
            element.push(SetElementAttribute::Data(data.attribute()));
        }
        if let Some(comment) = &self.comment {
            element.push(SetElementAttribute::UserData(userdata::element(comment)));
        }
        list(&self.set, vec![element])
    }
}

/// A message that names an element by its key alone.
pub(super) fn key(set: &ObjectName, key: &Value) -> SetElementMessage {
    list(set, vec![vec![SetElementAttribute::Key(DataAttribute::Value(key.bytes()))]])
}

/// A message about some elements of a set; about none, to ask for all.
pub(super) fn list(set: &ObjectName, elements: Vec<Vec<SetElementAttribute>>) -> SetElementMessage {
    let table = SetElementList::Table(set.table.name.clone().into_owned());
    let mut attributes = vec![table, SetElementList::Set(set.name.clone().into_owned())];
    if !elements.is_empty() {
        attributes.push(SetElementList::Elements(elements.into_iter().map(ListAttribute::Element).collect()));
    }
    SetElementMessage { attributes }
}

impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "element {} {{ {}", self.set, self.key)?;
        if let Some(comment) = &self.comment {
            write!(f, " comment \"{}\"", userdata::cut(comment))?;
        }
        if let Some(data) = &self.data {
            write!(f, " : {data}")?;
        }
        f.write_str(" }")
    }
}
