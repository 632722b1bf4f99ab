//! What the kernel answers to questions. Only names, keys, data and comments are read, and of the instructions of a rule
//! the constants in them.

use netlink_packet_core::{NlaBuffer, NlasIterator};

use super::rule::Verdict;
use super::set::Data;
use super::userdata;
use super::value::Value;

/// Size of `struct nfgenmsg`, in front of the attributes.
const HEADER: usize = 4;
/// Size of `struct nlattr`.
const ATTRIBUTE: usize = 4;
/// Attributes of `include/uapi/linux/netfilter/nf_tables.h`.
const NFTA_GEN_ID: u16 = 1;
const NFTA_CHAIN_TABLE: u16 = 1;
const NFTA_CHAIN_NAME: u16 = 3;
const NFTA_SET_NAME: u16 = 2;
const NFTA_RULE_HANDLE: u16 = 3;
const NFTA_RULE_EXPRESSIONS: u16 = 4;
const NFTA_RULE_USERDATA: u16 = 7;
const NFTA_EXPR_NAME: u16 = 1;
const NFTA_EXPR_DATA: u16 = 2;
const NFTA_CMP_DATA: u16 = 3;
const NFTA_IMMEDIATE_DATA: u16 = 2;
const NFTA_SET_ELEM_LIST_ELEMENTS: u16 = 3;
const NFTA_SET_ELEM_KEY: u16 = 1;
const NFTA_SET_ELEM_DATA: u16 = 2;
const NFTA_SET_ELEM_USERDATA: u16 = 6;
const NFTA_DATA_VALUE: u16 = 1;
const NFTA_DATA_VERDICT: u16 = 2;
const NFTA_VERDICT_CODE: u16 = 1;
const NFTA_VERDICT_CHAIN: u16 = 2;

/// An element as the kernel holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its key, in bytes.
    pub key: Value,
    /// What a map holds for it.
    pub data: Option<Data>,
    /// Its comment.
    pub comment: Option<String>,
}

/// A rule as the kernel holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleEntry {
    /// By what the rule is deleted.
    pub handle: u64,
    /// Its comment.
    pub comment: Option<String>,
    /// What it compares with and what it translates to, as bytes: addresses, ports, names.
    pub constants: Vec<Vec<u8>>,
}

pub(super) fn generation(payload: &[u8]) -> Option<u32> {
    let value = attribute(payload.get(HEADER..)?, NFTA_GEN_ID)?;
    Some(u32::from_be_bytes(*value.first_chunk()?))
}

pub(super) fn set_name(payload: &[u8]) -> Option<String> {
    text(attribute(payload.get(HEADER..)?, NFTA_SET_NAME)?)
}

/// The table and the name of a chain.
pub(super) fn chain(payload: &[u8]) -> Option<(String, String)> {
    let attributes = payload.get(HEADER..)?;
    Some((text(attribute(attributes, NFTA_CHAIN_TABLE)?)?, text(attribute(attributes, NFTA_CHAIN_NAME)?)?))
}

pub(super) fn rule(payload: &[u8]) -> Option<RuleEntry> {
    let attributes = payload.get(HEADER..)?;
    let handle = u64::from_be_bytes(*attribute(attributes, NFTA_RULE_HANDLE)?.first_chunk()?);
    let comment = attribute(attributes, NFTA_RULE_USERDATA).and_then(userdata::comment);
    let expressions = attribute(attributes, NFTA_RULE_EXPRESSIONS).unwrap_or(&[]);
    let expressions = NlasIterator::new(expressions).filter_map(Result::ok);
    let constants = expressions.filter_map(|nla: NlaBuffer<&[u8]>| constant(value(nla))).collect();
    Some(RuleEntry { handle, comment, constants })
}

/// What an instruction compares with or loads.
fn constant(instruction: &[u8]) -> Option<Vec<u8>> {
    let data = attribute(instruction, NFTA_EXPR_DATA)?;
    let data = match attribute(instruction, NFTA_EXPR_NAME)? {
        b"cmp\0" => attribute(data, NFTA_CMP_DATA)?,
        b"immediate\0" => attribute(data, NFTA_IMMEDIATE_DATA)?,
        _ => return None,
    };
    attribute(data, NFTA_DATA_VALUE).map(<[u8]>::to_vec)
}

pub(super) fn elements(payload: &[u8]) -> Vec<Entry> {
    let list = payload.get(HEADER..).and_then(|attributes| attribute(attributes, NFTA_SET_ELEM_LIST_ELEMENTS));
    let elements = NlasIterator::new(list.unwrap_or(&[])).filter_map(Result::ok);
    elements.filter_map(|nla: NlaBuffer<&[u8]>| element(value(nla))).collect()
}

fn element(attributes: &[u8]) -> Option<Entry> {
    let key = attribute(attribute(attributes, NFTA_SET_ELEM_KEY)?, NFTA_DATA_VALUE)?;
    Some(Entry {
        key: Value::Raw(key.to_vec()),
        data: attribute(attributes, NFTA_SET_ELEM_DATA).and_then(data),
        comment: attribute(attributes, NFTA_SET_ELEM_USERDATA).and_then(userdata::comment),
    })
}

fn data(attributes: &[u8]) -> Option<Data> {
    if let Some(value) = attribute(attributes, NFTA_DATA_VALUE) {
        return Some(Data::Value(Value::Raw(value.to_vec())));
    }
    let verdict = attribute(attributes, NFTA_DATA_VERDICT)?;
    let code = u32::from_be_bytes(*attribute(verdict, NFTA_VERDICT_CODE)?.first_chunk()?);
    let chain = attribute(verdict, NFTA_VERDICT_CHAIN).and_then(text);
    Verdict::from_code(code, chain).map(Data::Verdict)
}

fn attribute(attributes: &[u8], kind: u16) -> Option<&[u8]> {
    NlasIterator::new(attributes).filter_map(Result::ok).find(|nla: &NlaBuffer<&[u8]>| nla.kind() == kind).map(value)
}

/// The value with the life time of the message, which the attribute's own accessor does not give.
fn value(nla: NlaBuffer<&[u8]>) -> &[u8] {
    let end = usize::from(nla.length());
    nla.into_inner().get(ATTRIBUTE..end).unwrap_or(&[])
}

fn text(value: &[u8]) -> Option<String> {
    let text = value.strip_suffix(&[0]).unwrap_or(value);
    std::str::from_utf8(text).ok().map(str::to_owned)
}
