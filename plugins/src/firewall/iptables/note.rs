//! Notes on whose an address is, and who wants which policy for which bridge.

use std::net::IpAddr;

use cni::Owner;
use ipnetwork::IpNetwork;
use kernel::iptables::{Rule, Saved};
use kernel::nft;

use super::{NOTES, Policy};

/// A note: a rule without a target, in a chain to which nothing jumps.
pub(super) struct Note<'a> {
    pub rule: &'a Rule,
    pub tag: &'a str,
}

/// The matches of a note on a bridge.
pub(super) fn bridge(name: &str, policy: Policy) -> Vec<&str> {
    match policy {
        Policy::Isolated => vec!["-i", name, "-o", name],
        Policy::Open | Policy::SameBridge => vec!["-i", name],
    }
}

/// All notes of a table.
pub(super) fn all(found: &Saved) -> impl Iterator<Item = Note<'_>> {
    found.chain(NOTES).filter_map(|rule| Some(Note { rule, tag: rule.comment()? }))
}

impl<'a> Note<'a> {
    /// Whether it is about this attachment.
    pub(super) fn is_of(&self, owner: &Owner) -> bool {
        nft::owner(self.tag) == owner.tag_prefix()
    }

    /// The address that it is about, if it is about one.
    pub(super) fn address(&self) -> Option<IpAddr> {
        Some(self.rule.value("-s")?.parse::<IpNetwork>().ok()?.ip())
    }

    /// The bridge that it is about, if it is about one, and whether that is to be isolated.
    pub(super) fn bridge(&self) -> Option<(&'a str, bool)> {
        Some((self.rule.value("-i")?, self.rule.value("-o").is_some()))
    }
}
