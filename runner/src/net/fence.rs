//! What makes an internal network internal.
//!
//! That its containers have no default route is nothing that they have to respect, and whoever is on the host's wire may
//! have a route to them. So nothing is forwarded to or from the bridge of such a network but what stays on it:
//!
//! ```text
//! table inet xnet_internal {
//!     set bridges { type ifname; elements = { "xn-back" comment "8f14..., net: back" } }
//!     set within  { type ifname . ifname; elements = { "xn-back" . "xn-back" comment "8f14..., net: back" } }
//!     chain forward {
//!         type filter hook forward priority filter; policy accept;
//!         iifname @bridges iifname . oifname != @within drop comment "out of an internal network"
//!         oifname @bridges iifname . oifname != @within drop comment "into an internal network"
//!     }
//! }
//! ```
//!
//! The rules are static, the networks are elements, put in before the first container is attached and at each one after it (so that
//! they are there again after a reboot), taken out when the network is removed. A `drop` is final, whatever other tables say. The
//! host itself talks to its containers: that is not forwarded.

use cni::owner::prefixed_hash;
use cni::runtime::ConfList;
use kernel::nft::{
    Base, Chain, Comparison, Element, Elements, Family, Field, Hook, KeyType, Kind, Layout, Nft, ObjectName, Part,
    PartObject, Policy, Rule, Set, Statement, Table, TableName, Type, Value, Verdict,
};

use crate::error::{Error, Result};

const TABLE: TableName = TableName::new(Family::Inet, "xnet_internal");
const BRIDGES: &str = "bridges";
const WITHIN: &str = "within";
const FORWARD: &str = "forward";
/// `NF_IP_PRI_FILTER`.
const FILTER: i32 = 0;

/// Keeps the network of `list` from being left and entered, if it is an internal one with a bridge.
///
/// # Errors
/// The kernel has no `nf_tables`, or refuses. The network must not be used then.
pub(super) fn raise(list: &ConfList) -> Result<()> {
    let Some(bridge) = internal_bridge(list) else { return Ok(()) };
    let raised = Nft::open().and_then(|mut nft| elements(list.name(), &bridge).apply(&mut nft));
    raised.map_err(|error| Error::new(format!("keep the internal network {} to itself: {error}", list.name())))
}

/// Undoes [`raise`].
///
/// # Errors
/// The kernel refuses.
pub(super) fn lower(list: &ConfList) -> Result<()> {
    let Some(bridge) = internal_bridge(list) else { return Ok(()) };
    let lowered = Nft::open().and_then(|mut nft| elements(list.name(), &bridge).remove(&mut nft));
    lowered.map(drop).map_err(|error| Error::new(format!("open the internal network {}: {error}", list.name())))
}

/// The bridge of a network of ours that is internal.
fn internal_bridge(list: &ConfList) -> Option<String> {
    let list: serde_json::Value = serde_json::from_slice(list.bytes()).ok()?;
    if list.pointer("/xnet/internal")?.as_bool() != Some(true) {
        return None;
    }
    list.pointer("/plugins/0/bridge")?.as_str().map(str::to_owned)
}

fn elements(network: &str, bridge: &str) -> Elements {
    let tag = format!("{}, net: {network}", prefixed_hash("", network, 16));
    let element = |set: &'static str, key| Element { set: object(set), key, data: None, comment: Some(tag.clone()) };
    let name = || Value::IfName(bridge.to_owned());
    let elements = vec![element(WITHIN, Value::Concat(vec![name(), name()])), element(BRIDGES, name())];
    Elements { layout: layout(), elements }
}

fn layout() -> Layout {
    let set = |name, key, comment: &str| {
        let set = Set { name: object(name), key, data: None, comment: Some(comment.to_owned()) };
        Part { object: PartObject::Set(set), rules: Vec::new() }
    };
    let base = Base { kind: Kind::Filter, hook: Hook::Forward, priority: FILTER, policy: Policy::Accept };
    let chain = Chain { name: object(FORWARD), base: Some(base), comment: None };
    let rules =
        vec![rule(Field::IifName, "out of an internal network"), rule(Field::OifName, "into an internal network")];
    Layout {
        table: Table { name: TABLE, comment: Some("Networks that nobody leaves or enters".to_owned()) },
        parts: vec![
            set(BRIDGES, Type::IfName.into(), "bridges of internal networks"),
            set(WITHIN, KeyType(vec![Type::IfName, Type::IfName]), "from such a bridge to itself"),
            Part { object: PartObject::Chain(chain), rules },
        ],
    }
}

fn rule(side: Field, comment: &str) -> Rule {
    let across = vec![Field::IifName, Field::OifName];
    let statements = vec![
        Statement::Lookup(vec![side], Comparison::Equal, BRIDGES.to_owned()),
        Statement::Lookup(across, Comparison::NotEqual, WITHIN.to_owned()),
        Statement::Verdict(Verdict::Drop),
    ];
    Rule { chain: object(FORWARD), statements, comment: Some(comment.to_owned()) }
}

fn object(name: &'static str) -> ObjectName {
    TABLE.object(name)
}

#[cfg(test)]
mod tests {
    use nix::sched::{CloneFlags, unshare};

    use super::*;

    fn list(internal: bool) -> ConfList {
        let text = serde_json::json!({
            "cniVersion": "1.1.0", "name": "back", "xnet": {"internal": internal},
            "plugins": [{"type": "bridge", "bridge": "xn-back"}],
        });
        ConfList::from_slice(text.to_string().as_bytes()).unwrap()
    }

    /// Requirement: NET-X.
    #[test]
    fn a_fence_is_raised_once_and_goes_with_the_network() {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        raise(&list(false)).unwrap();
        assert!(!Nft::open().unwrap().table_exists(&TABLE).unwrap());
        raise(&list(true)).unwrap();
        raise(&list(true)).unwrap();
        let mut nft = Nft::open().unwrap();
        let mut found =
            || (nft.elements(&object(BRIDGES)).unwrap().len(), nft.elements(&object(WITHIN)).unwrap().len());
        assert_eq!(found(), (1, 1));
        lower(&list(true)).unwrap();
        lower(&list(true)).unwrap();
        assert_eq!(found(), (0, 0));
    }
}
