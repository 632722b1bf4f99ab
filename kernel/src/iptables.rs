//! iptables rules, where a node still keeps them: one process per family and operation.
//!
//! # Theory of operation
//!
//! There are two iptables. The newer keeps its chains in nf_tables, in tables named as the old ones (`ip nat`), so
//! [`find`] asks for them by name over netlink and starts nothing. The older (`legacy`) has tables of its own in the
//! kernel, whose names stand in `/proc/net/ip_tables_names` once they are in use. Merely listing a legacy table would
//! create it, so it is only listed when its name stands there. A node without iptables rules pays two system calls.
//!
//! Changes are a [`Restore`]: lines for `iptables-restore --noflush`, which makes all of them or none per table. What
//! the rules say is only looked at in the text of `iptables-save`, never in the kernel's form: both programs and both
//! variants speak that text.
//!
//! Legacy iptables has one lock for the host. It is waited for, but not for ever: [`LOCK_WAIT`]. Whoever changes what
//! several attachments share holds a [`Lock`] of our own while looking and changing.
//!
//! What a chain does with packets on the whole ([`outline`]) is read natively from nf_tables, because one plugin asks that
//! on every node, with iptables or without.

mod lock;
mod outline;
mod program;
mod text;

#[cfg(test)]
mod tests;

use std::fmt;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitStatus;

use crate::nft::{self, Nft, TableName};

pub use lock::Lock;
pub use outline::{Effect, Outline, RuleOutline, outline};
pub use text::{Restore, Rule, Saved};

/// How long a change waits for the lock of legacy iptables, in seconds. Long enough for a node that restores ten
/// thousand rules, short enough to fail before the caller's own patience ends (kubelet: four minutes).
pub const LOCK_WAIT: u32 = 60;

/// The address family of a ruleset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// IPv4: `iptables`.
    V4,
    /// IPv6: `ip6tables`.
    V6,
}

/// Which iptables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variant {
    /// What the node calls `iptables`.
    Default,
    /// The one that keeps its rules in nf_tables.
    Nft,
    /// The one that has its own tables in the kernel.
    Legacy,
}

/// What [`find`] looks for.
#[derive(Clone, Copy, Debug)]
pub enum Wanted<'a> {
    /// A chain of this name.
    Chain(&'a str),
    /// A chain of one of these names.
    Any(&'a [&'a str]),
    /// Any chain whose name begins so.
    Prefix(&'a str),
}

/// Why iptables could not be asked or changed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The program is not there.
    #[error("{0} is not installed: install the package iptables, or use the nftables back end")]
    Missing(String),
    /// The program could not be run.
    #[error("run {0}: {1}")]
    Run(PathBuf, io::Error),
    /// The program refused its input.
    #[error("{}: {reason} ({status}); its input was: {input}", program.display())]
    Refused {
        /// The program.
        program: PathBuf,
        /// What it wrote to standard error.
        reason: String,
        /// How it ended.
        status: ExitStatus,
        /// What it was given, lines separated by semicolons.
        input: String,
    },
    /// A word that can't be part of a rule.
    #[error("{0:?} can't be part of an iptables rule: it has a line break in it")]
    Word(String),
    /// Another process keeps the lock.
    #[error("wait for the lock {0}: {1}; another process has kept it for {LOCK_WAIT} seconds")]
    Locked(PathBuf, io::Error),
    /// The legacy tables could not be listed.
    #[error("read {0}: {1}")]
    Tables(PathBuf, io::Error),
    /// nf_tables could not be asked.
    #[error(transparent)]
    Nft(#[from] nft::Error),
}

impl Family {
    /// The family of an address.
    #[must_use]
    pub const fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }

    const fn command(self) -> &'static str {
        match self {
            Self::V4 => "iptables",
            Self::V6 => "ip6tables",
        }
    }

    const fn nft(self) -> nft::Family {
        match self {
            Self::V4 => nft::Family::Ip,
            Self::V6 => nft::Family::Ip6,
        }
    }

    /// The names of the legacy tables in the network namespace of the calling thread.
    const fn legacy_tables(self) -> &'static str {
        match self {
            Self::V4 => "/proc/thread-self/net/ip_tables_names",
            Self::V6 => "/proc/thread-self/net/ip6_tables_names",
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.command())
    }
}

/// The listings of `table` in those variants of iptables that have a wanted chain. Starts no process where neither has
/// one, except to look into a legacy table that is in use. Without `nft` the kernel has no nf_tables.
///
/// # Errors
///
/// When the kernel or a program can't be asked.
pub fn find(
    nft: Option<&mut Nft>,
    family: Family,
    table: &'static str,
    wanted: Wanted<'_>,
) -> Result<Vec<Saved>, Error> {
    let mut found = Vec::new();
    if let Some(nft) = nft
        && has_chain(nft, &TableName::new(family.nft(), table), wanted)?
    {
        found.push(save(family, table, Variant::Nft)?);
    }
    found.extend(legacy(family, table)?);
    found.retain(|saved| saved.chains.iter().any(|chain| wanted.is(chain)));
    Ok(found)
}

/// The listing of `table` in legacy iptables; none where it is not in use.
///
/// # Errors
///
/// When the kernel or the program can't be asked.
pub fn legacy(family: Family, table: &'static str) -> Result<Option<Saved>, Error> {
    if is_legacy_in_use(family, table)? { save(family, table, Variant::Legacy).map(Some) } else { Ok(None) }
}

/// Lists `table` with its chains and rules.
///
/// # Errors
///
/// When the program is missing or fails.
pub fn save(family: Family, table: &'static str, variant: Variant) -> Result<Saved, Error> {
    let text = program::run(family, variant, "save", &["-t", table], "")?;
    Ok(Saved::parse(&text, family, table, variant))
}

/// Makes all changes of `restore` or none.
///
/// # Errors
///
/// When the program is missing or refuses a line.
pub fn restore(restore: &Restore, variant: Variant) -> Result<(), Error> {
    if restore.is_empty() {
        return Ok(());
    }
    if let Some(word) = restore.broken_word() {
        return Err(Error::Word(word.to_owned()));
    }
    let wait = format!("--wait={LOCK_WAIT}");
    program::run(restore.family, variant, "restore", &["--noflush", &wait], &restore.to_string())?;
    Ok(())
}

/// Whether the rules of `family` could be changed: the programs are there.
///
/// # Errors
///
/// [`Error::Missing`].
pub fn ready(family: Family) -> Result<(), Error> {
    ["save", "restore"].into_iter().try_for_each(|what| program::path(family, Variant::Default, what).map(drop))
}

fn has_chain(nft: &mut Nft, table: &TableName, wanted: Wanted<'_>) -> Result<bool, Error> {
    let mut exists = |name: &str| nft.chain_exists(&table.object(name.to_owned()));
    let found = match wanted {
        Wanted::Chain(name) => exists(name),
        Wanted::Any(names) => names.iter().try_fold(false, |found, name| Ok(found || exists(name)?)),
        Wanted::Prefix(_) => nft.chains(table).map(|chains| chains.iter().any(|chain| wanted.is(&chain.name))),
    };
    match found {
        Err(nft::Error::NoSupport) => Ok(false),
        found => Ok(found?),
    }
}

/// Whether legacy iptables has made `table`. It is there from the first time that somebody looks at it.
///
/// # Errors
///
/// When the kernel can't be asked.
pub fn is_legacy_in_use(family: Family, table: &str) -> Result<bool, Error> {
    match fs::read_to_string(family.legacy_tables()) {
        Ok(names) => Ok(names.lines().any(|name| name == table)),
        // The kernel has no legacy iptables, or has not loaded it.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Error::Tables(family.legacy_tables().into(), error)),
    }
}

impl Wanted<'_> {
    fn is(self, chain: &str) -> bool {
        match self {
            Self::Chain(name) => chain == name,
            Self::Any(names) => names.contains(&chain),
            Self::Prefix(prefix) => chain.starts_with(prefix),
        }
    }
}
