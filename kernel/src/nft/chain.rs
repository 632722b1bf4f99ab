//! Chains.

use std::fmt;

use netlink_packet_netfilter::nftables::{
    ChainAttribute, ChainMessage, Hook as HookAttribute, InetHookNumber, NfTablesMessage,
};

use super::table::ObjectName;
use super::userdata;

/// A chain. With a [`Base`] packets enter it from the kernel; without, from rules that jump to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// Its name.
    pub name: ObjectName,
    /// Where packets enter it, for a base chain.
    pub base: Option<Base>,
    /// Words for whoever lists the ruleset.
    pub comment: Option<String>,
}

/// What makes a chain a base chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Base {
    /// What its rules may do.
    pub kind: Kind,
    /// Where in the packet's way it sits.
    pub hook: Hook,
    /// Its place among the chains of the same hook, lowest first. 100 is `srcnat`, -100 `dstnat`; in the bridge family
    /// 300 and -300.
    pub priority: i32,
    /// What happens to a packet that reaches its end.
    pub policy: Policy,
}

/// What the rules of a base chain may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Accept and drop.
    Filter,
    /// Translate addresses. Sees only the first packet of a connection.
    Nat,
    /// Change the packet before it is routed again.
    Route,
}

/// A point in the packet's way through the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// Just received.
    Prerouting,
    /// For this host.
    Input,
    /// For another.
    Forward,
    /// From this host.
    Output,
    /// About to leave.
    Postrouting,
}

/// What happens to a packet that reaches the end of a base chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// It goes on.
    Accept,
    /// It is dropped.
    Drop,
}

impl Kind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Filter => "filter",
            Self::Nat => "nat",
            Self::Route => "route",
        }
    }
}

impl Hook {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Prerouting => "prerouting",
            Self::Input => "input",
            Self::Forward => "forward",
            Self::Output => "output",
            Self::Postrouting => "postrouting",
        }
    }

    /// The bridge family numbers its hooks alike (`enum nf_inet_hooks`, `NF_BR_*`).
    const fn number(self) -> InetHookNumber {
        match self {
            Self::Prerouting => InetHookNumber::PreRouting,
            Self::Input => InetHookNumber::LocalIn,
            Self::Forward => InetHookNumber::Forward,
            Self::Output => InetHookNumber::LocalOut,
            Self::Postrouting => InetHookNumber::PostRouting,
        }
    }
}

impl Policy {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::Drop => "drop",
        }
    }

    /// `NF_DROP`, `NF_ACCEPT`.
    const fn number(self) -> u32 {
        match self {
            Self::Drop => 0,
            Self::Accept => 1,
        }
    }
}

impl Chain {
    pub(super) fn message(&self) -> NfTablesMessage {
        let mut attributes = name(&self.name).attributes;
        if let Some(base) = &self.base {
            attributes.push(ChainAttribute::Type(base.kind.as_str().to_owned()));
            attributes.push(ChainAttribute::Policy(base.policy.number()));
            attributes.push(ChainAttribute::Hook(vec![
                HookAttribute::Number(base.hook.number().into()),
                HookAttribute::Priority(base.priority.cast_unsigned()),
            ]));
        }
        if let Some(comment) = &self.comment {
            attributes.push(ChainAttribute::UserData(userdata::chain(comment)));
        }
        NfTablesMessage::NewChain(ChainMessage { attributes })
    }
}

/// A message that names the chain and says nothing more.
pub(super) fn name(chain: &ObjectName) -> ChainMessage {
    let table = ChainAttribute::Table(chain.table.name.clone().into_owned());
    ChainMessage { attributes: vec![table, ChainAttribute::Name(chain.name.clone().into_owned())] }
}

impl fmt::Display for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "chain {}", self.name)?;
        if self.base.is_none() && self.comment.is_none() {
            return Ok(());
        }
        f.write_str(" {")?;
        if let Some(Base { kind, hook, priority, policy }) = self.base {
            write!(f, " type {} hook {} priority {priority} ;", kind.as_str(), hook.as_str())?;
            write!(f, " policy {} ;", policy.as_str())?;
        }
        if let Some(comment) = &self.comment {
            write!(f, " comment \"{}\" ;", userdata::cut(comment))?;
        }
        f.write_str(" }")
    }
}
