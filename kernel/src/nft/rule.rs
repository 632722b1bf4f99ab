//! Rules, in the terms of the nft language.

mod encode;

use std::fmt;

use ipnetwork::IpNetwork;
use netlink_packet_netfilter::nftables::{RuleAttribute, RuleMessage, Verdict as VerdictCode, VerdictAttribute};

use super::table::{Family, ObjectName};
use super::userdata;
use super::value::{Value, joined};

/// A rule: what is asked of a packet and what is done with it, from left to right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The chain at whose end it is put.
    pub chain: ObjectName,
    /// Its parts.
    pub statements: Vec<Statement>,
    /// Words for whoever lists the ruleset, or the owner.
    pub comment: Option<String>,
}

/// A part of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Statement {
    /// Go on only if the field compares so: `ip daddr != 10.77.0.0/24`.
    Match(Field, Comparison, Operand),
    /// Go on only if the fields, in a row, are an element of the set of the same table (or are none): `ip saddr @set`.
    Lookup(Vec<Field>, Comparison, String),
    /// Look the fields up in the verdict map of the same table: `ip saddr vmap @map`.
    VerdictMap(Vec<Field>, String),
    /// Count packets and bytes.
    Counter,
    /// Replace the source address by that of the interface on which the packet leaves.
    Masquerade,
    /// Replace destination and port by what the map of the same table holds for the fields, if it holds anything:
    /// `dnat ip to meta l4proto . th dport map @map`.
    DnatMap {
        /// [`Family::Ip`] or [`Family::Ip6`]: whose addresses the map holds. Packets of the other are left alone.
        family: Family,
        /// What is looked up.
        fields: Vec<Field>,
        /// The map, of an address and a port.
        map: String,
    },
    /// Give the packet this mark.
    SetMark(u32),
    /// Say where the packet goes on.
    Verdict(Verdict),
}

/// A field of the packet, or something that the kernel knows of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// The interface it came from.
    IifName,
    /// The interface it leaves by.
    OifName,
    /// The protocol family of the hook.
    NfProto,
    /// The transport protocol.
    L4Proto,
    /// The IPv4 source.
    IpSaddr,
    /// The IPv4 destination.
    IpDaddr,
    /// The IPv6 source.
    Ip6Saddr,
    /// The IPv6 destination.
    Ip6Daddr,
    /// The source MAC address.
    EtherSaddr,
    /// The source port, of any protocol that has ports.
    ThSport,
    /// The destination port, of any protocol that has ports.
    ThDport,
    /// The kind of the link that it came from: `veth`, `vrf`. Rules about links without a kind do not match.
    IifKind,
    /// The bridge through whose port it came, in the bridge family.
    IbrName,
    /// The bridge through whose port it leaves, in the bridge family.
    ObrName,
    /// The packet's mark.
    Mark,
    /// The protocol of the network layer, as an Ethernet type.
    Protocol,
    /// What the packet is to its connection.
    CtState,
    /// What has happened to its connection.
    CtStatus,
    /// What kind of address the destination is to this host.
    FibDaddrType,
}

/// A bit of [`Field::CtState`] or [`Field::CtStatus`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flag {
    word: &'static str,
    bit: u32,
}

impl Flag {
    /// State: of no connection that could be.
    pub const INVALID: Self = Self { word: "invalid", bit: 1 };
    /// State: the connection has seen packets both ways.
    pub const ESTABLISHED: Self = Self { word: "established", bit: 1 << 1 };
    /// State: of a connection that another one expects, or an error about one.
    pub const RELATED: Self = Self { word: "related", bit: 1 << 2 };
    /// State: the first of its connection.
    pub const NEW: Self = Self { word: "new", bit: 1 << 3 };
    /// Status: the source is translated (`IPS_SRC_NAT`).
    pub const SNAT: Self = Self { word: "snat", bit: 1 << 4 };
    /// Status: the destination is translated (`IPS_DST_NAT`).
    pub const DNAT: Self = Self { word: "dnat", bit: 1 << 5 };
}

/// How two things must compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// They are equal; the key is in the set.
    Equal,
    /// They are not; it is not.
    NotEqual,
}

/// What a field is compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operand {
    /// One value.
    Value(Value),
    /// All addresses of a network.
    Network(IpNetwork),
    /// Any of the flags.
    Flags(Vec<Flag>),
}

/// Where a packet goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It passes this hook's chain.
    Accept,
    /// It ends here.
    Drop,
    /// With the next rule.
    Continue,
    /// Behind the rule that jumped here; from a base chain, with the policy.
    Return,
    /// In another chain, and back here after its end.
    Jump(String),
    /// In another chain, and not back.
    Goto(String),
}

impl Rule {
    pub(super) fn message(&self) -> RuleMessage {
        let mut message = chain(&self.chain);
        let expressions = encode::expressions(self.chain.table.family, &self.statements);
        message.attributes.push(RuleAttribute::Expressions(expressions));
        if let Some(comment) = &self.comment {
            message.attributes.push(RuleAttribute::UserData(userdata::rule(comment)));
        }
        message
    }
}

/// A message about all rules of a chain.
pub(super) fn chain(chain: &ObjectName) -> RuleMessage {
    let table = RuleAttribute::Table(chain.table.name.clone().into_owned());
    RuleMessage { attributes: vec![table, RuleAttribute::Chain(chain.name.clone().into_owned())] }
}

/// A message about one rule.
pub(super) fn handle(name: &ObjectName, handle: u64) -> RuleMessage {
    let mut message = chain(name);
    message.attributes.push(RuleAttribute::Handle(handle));
    message
}

impl Verdict {
    /// `NF_DROP` and `NF_ACCEPT`, which the message crate has no names for.
    const DROP: u32 = 0;
    const ACCEPT: u32 = 1;

    pub(super) fn attributes(&self) -> Vec<VerdictAttribute> {
        let (code, chain) = match self {
            Self::Accept => (VerdictCode::Other(Self::ACCEPT), None),
            Self::Drop => (VerdictCode::Other(Self::DROP), None),
            Self::Continue => (VerdictCode::Continue, None),
            Self::Return => (VerdictCode::Return, None),
            Self::Jump(chain) => (VerdictCode::Jump, Some(chain)),
            Self::Goto(chain) => (VerdictCode::Goto, Some(chain)),
        };
        let chain = chain.map(|chain| VerdictAttribute::Chain(chain.clone()));
        std::iter::once(VerdictAttribute::Code(code)).chain(chain).collect()
    }

    /// The verdict with this code, if it is one that a set can hold.
    pub(super) fn from_code(code: u32, chain: Option<String>) -> Option<Self> {
        match (VerdictCode::from(code), chain) {
            (VerdictCode::Other(Self::ACCEPT), _) => Some(Self::Accept),
            (VerdictCode::Other(Self::DROP), _) => Some(Self::Drop),
            (VerdictCode::Continue, _) => Some(Self::Continue),
            (VerdictCode::Return, _) => Some(Self::Return),
            (VerdictCode::Jump, Some(chain)) => Some(Self::Jump(chain)),
            (VerdictCode::Goto, Some(chain)) => Some(Self::Goto(chain)),
            _ => None,
        }
    }
}

impl Field {
    const fn as_str(self) -> &'static str {
        match self {
            Self::IifName => "iifname",
            Self::OifName => "oifname",
            Self::NfProto => "meta nfproto",
            Self::L4Proto => "meta l4proto",
            Self::IpSaddr => "ip saddr",
            Self::IpDaddr => "ip daddr",
            Self::Ip6Saddr => "ip6 saddr",
            Self::Ip6Daddr => "ip6 daddr",
            Self::EtherSaddr => "ether saddr",
            Self::ThSport => "th sport",
            Self::ThDport => "th dport",
            Self::IifKind => "meta iifkind",
            Self::IbrName => "ibrname",
            Self::ObrName => "obrname",
            Self::Mark => "meta mark",
            Self::Protocol => "meta protocol",
            Self::CtState => "ct state",
            Self::CtStatus => "ct status",
            Self::FibDaddrType => "fib daddr type",
        }
    }
}

impl From<Value> for Operand {
    fn from(value: Value) -> Self {
        Self::Value(value)
    }
}

impl<const N: usize> From<[Flag; N]> for Operand {
    fn from(flags: [Flag; N]) -> Self {
        Self::Flags(flags.to_vec())
    }
}

impl From<IpNetwork> for Operand {
    fn from(network: IpNetwork) -> Self {
        Self::Network(network)
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Comparison {
    /// What stands between two things; equality needs no sign.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Equal => Ok(()),
            Self::NotEqual => f.write_str("!= "),
        }
    }
}

impl fmt::Display for Operand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value(value) => value.fmt(f),
            Self::Network(network) => write!(f, "{}/{}", network.network(), network.prefix()),
            Self::Flags(flags) => {
                let words: Vec<&str> = flags.iter().map(|flag| flag.word).collect();
                f.write_str(&words.join(","))
            }
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accept => f.write_str("accept"),
            Self::Drop => f.write_str("drop"),
            Self::Continue => f.write_str("continue"),
            Self::Return => f.write_str("return"),
            Self::Jump(chain) => write!(f, "jump {chain}"),
            Self::Goto(chain) => write!(f, "goto {chain}"),
        }
    }
}

impl fmt::Display for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // Of several flags, any is enough; the opposite is that there is none, for which the language has another sign.
            Self::Match(field, Comparison::NotEqual, flags @ Operand::Flags(_)) => write!(f, "{field} ! {flags}"),
            Self::Match(field, comparison, operand) => write!(f, "{field} {comparison}{operand}"),
            Self::Lookup(fields, comparison, set) => {
                joined(f, fields)?;
                write!(f, " {comparison}@{set}")
            }
            Self::VerdictMap(fields, map) => {
                joined(f, fields)?;
                write!(f, " vmap @{map}")
            }
            Self::Counter => f.write_str("counter"),
            Self::Masquerade => f.write_str("masquerade"),
            Self::DnatMap { family, fields, map } => {
                write!(f, "dnat {family} to ")?;
                joined(f, fields)?;
                write!(f, " map @{map}")
            }
            Self::SetMark(mark) => write!(f, "meta mark set {}", Value::Mark(*mark)),
            Self::Verdict(verdict) => verdict.fmt(f),
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rule {}", self.chain)?;
        self.statements.iter().try_for_each(|statement| write!(f, " {statement}"))?;
        match &self.comment {
            Some(comment) => write!(f, " comment \"{}\"", userdata::cut(comment)),
            None => Ok(()),
        }
    }
}
