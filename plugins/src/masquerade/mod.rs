//! Masquerading (`ipMasq`): what a container sends beyond its own network leaves with the address of the host.
//!
//! # Theory of operation
//!
//! Two back ends write the same meaning. With `nftables`, the default, an attachment is an element for each of its
//! addresses in a private table. With `iptables`, for nodes that filter there, it is a chain of its own in `nat`, named
//! and commented exactly as the Go suite does it.
//!
//! Whatever `ipMasqBackend` says at the time, taking an attachment down looks for what either back end or the Go
//! suite may have left: the configuration may have changed since, or the suite. Looking is by name and key and costs
//! microseconds where nothing is there. Only things that carry the attachment's tag, or for iptables its network and
//! container, are touched.
//!
//! GC does the same for all attachments of a network that are not valid. Where a thing does not say which interface it
//! belongs to (iptables), it stays as long as any attachment of the container is valid.

mod iptables;
mod nftables;

#[cfg(test)]
pub(crate) mod tests;

use std::net::IpAddr;

use cni::plugin::ValidAttachments;
use cni::quote::quote;
use cni::{Code, Error, NetName, Owner};
use ipnetwork::IpNetwork;
use kernel::nft::{self, Nft};
use kernel::plan::{Machine, Plan};

use crate::error::attempt;
use crate::ownership::Live;

/// By which means to masquerade.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Backend {
    /// Elements in a table of our own.
    #[default]
    Nftables,
    /// A chain per attachment in iptables' `nat`.
    Iptables,
}

impl Backend {
    /// Reads `ipMasqBackend`.
    ///
    /// # Errors
    ///
    /// When there is no such back end.
    pub fn parse(name: Option<&str>) -> Result<Self, Error> {
        match name {
            None | Some("nftables") => Ok(Self::Nftables),
            Some("iptables") => Ok(Self::Iptables),
            Some(other) => Err(Error::internal(format!("unknown ipmasq backend {}", quote(other)))),
        }
    }

    /// Whether it can work here.
    ///
    /// # Errors
    ///
    /// Code 50 when the kernel or a program lacks what it needs.
    pub fn status(self) -> Result<(), Error> {
        match self {
            Self::Nftables => status(),
            Self::Iptables => kernel::iptables::ready(kernel::iptables::Family::V4)
                .map_err(|error| Error::new(Code::PLUGIN_NOT_AVAILABLE, error.to_string())),
        }
    }
}

/// What makes the addresses in `ips` masqueraded, each beyond the network that its prefix says.
#[must_use]
pub fn plan(backend: Backend, owner: &Owner, ips: &[IpNetwork]) -> Plan {
    let mut plan = Plan::new();
    match backend {
        _ if ips.is_empty() => {}
        Backend::Nftables => plan.push(nftables::elements(owner, ips)),
        Backend::Iptables => plan.push(iptables::Rules::new(owner, ips)),
    }
    plan
}

/// Removes what masquerades the attachment, whoever made it. `known` are its addresses; without any its things are
/// found by their tags.
///
/// # Errors
///
/// When something of it is there and can't be removed. All places were tried then.
pub fn remove(machine: &mut Machine, owner: &Owner, known: &[IpAddr]) -> Result<(), Error> {
    let mut nft = nf_tables(machine).map_err(|error| attempt("look for masquerading", error))?;
    let own = nft.as_deref_mut().map_or(Ok(()), |nft| nftables::remove(nft, owner, known));
    let foreign = nft.map_or(Ok(()), |nft| nftables::remove_foreign(nft, &|tag| owns(owner, tag)));
    let rules = iptables::remove(machine, owner, known);
    let whose = format!("container {} ({}) in network {}", owner.id, owner.ifname, owner.net);
    all(&whose, [own.map_err(text), foreign.map_err(text), rules.map_err(text)])
}

/// Removes what belongs to the network `name` and to none of its valid attachments.
///
/// # Errors
///
/// When something is there and can't be removed. All places were tried then.
pub fn gc(machine: &mut Machine, name: &NetName, valid: &ValidAttachments) -> Result<(), Error> {
    if !valid.is_specified() {
        return Ok(());
    }
    let live = Live::of(name, valid);
    let is_stale = |tag: &str| live.is_stale(tag);
    let mut nft = nf_tables(machine).map_err(|error| attempt("look for masquerading", error))?;
    let own = nft.as_deref_mut().map_or(Ok(()), |nft| nftables::gc(nft, &is_stale));
    let foreign = nft.map_or(Ok(()), |nft| nftables::remove_foreign(nft, &is_stale));
    let rules = iptables::gc(machine, name, valid);
    all(&format!("network {name}"), [own.map_err(text), foreign.map_err(text), rules.map_err(text)])
}

/// Whether nf_tables, and so whatever is built on it, can work on this kernel.
///
/// # Errors
///
/// Code 50 when it can't.
pub fn status() -> Result<(), Error> {
    let answer = Nft::open().and_then(|mut nft| nft.supported());
    answer.map_err(|error| Error::new(Code::PLUGIN_NOT_AVAILABLE, error.to_string()))
}

/// nf_tables, or none on a kernel without, which can't hold anything of ours then.
pub(crate) fn nf_tables(machine: &mut Machine) -> Result<Option<&mut Nft>, nft::Error> {
    match machine.nft().and_then(|nft| nft.supported().map(|()| nft)) {
        Ok(nft) => Ok(Some(nft)),
        Err(nft::Error::NoSupport) => Ok(None),
        Err(error) => Err(error),
    }
}

fn owns(owner: &Owner, tag: &str) -> bool {
    tag.split(',').next() == Some(&owner.tag_prefix())
}

fn text(error: impl std::error::Error) -> String {
    error.to_string()
}

/// One error for all failures. Each has its own line, as callers know it.
fn all(whose: &str, results: [Result<(), String>; 3]) -> Result<(), Error> {
    let failures: Vec<String> = results.into_iter().filter_map(Result::err).collect();
    if failures.is_empty() {
        return Ok(());
    }
    Err(attempt(format_args!("remove masquerading of {whose}"), failures.join("\n")))
}
