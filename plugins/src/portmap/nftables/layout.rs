//! The layout: what is the same for all attachments, and what comes with the first of a network.

use std::net::Ipv4Addr;

use cni::Error;
use cni::owner::prefixed_hash;
use ipnetwork::{IpNetwork, Ipv4Network};
use kernel::nft::{
    Base, Chain, Comparison, DataType, Family, Field, Flag, Hook, KeyType, Kind, Layout, ObjectName, Part, PartObject,
    Policy, Rule, Set, Statement, Table, TableName, Type, Value, Verdict,
};

use crate::portmap::conditions;
use crate::portmap::config::Config;

/// Our own table. Its name is the version of the layout.
pub(super) const TABLE: TableName = TableName::new(Family::Inet, "xnet_portmap");
/// The index: an owner's hash, and how many elements it has elsewhere in the table.
pub(super) const ATTACHMENTS: &str = "attachments";
const HOSTPORTS: &str = "hostports";
const CONDITIONAL: &str = "conditional";
const MASQUERADING: &str = "masquerading";
/// `NF_IP_PRI_NAT_DST`, `NF_IP_PRI_NAT_SRC`, `NF_IP_PRI_RAW`.
const DSTNAT: i32 = -100;
const SRCNAT: i32 = 100;
const RAW: i32 = -300;
/// 127.0.0.0/8, which the compiler makes sure is one.
const LOOPBACK: Ipv4Network = match Ipv4Network::new_checked(Ipv4Addr::new(127, 0, 0, 0), 8) {
    Some(network) => network,
    None => panic!("8 is a prefix length"),
};
/// How many hex digits tell lists of conditions apart.
const DIGITS: usize = 12;

/// Either family, by its number: the words that differ.
#[derive(Clone, Copy)]
struct Words {
    number: char,
    family: Family,
    address: Type,
    saddr: Field,
    daddr: Field,
}

const V4: Words =
    Words { number: '4', family: Family::Ip, address: Type::Ipv4Addr, saddr: Field::IpSaddr, daddr: Field::IpDaddr };
const V6: Words =
    Words { number: '6', family: Family::Ip6, address: Type::Ipv6Addr, saddr: Field::Ip6Saddr, daddr: Field::Ip6Daddr };

const fn words(is_ipv6: bool) -> Words {
    if is_ipv6 { V6 } else { V4 }
}

/// Which mappings of a family share a pair of maps: those under the same conditions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Conditions {
    is_ipv6: bool,
    statements: Vec<Statement>,
}

impl Conditions {
    /// Those of a configuration.
    ///
    /// # Errors
    ///
    /// When they are not understood.
    pub(super) fn of(config: &Config, is_ipv6: bool) -> Result<Self, Error> {
        Ok(Self { is_ipv6, statements: conditions::of(config, is_ipv6)? })
    }

    /// None.
    pub(super) fn none(is_ipv6: bool) -> Self {
        Self { is_ipv6, statements: Vec::new() }
    }

    /// Whether there are any, so that there are maps apart.
    pub(super) fn any(&self) -> bool {
        !self.statements.is_empty()
    }

    /// What the names of its objects end with.
    fn suffix(&self) -> String {
        let number = words(self.is_ipv6).number;
        if self.statements.is_empty() {
            return number.to_string();
        }
        let text: Vec<String> = self.statements.iter().map(ToString::to_string).collect();
        prefixed_hash(&format!("{number}-"), &text.join(" "), 2 + DIGITS)
    }

    /// The map of ports at one address of the host, or at any.
    pub(super) fn map(&self, at_one_address: bool) -> ObjectName {
        let kind = if at_one_address { "hostip" } else { "hostports" };
        TABLE.object(format!("{kind}{}", self.suffix()))
    }

    /// The maps, and the rules that look into them.
    pub(super) fn parts(&self) -> Vec<Part> {
        let suffix = self.suffix();
        let maps = [true, false].map(|at_one_address| self.map_part(at_one_address));
        let chain = format!("conditional{suffix}");
        let mut rules: Vec<Rule> = [true, false].map(|at_one_address| self.rule(&chain, at_one_address)).into();
        let mut statements = self.statements.clone();
        statements.push(Statement::Verdict(Verdict::Jump(chain.clone())));
        rules.push(rule(CONDITIONAL, statements, &format!("conditions {suffix}")));
        maps.into_iter().chain([Part { object: plain(&chain), rules }]).collect()
    }

    fn map_part(&self, at_one_address: bool) -> Part {
        let address = words(self.is_ipv6).address;
        let mut key = vec![Type::InetProto, Type::InetService];
        if at_one_address {
            key.insert(0, address);
        }
        let data = Some(DataType::Value(KeyType(vec![address, Type::InetService])));
        without_rules(set(self.map(at_one_address), KeyType(key), data))
    }

    /// The rule in `chain` that translates by one of the maps.
    fn rule(&self, chain: &str, at_one_address: bool) -> Rule {
        let words = words(self.is_ipv6);
        let mut fields = vec![Field::L4Proto, Field::ThDport];
        if at_one_address {
            fields.insert(0, words.daddr);
        }
        let map = self.map(at_one_address).name.into_owned();
        let dnat = Statement::DnatMap { family: words.family, fields, map };
        let place = if at_one_address { "at one address" } else { "at any address" };
        rule(chain, vec![dnat], &format!("{} {place}", words.family))
    }

    /// What a map of this name is for: ports at one address, not any; IPv6. None if it is no map of ports.
    pub(super) fn kind(map: &str) -> Option<(bool, bool)> {
        let (at_one_address, suffix) = match map.strip_prefix("hostip") {
            Some(suffix) => (true, suffix),
            None => (false, map.strip_prefix("hostports")?),
        };
        Some((at_one_address, suffix.starts_with('6')))
    }

    /// The maps and the chain of the conditions whose map has this name; none for those without conditions.
    pub(super) fn named(map: &str) -> Option<[ObjectName; 3]> {
        let suffix = ["hostip", "hostports"].iter().find_map(|kind| map.strip_prefix(kind))?;
        suffix.contains('-').then_some(())?;
        Some(["hostip", "hostports", "conditional"].map(|kind| TABLE.object(format!("{kind}{suffix}"))))
    }
}

/// The chain in which conditions are looked at, and the comment of the rule that does.
pub(super) fn conditional(chain: &ObjectName) -> (ObjectName, String) {
    let suffix = chain.name.strip_prefix("conditional").unwrap_or_default();
    (TABLE.object(CONDITIONAL), format!("conditions {suffix}"))
}

/// Why packets to a container get an address of the host as their source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Masquerade {
    /// The container itself and its neighbours sent them, whose answers would go past the host.
    Neighbours(IpNetwork),
    /// The host sent them from 127.0.0.0/8, to which nobody else can answer.
    Loopback(IpNetwork),
    /// They came through a mapping, which is enough.
    All(IpNetwork),
}

impl Masquerade {
    /// All that there may be about an address.
    pub(super) fn of(ip: IpNetwork) -> impl Iterator<Item = Self> {
        let loopback = ip.is_ipv4().then_some(Self::Loopback(ip));
        [Self::Neighbours(ip), Self::All(ip)].into_iter().chain(loopback)
    }

    /// Its set.
    pub(super) fn set(&self) -> ObjectName {
        let number = |ip: &IpNetwork| words(ip.is_ipv6()).number;
        TABLE.object(match self {
            Self::Neighbours(ip) if is_host(*ip) => format!("self{}", number(ip)),
            Self::Neighbours(ip) => format!("net-{}/{}", ip.network(), ip.prefix()).replace(':', "_"),
            Self::Loopback(ip) => format!("local{}", number(ip)),
            Self::All(ip) => format!("all{}", number(ip)),
        })
    }

    /// The key of the container in it.
    pub(super) fn key(&self) -> Value {
        match self {
            Self::Neighbours(ip) if is_host(*ip) => Value::Concat(vec![ip.ip().into(), ip.ip().into()]),
            Self::Neighbours(ip) | Self::Loopback(ip) | Self::All(ip) => ip.ip().into(),
        }
    }

    /// What comes with the first container of a network.
    pub(super) fn part(&self) -> Option<Part> {
        match self {
            Self::Neighbours(ip) if !is_host(*ip) => {
                let words = words(ip.is_ipv6());
                let net = IpNetwork::new(ip.network(), ip.prefix()).ok()?;
                let from = Statement::Match(words.saddr, Comparison::Equal, net.into());
                Some(masquerading(self.set(), words.address.into(), vec![words.daddr], vec![from], &neighbours(net)))
            }
            _ => None,
        }
    }

    /// The chain with the rule of a network's set, and the rule's comment; none if the set is not a network's.
    pub(super) fn named(set: &str) -> Option<(ObjectName, String)> {
        let net = set.strip_prefix("net-")?.replace('_', ":").parse().ok()?;
        Some((TABLE.object(MASQUERADING), neighbours(net)))
    }
}

fn neighbours(net: IpNetwork) -> String {
    format!("neighbours in {net}")
}

fn is_host(ip: IpNetwork) -> bool {
    ip.prefix() == if ip.is_ipv6() { 128 } else { 32 }
}

/// The key of an owner in the index: the two hashes that its tags begin with.
pub(super) fn index_key(prefix: &str) -> Value {
    let digits: String = prefix.chars().filter(|c| *c != '-').collect();
    let word = |at: usize| u32::from_str_radix(digits.get(at..at + 8).unwrap_or_default(), 16).unwrap_or_default();
    Value::Concat([0, 8, 16, 24].map(|at| Value::Mark(word(at))).to_vec())
}

/// The table with these parts.
pub(super) fn layout(parts: Vec<Part>) -> Layout {
    let comment = Some("Ports of the host that lead to containers".to_owned());
    Layout { table: Table { name: TABLE, comment }, parts }
}

/// What translates destinations, for all attachments.
pub(super) fn forwarding() -> Vec<Part> {
    let all = [false, true].map(Conditions::none);
    let maps = all.iter().flat_map(|conditions| [true, false].map(|one| conditions.map_part(one)));
    let index = set(TABLE.object(ATTACHMENTS), KeyType(vec![Type::Mark; 4]), Some(DataType::Value(Type::Mark.into())));
    let conditional = Statement::Verdict(Verdict::Jump(CONDITIONAL.to_owned()));
    let mut hostports = vec![rule(HOSTPORTS, vec![conditional], "networks with conditions")];
    hostports.extend(all.iter().flat_map(|of| [true, false].map(|one| of.rule(HOSTPORTS, one))));
    let base = |name, hook| {
        let local = Statement::Match(Field::FibDaddrType, Comparison::Equal, Value::Local.into());
        let jump = Statement::Verdict(Verdict::Jump(HOSTPORTS.to_owned()));
        base(name, Kind::Nat, hook, DSTNAT, vec![rule(name, vec![local, jump], "to this host")])
    };
    let mut parts = vec![without_rules(index)];
    parts.extend(maps);
    parts.push(Part { object: plain(CONDITIONAL), rules: Vec::new() });
    parts.push(Part { object: plain(HOSTPORTS), rules: hostports });
    parts.extend([base("prerouting", Hook::Prerouting), base("output", Hook::Output)]);
    parts
}

/// What translates sources, and what keeps 127.0.0.0/8 to the host, for all attachments.
pub(super) fn sources() -> Vec<Part> {
    let mut parts = vec![Part { object: plain(MASQUERADING), rules: Vec::new() }];
    for words in [V4, V6] {
        let set = |name: &str| TABLE.object(format!("{name}{}", words.number));
        let comment = |text: &str| format!("{} {text}", words.family);
        let to = |name: &str, from: Vec<Statement>, text: &str| {
            masquerading(set(name), words.address.into(), vec![words.daddr], from, &comment(text))
        };
        parts.push(to("all", Vec::new(), "masqAll"));
        let pair = KeyType(vec![words.address; 2]);
        let itself = comment("a host to itself");
        parts.push(masquerading(set("self"), pair, vec![words.saddr, words.daddr], Vec::new(), &itself));
        if words.number == '4' {
            let loopback = Statement::Match(words.saddr, Comparison::Equal, IpNetwork::V4(LOOPBACK).into());
            parts.push(to("local", vec![loopback], "this host by 127.0.0.0/8"));
        }
    }
    let dnat = Statement::Match(Field::CtStatus, Comparison::Equal, [Flag::DNAT].into());
    let jump = Statement::Verdict(Verdict::Jump(MASQUERADING.to_owned()));
    let came = rule("postrouting", vec![dnat, jump], "came by another address");
    parts.push(base("postrouting", Kind::Nat, Hook::Postrouting, SRCNAT, vec![came]));
    parts.push(guard());
    parts
}

/// What `route_localnet` opens to the network is closed again, before connection tracking gives answers to 127.0.0.0/8
/// back their destination.
fn guard() -> Part {
    let to = || Statement::Match(Field::IpDaddr, Comparison::Equal, IpNetwork::V4(LOOPBACK).into());
    let name = |text: &str| Value::IfName(text.to_owned()).into();
    let vrf = Statement::Match(Field::IifKind, Comparison::Equal, name("vrf"));
    let outside = Statement::Match(Field::IifName, Comparison::NotEqual, name("lo"));
    let rules = vec![
        rule("guard", vec![to(), vrf, Statement::Verdict(Verdict::Accept)], "loopback addresses of a VRF"),
        rule("guard", vec![to(), outside, Statement::Verdict(Verdict::Drop)], "127.0.0.0/8 from outside"),
    ];
    base("guard", Kind::Filter, Hook::Prerouting, RAW, rules)
}

/// A set, and the rule that masquerades what it has.
fn masquerading(name: ObjectName, key: KeyType, fields: Vec<Field>, from: Vec<Statement>, comment: &str) -> Part {
    let mut statements = from;
    statements.push(Statement::Lookup(fields, Comparison::Equal, name.name.clone().into_owned()));
    statements.push(Statement::Masquerade);
    Part { object: PartObject::Set(set(name, key, None)), rules: vec![rule(MASQUERADING, statements, comment)] }
}

fn set(name: ObjectName, key: KeyType, data: Option<DataType>) -> Set {
    Set { name, key, data, comment: None }
}

fn without_rules(set: Set) -> Part {
    Part { object: PartObject::Set(set), rules: Vec::new() }
}

fn plain(name: &str) -> PartObject {
    PartObject::Chain(Chain { name: TABLE.object(name.to_owned()), base: None, comment: None })
}

fn base(name: &'static str, kind: Kind, hook: Hook, priority: i32, rules: Vec<Rule>) -> Part {
    let base = Some(Base { kind, hook, priority, policy: Policy::Accept });
    Part { object: PartObject::Chain(Chain { name: TABLE.object(name), base, comment: None }), rules }
}

fn rule(chain: &str, statements: Vec<Statement>, comment: &str) -> Rule {
    Rule { chain: TABLE.object(chain.to_owned()), statements, comment: Some(comment.to_owned()) }
}
