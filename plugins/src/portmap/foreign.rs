//! What the Go suite's nftables back end left: rules in `ip cni_hostport` and `ip6 cni_hostport`.
//!
//! Their comment is the container's id and nothing else. Which of its attachments a rule belongs to follows from the
//! container's address in it, as long as somebody knows which address was whose.

use std::io;
use std::net::IpAddr;

use cni::plugin::ValidAttachments;
use cni::{Error, NetName, Owner};
use kernel::nft::{self, Batch, Change, Family, Nft, RuleEntry, TableName, Value};

use super::target::Target;
use crate::error::attempt;
use crate::records::Records;

/// The tables, one a family, and their chains with rules of containers; the second is of old versions.
const TABLES: [TableName; 2] =
    [TableName::new(Family::Ip, "cni_hostport"), TableName::new(Family::Ip6, "cni_hostport")];
const CHAINS: [&str; 3] = ["hostports", "hostip_hostports", "masquerading"];

/// A rule, and the chain that it is in.
type Placed = (&'static str, RuleEntry);

/// Removes the rules of an attachment: those with its container's id and one of its addresses. When nobody knows its
/// addresses, all with the id, as the Go suite does it.
///
/// # Errors
///
/// When the kernel refuses, or the records can't be read.
pub(super) fn remove(nft: &mut Nft, target: &Target) -> Result<(), Error> {
    let Owner { net, id, ifname } = &target.owner;
    let mut known: Vec<IpAddr> = target.ips.iter().map(|ip| ip.ip()).collect();
    for table in &TABLES {
        let mut rules = rules(nft, table)?;
        rules.retain(|(_, rule)| rule.comment.as_deref() == Some(id.as_str()));
        if known.is_empty() && !rules.is_empty() {
            known = records(net)?.addresses_of(id.as_str(), ifname.as_str());
        }
        rules.retain(|(_, rule)| known.is_empty() || known.iter().any(|address| mentions(rule, *address)));
        delete(nft, table, &rules)?;
    }
    Ok(())
}

/// Removes rules with an id and an address that a record of the network gives to an attachment which is not valid, and
/// which nobody else has.
///
/// # Errors
///
/// When the kernel refuses, or the records can't be read.
pub(super) fn gc(nft: &mut Nft, name: &NetName, valid: &ValidAttachments) -> Result<(), Error> {
    for table in &TABLES {
        let mut rules = rules(nft, table)?;
        if rules.is_empty() {
            continue;
        }
        let records = records(name)?;
        let mut stale = Vec::new();
        for record in records.iter() {
            for address in &record.addresses {
                if records.is_stale_address(*address, valid).map_err(unreadable)? {
                    stale.push((record.id.as_str(), *address));
                }
            }
        }
        let is_stale = |rule: &RuleEntry| {
            stale.iter().any(|(id, address)| rule.comment.as_deref() == Some(*id) && mentions(rule, *address))
        };
        rules.retain(|(_, rule)| is_stale(rule));
        delete(nft, table, &rules)?;
    }
    Ok(())
}

/// How many rules lead from ports of the host to one of the container's addresses.
///
/// # Errors
///
/// When the kernel can't be asked.
pub(super) fn count(nft: &mut Nft, target: &Target) -> Result<usize, Error> {
    let leads = |(chain, rule): &&Placed| {
        *chain == CHAINS[0]
            && rule.comment.as_deref() == Some(target.owner.id.as_str())
            && target.ips.iter().any(|ip| mentions(rule, ip.ip()))
    };
    let mut found = 0;
    for table in &TABLES {
        found += rules(nft, table)?.iter().filter(leads).count();
    }
    Ok(found)
}

/// All rules of a table in which containers have some; a table that is not there costs one question.
fn rules(nft: &mut Nft, table: &TableName) -> Result<Vec<Placed>, Error> {
    let mut list = || -> Result<Vec<Placed>, nft::Error> {
        let mut found = Vec::new();
        if nft.table_exists(table)? {
            for chain in CHAINS {
                found.extend(nft.rules(&table.object(chain))?.into_iter().map(|rule| (chain, rule)));
            }
        }
        Ok(found)
    };
    list().map_err(|error| attempt(format_args!("could not list rules in table {}", table.name), error))
}

/// Whether the rule is about the address: to compare with, or to translate to.
fn mentions(rule: &RuleEntry, address: IpAddr) -> bool {
    let bytes = Value::from(address).bytes();
    rule.constants.contains(&bytes)
}

/// One by one, because any of them may be gone.
fn delete(nft: &mut Nft, table: &TableName, rules: &[Placed]) -> Result<(), Error> {
    for (chain, rule) in rules {
        let mut batch = Batch::new();
        batch.push(Change::DeleteRule(table.object(*chain), rule.handle));
        match nft.commit(&batch) {
            Err(error) if !error.is_not_found() => return Err(attempt("error deleting nftables rules", error)),
            _ => {}
        }
    }
    Ok(())
}

fn records(net: &NetName) -> Result<Records, Error> {
    Records::of(net).map_err(unreadable)
}

fn unreadable(error: io::Error) -> Error {
    attempt("look for records of the network", error)
}
