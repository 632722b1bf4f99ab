//! What a chain does with packets, as far as that can be told without understanding its matches.
//!
//! iptables on nf_tables writes verdicts and jumps as nf_tables' own `immediate`, so they can be read over netlink without
//! any program. Everything else that may decide about a packet is [`Effect::Other`].

use netlink_packet_netfilter::nftables::{ChainAttribute, ChainMessage, NfTablesMessage, RuleAttribute, RuleMessage};

use super::{Error, Family, Saved};
use crate::netlink::attribute::Attributes;
use crate::nft::{self, Nft};

/// Size of `struct nfgenmsg`, in front of the attributes.
const HEADER: usize = 4;
/// Attributes of `include/uapi/linux/netfilter/nf_tables.h`, and of `nf_tables_compat.h` for `NFTA_MATCH`.
const NFTA_CHAIN_POLICY: u16 = 5;
const NFTA_RULE_EXPRESSIONS: u16 = 4;
const NFTA_EXPR_NAME: u16 = 1;
const NFTA_EXPR_DATA: u16 = 2;
const NFTA_IMMEDIATE_DATA: u16 = 2;
const NFTA_DATA_VERDICT: u16 = 2;
const NFTA_VERDICT_CODE: u16 = 1;
const NFTA_VERDICT_CHAIN: u16 = 2;
const NFTA_MATCH_NAME: u16 = 1;
const NFTA_MATCH_INFO: u16 = 3;
/// `NF_DROP` and `NF_ACCEPT`, also as a chain's policy.
const NF_DROP: u32 = 0;
const NF_ACCEPT: u32 = 1;
/// `NFT_JUMP`.
const NFT_JUMP: u32 = (-3_i32).cast_unsigned();

/// A chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outline {
    /// Whether it lets pass what no rule decides about.
    pub accepts: bool,
    /// Its rules, in order.
    pub rules: Vec<RuleOutline>,
}

/// A rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleOutline {
    /// What it does with a packet that matches.
    pub effect: Effect,
    /// Its comment.
    pub comment: Option<String>,
}

/// What a rule does with a packet that matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Lets it pass.
    Accept,
    /// Drops it.
    Drop,
    /// Has another chain look at it.
    Jump(String),
    /// Anything else, or nothing.
    Other,
}

/// The chain in nf_tables; none when it is not there.
///
/// # Errors
///
/// When nf_tables can't be asked.
pub fn outline(nft: &mut Nft, family: Family, table: &str, chain: &str) -> Result<Option<Outline>, Error> {
    let action = format!("list chain {} {table} {chain}", family.nft());
    let (holder, name) = (ChainAttribute::Table(table.to_owned()), ChainAttribute::Name(chain.to_owned()));
    let question = NfTablesMessage::GetChain(ChainMessage { attributes: vec![holder, name] });
    let found = match nft.ask(family.nft(), question, &action) {
        Err(nft::Error::NoSupport) => return Ok(None),
        Err(error) if error.is_not_found() => return Ok(None),
        found => found?,
    };
    let policy = found.iter().find_map(|frame| big_endian(frame.payload().get(HEADER..)?, NFTA_CHAIN_POLICY));
    let (holder, name) = (RuleAttribute::Table(table.to_owned()), RuleAttribute::Chain(chain.to_owned()));
    let question = NfTablesMessage::GetRule(RuleMessage { attributes: vec![holder, name] });
    let rules = match nft.list(family.nft(), question, &action) {
        Err(error) if error.is_not_found() => return Ok(None),
        rules => rules?,
    };
    let rules = rules.iter().filter_map(|frame| frame.payload().get(HEADER..)).map(rule).collect();
    Ok(Some(Outline { accepts: policy.is_none_or(|policy| policy == NF_ACCEPT), rules }))
}

impl Saved {
    /// The chain as it was listed; none when it is not there.
    #[must_use]
    pub fn outline(&self, chain: &str) -> Option<Outline> {
        if !self.has_chain(chain) {
            return None;
        }
        let effect = |target: Option<&str>| match target {
            Some("ACCEPT") => Effect::Accept,
            Some("DROP") => Effect::Drop,
            Some(target) if self.has_chain(target) => Effect::Jump(target.to_owned()),
            _ => Effect::Other,
        };
        let rules = self.chain(chain).map(|rule| {
            let comment = rule.comment().map(str::to_owned);
            RuleOutline { effect: effect(rule.target()), comment }
        });
        Some(Outline { accepts: self.policy(chain).is_none_or(|policy| policy == "ACCEPT"), rules: rules.collect() })
    }
}

fn rule(attributes: &[u8]) -> RuleOutline {
    let mut outline = RuleOutline { effect: Effect::Other, comment: None };
    for (_, expression) in Attributes(attribute(attributes, NFTA_RULE_EXPRESSIONS).unwrap_or_default()) {
        let data = attribute(expression, NFTA_EXPR_DATA).unwrap_or_default();
        match attribute(expression, NFTA_EXPR_NAME).and_then(text) {
            Some("immediate") => outline.effect = verdict(data).unwrap_or(Effect::Other),
            Some("match") if attribute(data, NFTA_MATCH_NAME).and_then(text) == Some("comment") => {
                outline.comment = attribute(data, NFTA_MATCH_INFO).and_then(text).map(str::to_owned);
            }
            _ => {}
        }
    }
    outline
}

fn verdict(immediate: &[u8]) -> Option<Effect> {
    let verdict = attribute(attribute(immediate, NFTA_IMMEDIATE_DATA)?, NFTA_DATA_VERDICT)?;
    let code = big_endian(verdict, NFTA_VERDICT_CODE)?;
    match code {
        NF_DROP => Some(Effect::Drop),
        NF_ACCEPT => Some(Effect::Accept),
        NFT_JUMP => attribute(verdict, NFTA_VERDICT_CHAIN).and_then(text).map(|chain| Effect::Jump(chain.to_owned())),
        _ => None,
    }
}

fn attribute(attributes: &[u8], wanted: u16) -> Option<&[u8]> {
    Attributes(attributes).find(|(kind, _)| *kind == wanted).map(|(_, value)| value)
}

fn big_endian(attributes: &[u8], wanted: u16) -> Option<u32> {
    Some(u32::from_be_bytes(*attribute(attributes, wanted)?.first_chunk()?))
}

/// Up to the first zero.
fn text(value: &[u8]) -> Option<&str> {
    std::str::from_utf8(value.split(|byte| *byte == 0).next()?).ok()
}
