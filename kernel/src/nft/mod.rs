//! nf_tables over netlink: no `nft` on the node, no process, one transaction.
//!
//! # Theory of operation
//!
//! A ruleset has a static and a dynamic half. The static half is a table with base chains and rules that look packets
//! up in sets; whoever comes first creates it, and it stays. The dynamic half is the elements of these sets. An
//! attachment is only elements, so adding and deleting it costs the same among ten or ten thousand, and so does a
//! packet. [`Elements`] are that: elements with an owner's tag, and the [`Layout`] in which they live.
//!
//! Everything is a value first. A [`Batch`] is a list of [`Change`]s to objects ([`Table`], [`Chain`], [`Set`],
//! [`Element`], [`Rule`]), each of which prints as the line that one would give to `nft`. [`Nft::commit`] sends a batch
//! as one transaction, which the kernel makes as a whole or not at all; of a refused one the error has the line that
//! was refused and the kernel's reason.
//!
//! Things are asked for by name or key, never searched: a chain, a set or an element is one question and one answer.
//! Lists are read only where something must be found without its key, and then only handles, keys and comments are
//! looked at. What a rule says is not read back, but for the addresses in rules that others made and did not say whose
//! they are; whoever has to find a rule again gives it a comment.
//!
//! An element with a jump or goto makes the kernel walk all elements of its map at each transaction
//! (`nft_lookup_validate`), which takes 1.1 ms at 10,000 elements where a plain set takes 0.05 ms at any size. Layouts
//! therefore keep attachments in plain sets or maps of values, and verdict maps for the few and static.
//!
//! Instructions are built with `netlink-packet-netfilter`; `rule/encode.rs` is the compiler from the nft language.

mod batch;
mod chain;
mod client;
mod elements;
mod error;
mod farewell;
mod loading;
mod read;
mod removal;
mod rule;
mod set;
mod socket;
mod table;
mod userdata;
mod value;

pub use batch::{Batch, Change, Object};
pub use chain::{Base, Chain, Hook, Kind, Policy};
pub use client::Nft;
pub use elements::{Claim, Elements, Layout, Part, PartObject};
pub use error::Error;
pub use read::{Entry, RuleEntry};
pub use rule::{Comparison, Field, Flag, Operand, Rule, Statement, Verdict};
pub use set::{Data, DataType, Element, Set};
pub use table::{Family, ObjectName, Table, TableName};
pub use userdata::{COMMENT_MAX, cut, owner};
pub use value::{KeyType, Type, Value};

#[cfg(test)]
pub(crate) mod tests;
