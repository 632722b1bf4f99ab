//! Masquerading by nftables.
//!
//! The layout, in full, for attachments in two networks:
//!
//! ```text
//! table inet xnet_masq {
//!     chain postrouting {
//!         type nat hook postrouting priority srcnat; policy accept;
//!         ip daddr 224.0.0.0/4 return comment "multicast"
//!         ip6 daddr ff00::/8 return comment "multicast of IPv6"
//!         ip saddr @net-10.77.0.0/24 ip daddr != 10.77.0.0/24 masquerade comment "leaving 10.77.0.0/24"
//!         ip6 saddr @net-fd00__/64 ip6 daddr != fd00::/64 masquerade comment "leaving fd00::/64"
//!     }
//!     set net-10.77.0.0/24 { type ipv4_addr; elements = { 10.77.0.2 comment "43d91f.., net: n1, if: eth0, id: cid1" } }
//!     set net-fd00__/64    { type ipv6_addr; elements = { fd00::2   comment "43d91f.., net: n1, if: eth0, id: cid1" } }
//! }
//! ```
//!
//! An attachment is its elements. Sets and rules belong to the subnets: they come with the first address of a subnet,
//! and GC removes those of subnets that have none left. So a packet, an ADD and a DEL cost the same with ten addresses
//! in a subnet as with ten thousand; a packet (the first of a connection, as nat chains see no other) costs one hash
//! lookup a subnet.
//!
//! One verdict map from address to subnet would save the lookups, but not pay: for every element with a jump or goto the
//! kernel walks the whole map again, 1.1 ms at 10,000 addresses for each ADD (see [`kernel::nft`]).
//!
//! An address with a host's prefix has no network beyond itself. Such addresses share one set a family, `hosts4` and
//! `hosts6`, or each would bring a rule of its own.
//!
//! Multicast stays on the link and keeps its source.
//!
//! The name of the table is the version of the layout.

use std::net::IpAddr;

use cni::Owner;
use ipnetwork::IpNetwork;
use kernel::nft::{
    Base, Batch, Chain, Change, Comparison, Element, Elements, Error, Family, Field, Hook, Kind, Layout, Nft,
    ObjectName, Part, PartObject, Policy, Rule, Set, Statement, Table, TableName, Type, Verdict,
};

/// Our own table.
pub(super) const TABLE: TableName = TableName::new(Family::Inet, "xnet_masq");
const POSTROUTING: &str = "postrouting";
/// `srcnat`, where sources are translated (`NF_IP_PRI_NAT_SRC`).
const SRCNAT: i32 = 100;
/// The table of the Go suite, and the chain with its rules.
const GO_TABLE: TableName = TableName::new(Family::Inet, "cni_plugins_masquerade");
const GO_CHAIN: &str = "masq_checks";

/// The addresses of one attachment.
pub(super) fn elements(owner: &Owner, ips: &[IpNetwork]) -> Elements {
    let tag = owner.tag();
    let mut subnets: Vec<Subnet> = ips.iter().map(|ip| Subnet::of(*ip)).collect();
    subnets.sort();
    subnets.dedup();
    let mut parts = vec![postrouting()];
    parts.extend(subnets.iter().map(Subnet::part));
    let comment = Some("Masquerading of containers".to_owned());
    Elements {
        layout: Layout { table: Table { name: TABLE, comment }, parts },
        elements: ips.iter().map(|ip| Subnet::of(*ip).element(ip.ip(), &tag)).collect(),
    }
}

/// The addresses that share a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Subnet {
    /// The addresses of a network.
    Net(IpNetwork),
    /// All IPv4 addresses that have no network.
    Hosts4,
    /// All IPv6 addresses that have no network.
    Hosts6,
}

impl Subnet {
    fn of(ip: IpNetwork) -> Self {
        match ip {
            IpNetwork::V4(v4) if v4.prefix() == 32 => Self::Hosts4,
            IpNetwork::V6(v6) if v6.prefix() == 128 => Self::Hosts6,
            _ => Self::Net(masked(ip)),
        }
    }

    /// The name of its set. Names can't have colons.
    fn set(&self) -> ObjectName {
        TABLE.object(match self {
            Self::Net(net) => format!("net-{net}").replace(':', "_"),
            Self::Hosts4 => "hosts4".to_owned(),
            Self::Hosts6 => "hosts6".to_owned(),
        })
    }

    /// The subnet whose set has this name.
    fn parse(name: &str) -> Option<Self> {
        match name {
            "hosts4" => Some(Self::Hosts4),
            "hosts6" => Some(Self::Hosts6),
            _ => name.strip_prefix("net-")?.replace('_', ":").parse().ok().map(Self::Net),
        }
    }

    /// Whether an element for this address can be in its set.
    fn may_hold(&self, address: IpAddr) -> bool {
        match self {
            Self::Net(net) => net.contains(address),
            Self::Hosts4 => address.is_ipv4(),
            Self::Hosts6 => address.is_ipv6(),
        }
    }

    fn is_ipv6(&self) -> bool {
        match self {
            Self::Net(net) => net.is_ipv6(),
            Self::Hosts4 => false,
            Self::Hosts6 => true,
        }
    }

    fn element(&self, address: IpAddr, tag: &str) -> Element {
        Element { set: self.set(), key: address.into(), data: None, comment: Some(tag.to_owned()) }
    }

    /// The set and its rule.
    fn part(&self) -> Part {
        let set = self.set();
        let (key, saddr, daddr) = if self.is_ipv6() {
            (Type::Ipv6Addr, Field::Ip6Saddr, Field::Ip6Daddr)
        } else {
            (Type::Ipv4Addr, Field::IpSaddr, Field::IpDaddr)
        };
        let mut statements = vec![Statement::Lookup(vec![saddr], Comparison::Equal, set.name.clone().into_owned())];
        if let Self::Net(net) = self {
            statements.push(Statement::Match(daddr, Comparison::NotEqual, (*net).into()));
        }
        statements.push(Statement::Masquerade);
        Part {
            object: PartObject::Set(Set { name: set, key: key.into(), data: None, comment: None }),
            rules: vec![Rule { chain: TABLE.object(POSTROUTING), statements, comment: Some(self.rule_comment()) }],
        }
    }

    /// By what its rule is found again.
    fn rule_comment(&self) -> String {
        match self {
            Self::Net(net) => format!("leaving {net}"),
            Self::Hosts4 => "leaving a host".to_owned(),
            Self::Hosts6 => "leaving a host of IPv6".to_owned(),
        }
    }
}

/// The network without the host's part of the address.
fn masked(ip: IpNetwork) -> IpNetwork {
    IpNetwork::new(ip.network(), ip.prefix()).unwrap_or(ip)
}

fn postrouting() -> Part {
    let base = Base { kind: Kind::Nat, hook: Hook::Postrouting, priority: SRCNAT, policy: Policy::Accept };
    let chain = Chain { name: TABLE.object(POSTROUTING), base: Some(base), comment: None };
    let stays = |field, network: Option<IpNetwork>, comment: &str| {
        network.map(|network| Rule {
            chain: TABLE.object(POSTROUTING),
            statements: vec![
                Statement::Match(field, Comparison::Equal, network.into()),
                Statement::Verdict(Verdict::Return),
            ],
            comment: Some(comment.to_owned()),
        })
    };
    let v4 = stays(Field::IpDaddr, "224.0.0.0/4".parse().ok(), "multicast");
    let v6 = stays(Field::Ip6Daddr, "ff00::/8".parse().ok(), "multicast of IPv6");
    Part { object: PartObject::Chain(chain), rules: v4.into_iter().chain(v6).collect() }
}

/// Removes the attachment's elements: by key where its addresses are known and lead to any, else by tag.
pub(super) fn remove(nft: &mut Nft, owner: &Owner, known: &[IpAddr]) -> Result<(), Error> {
    let sets = nft.sets(&TABLE)?;
    let subnets: Vec<Subnet> = sets.iter().filter_map(|set| Subnet::parse(&set.name)).collect();
    let tag = owner.tag();
    let mut mine = elements(owner, &[]);
    for address in known {
        let holders = subnets.iter().filter(|subnet| subnet.may_hold(*address));
        mine.elements.extend(holders.map(|subnet| subnet.element(*address, &tag)));
    }
    if mine.remove(nft)? > 0 {
        return Ok(());
    }
    sets.iter().try_for_each(|set| nft.remove_owned(set, &|tag| super::owns(owner, tag)).map(drop))
}

/// Removes all elements with a stale tag, and then subnets without elements.
pub(super) fn gc(nft: &mut Nft, is_stale: &dyn Fn(&str) -> bool) -> Result<(), Error> {
    for set in nft.sets(&TABLE)? {
        nft.remove_owned(&set, is_stale)?;
        if let Some(subnet) = Subnet::parse(&set.name) {
            nft.retire(&[set], &[(TABLE.object(POSTROUTING), subnet.rule_comment())], &[])?;
        }
    }
    Ok(())
}

/// Removes rules of the Go suite whose comment, which is a tag like ours, is `owned`.
pub(super) fn remove_foreign(nft: &mut Nft, owned: &dyn Fn(&str) -> bool) -> Result<(), Error> {
    let chain = GO_TABLE.object(GO_CHAIN);
    for rule in nft.rules(&chain)?.into_iter().filter(|rule| rule.comment.as_deref().is_some_and(owned)) {
        let mut batch = Batch::new();
        batch.push(Change::DeleteRule(chain.clone(), rule.handle));
        match nft.commit(&batch) {
            Err(error) if !error.is_not_found() => return Err(error),
            _ => {}
        }
    }
    Ok(())
}
