//! DEL and GC: what an attachment has in our table.

use kernel::nft::{self, Data, Entry, Error, Nft, ObjectName, Value};

use super::layout::{self, ATTACHMENTS, Conditions, Masquerade, TABLE};
use super::{key, redirect};
use crate::portmap::config::Config;
use crate::portmap::flows::Redirect;
use crate::portmap::target::Target;

/// Removes what the attachment has, and says where its ports led.
///
/// What the configuration and the addresses lead to is deleted by key. The index says how much there was; if that was not
/// all, the rest is searched.
pub(in crate::portmap) fn remove(nft: &mut Nft, target: &Target, config: &Config) -> Result<Vec<Redirect>, Error> {
    let prefix = target.owner.tag_prefix();
    let owned = |tag: &str| nft::owner(tag) == prefix;
    let mut keys = vec![(TABLE.object(ATTACHMENTS), layout::index_key(&prefix))];
    for is_ipv6 in [false, true] {
        // Conditions that are not understood were refused by ADD.
        let maps = Conditions::of(config, is_ipv6).unwrap_or_else(|_| Conditions::none(is_ipv6));
        let mappings = config.mappings.iter().filter(|mapping| mapping.is_for(is_ipv6));
        keys.extend(mappings.map(|mapping| (maps.map(mapping.specific_ip().is_some()), key(mapping))));
    }
    for ip in &target.ips {
        keys.extend(Masquerade::of(*ip).map(|masquerade| (masquerade.set(), masquerade.key())));
    }
    // `0.0.0.0` and none at all are the same to a family.
    let mut targets: Vec<(&ObjectName, &Value)> = Vec::with_capacity(keys.len());
    for (set, key) in &keys {
        if !targets.contains(&(set, key)) {
            targets.push((set, key));
        }
    }
    let taken = nft.take(&targets, &owned)?;
    let index = taken.iter().find(|(at, _)| *at == 0).map(|(_, entry)| count(entry));
    let found = taken.iter().filter(|(at, _)| *at != 0).count();
    let mut redirects: Vec<Redirect> =
        taken.iter().filter_map(|(at, entry)| redirect(targets.get(*at)?.0, entry)).collect();
    if index.unwrap_or_default() != found {
        redirects.extend(search(nft, &owned)?);
    }
    Ok(redirects)
}

/// How many elements the index says there are.
fn count(entry: &Entry) -> usize {
    let bytes = match &entry.data {
        Some(Data::Value(value)) => value.bytes(),
        _ => Vec::new(),
    };
    let count = bytes.first_chunk().map_or(0, |bytes| u32::from_ne_bytes(*bytes));
    usize::try_from(count).unwrap_or(usize::MAX)
}

/// Removes everything in the table that is `owned`.
fn search(nft: &mut Nft, owned: &dyn Fn(&str) -> bool) -> Result<Vec<Redirect>, Error> {
    let mut redirects = Vec::new();
    for set in nft.sets(&TABLE)? {
        redirects.extend(nft.take_owned(&set, owned)?.iter().filter_map(|entry| redirect(&set, entry)));
    }
    Ok(redirects)
}

/// Removes everything that is stale, and then what belongs to networks that have nothing left.
pub(in crate::portmap) fn gc(nft: &mut Nft, is_stale: &dyn Fn(&str) -> bool) -> Result<Vec<Redirect>, Error> {
    let redirects = search(nft, is_stale)?;
    for set in nft.sets(&TABLE)? {
        if let Some(user) = Masquerade::named(&set.name) {
            nft.retire(&[set], &[user], &[])?;
        } else if let Some([hostip, hostports, chain]) = Conditions::named(&set.name) {
            // Both maps lead here; the second time they are gone.
            let user = layout::conditional(&chain);
            nft.retire(&[hostip, hostports], &[user], &[chain])?;
        }
    }
    Ok(redirects)
}
