//! The firewall by nftables.
//!
//! The layout, in full, for one attachment under `isolated`:
//!
//! ```text
//! table inet xnet_firewall {
//!     set addresses4   { type ipv4_addr; elements = { 10.77.0.2 comment "43d91f.., net: n1, if: eth0, id: cid1" } }
//!     set addresses6   { type ipv6_addr }
//!     set guarded      { type ifname; elements = { "cni0" comment ".." } }
//!     set within       { type ifname . ifname; elements = { "cni0" . "cni0" comment ".." } }
//!     set isolated     { type ifname . ifname; elements = { "cni0" . "cni0" comment ".." } }
//!     set guarded-by   { type ifname . ifname; elements = { "cni0" . "veth02a13658" comment ".." } }
//!     set isolated-by  { type ifname . ifname; elements = { "cni0" . "veth02a13658" comment ".." } }
//!     chain admin { }
//!     chain forward {
//!         type filter hook forward priority filter; policy accept;
//!         jump admin comment "overrides by the administrator"
//!         iifname . oifname @isolated drop comment "isolated: from a neighbour"
//!         iifname @guarded oifname @guarded iifname . oifname != @within drop comment "from another bridge under a policy"
//!         ct state established,related ip daddr @addresses4 accept comment "to a container: answers"
//!         ct state established,related ip6 daddr @addresses6 accept comment "to a container: answers by IPv6"
//!         ip saddr @addresses4 accept comment "from a container"
//!         ip6 saddr @addresses6 accept comment "from a container by IPv6"
//!     }
//! }
//! table bridge xnet_firewall {
//!     set isolated { type ifname; elements = { "veth02a13658" comment ".." } }
//!     chain admin { }
//!     chain forward {
//!         type filter hook forward priority filter; policy accept;
//!         jump admin comment "overrides by the administrator"
//!         meta protocol != arp oifname @isolated drop comment "isolated: from a neighbour"
//!         meta protocol != arp iifname @isolated drop comment "isolated: to a neighbour"
//!     }
//! }
//! ```
//!
//! The rules are static, attachments are elements. An address is one attachment's own. That a bridge is under a policy is
//! everybody's who is attached to it under that policy: see [`sharing`](super::sharing).
//!
//! The policies go by interfaces alone. What a container writes into its packets as their source does not matter, nor
//! whether their destination is an address that anybody was told of.
//!
//! What one container sends to another on the same bridge does not pass `inet forward` unless `br_netfilter` is loaded and
//! switched on. So isolation has a chain where bridged frames pass, too. There the interfaces are the bridge's ports, and
//! an isolated one is its attachment's own. (The bridge's name could be asked for as well, but many kernels lack
//! `nft_meta_bridge`.) ARP passes, and nothing else.
//!
//! The names of the tables are the version of the layout.

use std::net::IpAddr;

use cni::Owner;
use kernel::nft::{
    Base, Chain, Comparison, Error, Family, Field, Flag, Hook, KeyType, Kind, Layout, Nft, Operand, Part, PartObject,
    Policy as ChainPolicy, Rule, Set, Statement, Table, TableName, Type, Value, Verdict,
};

use super::config::Policy;
use super::segments::Segments;
use super::sharing::{self, Holding, Share};

/// Our table for what is routed.
pub(super) const ROUTED: TableName = TableName::new(Family::Inet, "xnet_firewall");
/// Our table for what is bridged.
pub(super) const BRIDGED: TableName = TableName::new(Family::Bridge, "xnet_firewall");
const FORWARD: &str = "forward";
const ADMIN: &str = "admin";
/// `filter` (`NF_IP_PRI_FILTER`), and in the bridge family (`NF_BR_PRI_FILTER_BRIDGED`).
const FILTER: i32 = 0;
const FILTER_BRIDGED: i32 = -200;
/// `ETH_P_ARP`.
const ARP: u16 = 0x0806;

/// The sets of addresses, in both of which an attachment may have some.
const ADDRESSES: [&str; 2] = ["addresses4", "addresses6"];
const GUARDED: &str = "guarded";
const WITHIN: &str = "within";
const GUARDED_BY: &str = "guarded-by";
const ISOLATED: &str = "isolated";
const ISOLATED_BY: &str = "isolated-by";

/// Where an attachment has its addresses.
const ADDRESS_SETS: [(TableName, &str); 2] = [(ROUTED, ADDRESSES[0]), (ROUTED, ADDRESSES[1])];
/// Where it has places.
const PLACE_SETS: [(TableName, &str); 3] = [(ROUTED, GUARDED_BY), (ROUTED, ISOLATED_BY), (BRIDGED, ISOLATED)];
/// What is shared, and among whom.
pub(super) const SHARES: [Share; 2] =
    [Share { sets: &[GUARDED, WITHIN], places: GUARDED_BY }, Share { sets: &[ISOLATED], places: ISOLATED_BY }];

/// What is routed: the addresses that may pass, and the policy that the attachment's bridge is under.
pub(super) fn routed(owner: &Owner, ips: &[IpAddr], policy: Policy, segments: Option<&Segments>) -> Holding {
    let mut holding = Holding::new(owner, layout_routed());
    ips.iter().for_each(|ip| holding.own(ADDRESSES[usize::from(ip.is_ipv6())], (*ip).into()));
    let Some(segments) = segments else { return holding };
    for link in segments.links() {
        if policy != Policy::Open {
            holding.own(GUARDED_BY, pair(link, &segments.place));
            holding.share(GUARDED, name(link));
            holding.share(WITHIN, pair(link, link));
        }
        if policy == Policy::Isolated {
            holding.own(ISOLATED_BY, pair(link, &segments.place));
            holding.share(ISOLATED, pair(link, link));
        }
    }
    holding
}

/// What is bridged: the port, if it is known, of an attachment that is isolated.
pub(super) fn bridged(owner: &Owner, segments: &Segments) -> Holding {
    let mut holding = Holding::new(owner, layout_bridged());
    segments.port.iter().for_each(|port| holding.own(ISOLATED, name(port)));
    holding
}

/// Removes what the attachment has, as far as that can be: by key where its addresses and segments are known and lead to
/// any, else by tag.
///
/// # Errors
///
/// The first refusal.
pub(super) fn remove(nft: &mut Nft, owner: &Owner, known: &[IpAddr], segments: Option<&Segments>) -> Result<(), Error> {
    let prefix = owner.tag_prefix();
    let by_tag = |tag: &str| kernel::nft::owner(tag) == prefix;
    let addresses = match routed(owner, known, Policy::Open, None).remove(nft) {
        Ok(0) => remove_from(nft, &ADDRESS_SETS, &by_tag),
        removed => removed.map(drop),
    };
    let places = match segments.map(|segments| remove_places(nft, owner, segments)) {
        None | Some(Ok(0)) => remove_from(nft, &PLACE_SETS, &by_tag),
        Some(removed) => removed.map(drop),
    };
    addresses.and(places).and(sharing::release(nft, &by_tag))
}

fn remove_places(nft: &mut Nft, owner: &Owner, segments: &Segments) -> Result<usize, Error> {
    let routed = routed(owner, &[], Policy::Isolated, Some(segments)).remove(nft);
    let bridged = bridged(owner, segments).remove(nft);
    Ok(routed? + bridged?)
}

/// Removes what has a stale tag, as far as that can be, and hands on or removes what was shared.
///
/// # Errors
///
/// The first refusal.
pub(super) fn gc(nft: &mut Nft, is_stale: &dyn Fn(&str) -> bool) -> Result<(), Error> {
    let addresses = remove_from(nft, &ADDRESS_SETS, is_stale);
    let places = remove_from(nft, &PLACE_SETS, is_stale);
    addresses.and(places).and(sharing::release(nft, is_stale))
}

fn remove_from(nft: &mut Nft, sets: &[(TableName, &'static str)], owned: &dyn Fn(&str) -> bool) -> Result<(), Error> {
    let mut removed = Ok(());
    for (table, set) in sets {
        removed = removed.and(nft.remove_owned(&table.object(*set), owned).map(drop));
    }
    removed
}

fn name(link: &str) -> Value {
    Value::IfName(link.to_owned())
}

fn pair(one: &str, other: &str) -> Value {
    Value::Concat(vec![name(one), name(other)])
}

/// The table for what is routed, with a part a set and chain.
fn layout_routed() -> Layout {
    let links = || KeyType(vec![Type::IfName, Type::IfName]);
    Layout {
        table: Table { name: ROUTED, comment: Some("Traffic of containers".to_owned()) },
        parts: vec![
            set(&ROUTED, ADDRESSES[0], Type::Ipv4Addr.into(), None),
            set(&ROUTED, ADDRESSES[1], Type::Ipv6Addr.into(), None),
            set(&ROUTED, GUARDED, Type::IfName.into(), Some("bridges under a policy")),
            set(&ROUTED, WITHIN, links(), Some("from such a bridge to itself")),
            set(&ROUTED, ISOLATED, links(), Some("the same, where it may not be")),
            set(&ROUTED, GUARDED_BY, links(), Some("who keeps a bridge guarded")),
            set(&ROUTED, ISOLATED_BY, links(), Some("who keeps a bridge isolated")),
            chain(&ROUTED, ADMIN, None, Vec::new()),
            chain(&ROUTED, FORWARD, Some(FILTER), routed_rules()),
        ],
    }
}

fn routed_rules() -> Vec<Rule> {
    use Comparison::{Equal, NotEqual};
    let across = || vec![Field::IifName, Field::OifName];
    let in_set = |fields: Vec<Field>, comparison, set: &str| Statement::Lookup(fields, comparison, set.to_owned());
    let known = Statement::Match(Field::CtState, Equal, Operand::Flags(vec![Flag::ESTABLISHED, Flag::RELATED]));
    let accept = Statement::Verdict(Verdict::Accept);
    let drop = Statement::Verdict(Verdict::Drop);
    let answers = |field, set| vec![known.clone(), in_set(vec![field], Equal, set), accept.clone()];
    let from = |field, set| vec![in_set(vec![field], Equal, set), accept.clone()];
    let another_bridge = vec![
        in_set(vec![Field::IifName], Equal, GUARDED),
        in_set(vec![Field::OifName], Equal, GUARDED),
        in_set(across(), NotEqual, WITHIN),
        drop.clone(),
    ];
    let rule = |statements, comment| rule(&ROUTED, statements, comment);
    vec![
        overrides(&ROUTED),
        rule(vec![in_set(across(), Equal, ISOLATED), drop], "isolated: from a neighbour"),
        rule(another_bridge, "from another bridge under a policy"),
        rule(answers(Field::IpDaddr, ADDRESSES[0]), "to a container: answers"),
        rule(answers(Field::Ip6Daddr, ADDRESSES[1]), "to a container: answers by IPv6"),
        rule(from(Field::IpSaddr, ADDRESSES[0]), "from a container"),
        rule(from(Field::Ip6Saddr, ADDRESSES[1]), "from a container by IPv6"),
    ]
}

/// The table for what is bridged.
fn layout_bridged() -> Layout {
    let unless_arp = |field| {
        vec![
            Statement::Match(Field::Protocol, Comparison::NotEqual, Value::EtherType(ARP).into()),
            Statement::Lookup(vec![field], Comparison::Equal, ISOLATED.to_owned()),
            Statement::Verdict(Verdict::Drop),
        ]
    };
    let rules = vec![
        overrides(&BRIDGED),
        rule(&BRIDGED, unless_arp(Field::OifName), "isolated: from a neighbour"),
        rule(&BRIDGED, unless_arp(Field::IifName), "isolated: to a neighbour"),
    ];
    Layout {
        table: Table { name: BRIDGED, comment: Some("Traffic between containers of one bridge".to_owned()) },
        parts: vec![
            set(&BRIDGED, ISOLATED, Type::IfName.into(), Some("ports that have no neighbours")),
            chain(&BRIDGED, ADMIN, None, Vec::new()),
            chain(&BRIDGED, FORWARD, Some(FILTER_BRIDGED), rules),
        ],
    }
}

/// The administrator has the first word.
fn overrides(table: &TableName) -> Rule {
    rule(table, vec![Statement::Verdict(Verdict::Jump(ADMIN.to_owned()))], "overrides by the administrator")
}

fn rule(table: &TableName, statements: Vec<Statement>, comment: &str) -> Rule {
    Rule { chain: table.object(FORWARD), statements, comment: Some(comment.to_owned()) }
}

fn set(table: &TableName, name: &'static str, key: KeyType, comment: Option<&str>) -> Part {
    let set = Set { name: table.object(name), key, data: None, comment: comment.map(str::to_owned) };
    Part { object: PartObject::Set(set), rules: Vec::new() }
}

fn chain(table: &TableName, name: &'static str, priority: Option<i32>, rules: Vec<Rule>) -> Part {
    let base = |priority| Base { kind: Kind::Filter, hook: Hook::Forward, priority, policy: ChainPolicy::Accept };
    let chain = Chain { name: table.object(name), base: priority.map(base), comment: None };
    Part { object: PartObject::Chain(chain), rules }
}
