//! Who has a port in the maps, and whether that is still so.

use std::net::SocketAddr;

use kernel::nft::{self, Entry, Error, Nft, ObjectName};
use kernel::{Handle, netlink};

use super::layout::Conditions;
use super::{key, redirect};
use crate::portmap::config::Config;
use crate::portmap::flows::Redirect;
use crate::portmap::target::{Claimant, Target};

/// What becomes of an element with a key that an attachment wants.
pub(super) enum Holder {
    /// It is the attachment's own, from an ADD without a DEL.
    Itself,
    /// Whoever had it is gone. Some elements lead somewhere.
    Nobody(Option<Redirect>),
    /// Somebody has it; a text for people.
    Other(String),
}

impl Holder {
    /// Judges an element of `set`, which `target` wants.
    pub(super) fn of(set: &ObjectName, entry: &Entry, target: &Target) -> Self {
        let tag = entry.comment.as_deref().unwrap_or_default();
        if nft::owner(tag) == target.owner.tag_prefix() {
            return Self::Itself;
        }
        // Elements other than mappings are about an address, which is ours now.
        let Some(redirect) = redirect(set, entry) else { return Self::Nobody(None) };
        let claimant = Claimant::parse(tag);
        match claimant.dev.map(exists) {
            _ if target.has(redirect.target) => Self::Nobody(None),
            Some(Ok(false)) => Self::Nobody(Some(redirect)),
            _ => Self::Other(taken(&redirect, &claimant)),
        }
    }
}

/// Looks for the ports in the maps before they are mapped by iptables, whose rules see the same packets: those of
/// containers that are gone are removed. Rules with conditions may well be for different packets, and so may maps.
///
/// # Errors
///
/// [`Error::Taken`] when another container has one, or what the kernel refuses.
pub(in crate::portmap) fn make_way(nft: &mut Nft, target: &Target, config: &Config) -> Result<Vec<Redirect>, Error> {
    let mut displaced = Vec::new();
    for ip in &target.ips {
        let is_ipv6 = ip.is_ipv6();
        let conditions = if is_ipv6 { &config.conditions_v6 } else { &config.conditions_v4 };
        if !conditions.is_empty() {
            continue;
        }
        for mapping in config.mappings.iter().filter(|mapping| mapping.is_for(is_ipv6)) {
            let set = Conditions::none(is_ipv6).map(mapping.specific_ip().is_some());
            let key = key(mapping);
            let Some(entry) = nft.element(&set, &key)? else { continue };
            match Holder::of(&set, &entry, target) {
                Holder::Itself => {}
                Holder::Nobody(redirect) => {
                    nft.take(&[(&set, &key)], &|tag| entry.comment.as_deref() == Some(tag))?;
                    displaced.extend(redirect);
                }
                Holder::Other(text) => return Err(Error::Taken(text)),
            }
        }
    }
    Ok(displaced)
}

/// Whether the host has the link. Asked on a socket of its own, since this is for the rare port that is taken.
fn exists(dev: &str) -> Result<bool, netlink::Error> {
    Ok(Handle::here()?.link(dev)?.is_some())
}

fn taken(redirect: &Redirect, claimant: &Claimant<'_>) -> String {
    let at = redirect.host_ip.map(|ip| format!(" at {ip}")).unwrap_or_default();
    let who = claimant.attachment().unwrap_or_else(|| "somebody unknown".to_owned());
    let Redirect { host_port, protocol, target, port, .. } = redirect;
    let to = SocketAddr::new(*target, *port);
    format!("host port {host_port}/{protocol}{at} is taken by {who}, {to}; {}", claimant.advice())
}
