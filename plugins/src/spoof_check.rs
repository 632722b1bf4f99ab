//! The check on forged source addresses (`macspoofchk`): what comes from the container through its port of the bridge
//! must carry the hardware address that the container was given.
//!
//! # Theory of operation
//!
//! ```text
//! table bridge xnet_spoofcheck {
//!     chain prerouting {
//!         type filter hook prerouting priority dstnat; policy accept;
//!         iifname @guarded iifname . ether saddr != @allowed drop comment "forged source address"
//!     }
//!     set guarded { type ifname; elements = { "veth02a13658" comment "43d91f.., net: n1, if: eth0, id: cid1" } }
//!     set allowed { type ifname . ether_addr;
//!                   elements = { "veth02a13658" . a6:b2:4f:37:96:8f comment "43d91f.., net: n1, if: eth0, id: cid1" } }
//! }
//! ```
//!
//! One rule for all, which drops nothing from ports that are not guarded. A port's two elements come and go in one
//! transaction, so it is never guarded without an allowed address.
//!
//! The Go suite has a jump and two chains an attachment in `bridge nat`. DEL removes these too; GC can't, because their
//! names and comments do not say which network they belong to.
//!
//! The name of the table is the version of the layout.

use cni::plugin::ValidAttachments;
use cni::{Error, NetName, Owner};
use kernel::Mac;
use kernel::nft::{
    self, Base, Batch, Chain, Change, Comparison, Element, Elements, Family, Field, Hook, KeyType, Kind, Layout, Nft,
    Part, PartObject, Policy, Rule, Set, Statement, Table, TableName, Type, Value, Verdict,
};
use kernel::plan::{Machine, Step};

use crate::error::attempt;
use crate::masquerade::nf_tables;
use crate::ownership::Live;

const TABLE: TableName = TableName::new(Family::Bridge, "xnet_spoofcheck");
const PREROUTING: &str = "prerouting";
const GUARDED: &str = "guarded";
const ALLOWED: &str = "allowed";
/// Where the Go suite puts its jump, too: before anything else looks at the frame (`NF_BR_PRI_NAT_DST_BRIDGED`).
const PRIORITY: i32 = -300;
/// The table of the Go suite, and the chain with its jumps.
const GO_TABLE: TableName = TableName::new(Family::Bridge, "nat");
const GO_CHAIN: &str = "PREROUTING";

/// Guards `port`, the host's end of the veth pair: only frames from `mac` may come in.
#[must_use]
pub fn elements(port: &str, mac: Mac, owner: &Owner) -> impl Step + 'static + use<> {
    guard(port, mac, owner)
}

fn guard(port: &str, mac: Mac, owner: &Owner) -> Elements {
    let pair = Value::Concat(vec![interface(port), Value::Ether(mac)]);
    Elements {
        layout: layout(),
        elements: vec![element(GUARDED, interface(port), owner), element(ALLOWED, pair, owner)],
    }
}

fn interface(name: &str) -> Value {
    Value::IfName(name.to_owned())
}

fn element(set: &'static str, key: Value, owner: &Owner) -> Element {
    Element { set: TABLE.object(set), key, data: None, comment: Some(owner.tag()) }
}

fn layout() -> Layout {
    let set =
        |name: &'static str, key| PartObject::Set(Set { name: TABLE.object(name), key, data: None, comment: None });
    let base = Base { kind: Kind::Filter, hook: Hook::Prerouting, priority: PRIORITY, policy: Policy::Accept };
    let chain = Chain { name: TABLE.object(PREROUTING), base: Some(base), comment: None };
    let drop = Rule {
        chain: TABLE.object(PREROUTING),
        statements: vec![
            Statement::Lookup(vec![Field::IifName], Comparison::Equal, GUARDED.to_owned()),
            Statement::Lookup(vec![Field::IifName, Field::EtherSaddr], Comparison::NotEqual, ALLOWED.to_owned()),
            Statement::Verdict(Verdict::Drop),
        ],
        comment: Some("forged source address".to_owned()),
    };
    let pair = KeyType(vec![Type::IfName, Type::EtherAddr]);
    Layout {
        table: Table { name: TABLE, comment: Some("Source addresses of containers".to_owned()) },
        parts: vec![
            Part { object: set(GUARDED, Type::IfName.into()), rules: Vec::new() },
            Part { object: set(ALLOWED, pair), rules: Vec::new() },
            Part { object: PartObject::Chain(chain), rules: vec![drop] },
        ],
    }
}

/// Removes what guards the attachment's port, whoever made it. `port` is where the elements most probably are.
///
/// # Errors
///
/// When something of it is there and can't be removed.
pub fn remove(machine: &mut Machine, owner: &Owner, port: &str) -> Result<(), Error> {
    let failed = |error: nft::Error| attempt("failed to teardown spoof-check", error);
    let Some(nft) = nf_tables(machine).map_err(failed)? else { return Ok(()) };
    remove_own(nft, owner, port).map_err(failed)?;
    remove_foreign(nft, owner).map_err(failed)
}

/// Removes what belongs to the network `name` and to none of its valid attachments.
///
/// # Errors
///
/// When something is there and can't be removed.
pub fn gc(machine: &mut Machine, name: &NetName, valid: &ValidAttachments) -> Result<(), Error> {
    if !valid.is_specified() {
        return Ok(());
    }
    let live = Live::of(name, valid);
    let failed = |error: nft::Error| attempt(format_args!("remove spoof checks of network {name}"), error);
    let Some(nft) = nf_tables(machine).map_err(failed)? else { return Ok(()) };
    sweep(nft, &|tag| live.is_stale(tag)).map_err(failed)
}

/// By key first: the port's name, and the address that a container has unless it was told another. If that does not
/// find both elements, both sets are searched for the owner's tag.
fn remove_own(nft: &mut Nft, owner: &Owner, port: &str) -> Result<(), nft::Error> {
    let likely = guard(port, owner.mac("container").into(), owner);
    if likely.remove(nft)? == likely.elements.len() {
        return Ok(());
    }
    let tag = owner.tag();
    sweep(nft, &|comment| comment == tag)
}

/// Unguards before it forgets allowed addresses: the other way round a live port would go deaf in between.
fn sweep(nft: &mut Nft, owned: &dyn Fn(&str) -> bool) -> Result<(), nft::Error> {
    nft.remove_owned(&TABLE.object(GUARDED), owned)?;
    nft.remove_owned(&TABLE.object(ALLOWED), owned).map(drop)
}

/// Removes the jump and the two chains of the Go suite.
fn remove_foreign(nft: &mut Nft, owner: &Owner) -> Result<(), nft::Error> {
    let chain = GO_TABLE.object(owner.spoof_chain());
    let second = GO_TABLE.object(format!("{}-mac", owner.spoof_chain()));
    let mut batch = Batch::new();
    let mut chains = Vec::new();
    for chain in [chain, second] {
        if nft.chain_exists(&chain)? {
            chains.push(chain);
        }
    }
    if chains.is_empty() {
        return Ok(());
    }
    let comment = owner.spoof_comment();
    let prerouting = GO_TABLE.object(GO_CHAIN);
    for rule in nft.rules(&prerouting)?.into_iter().filter(|rule| rule.comment.as_ref() == Some(&comment)) {
        batch.push(Change::DeleteRule(prerouting.clone(), rule.handle));
    }
    chains.iter().for_each(|chain| batch.push(Change::FlushChain(chain.clone())));
    chains.into_iter().for_each(|chain| batch.push(Change::DeleteChain(chain)));
    match nft.commit(&batch) {
        Err(error) if !error.is_not_found() => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
