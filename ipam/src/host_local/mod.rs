//! host-local: addresses out of ranges on this machine, with leases in a directory.
//!
//! An ADD takes one address out of each range set and records it as a file; DEL removes the files of an attachment.
//! The directory is that of the Go suite, to the byte, and both suites may work on it in turn. From the outside in:
//!
//! * [`config`] turns the JSON into range sets and requested addresses, or refuses it;
//! * [`allocate`] is ADD: an address out of each set, or nothing at all;
//! * [`pool`] knows ranges and the order in which addresses are given out, and nothing of files;
//! * [`ledger`] answers who holds what and what is free, and makes and removes leases;
//! * [`store`] is the directory, the truth; [`index`] is a cache of it, which makes the answers cheap;
//! * [`lock`] keeps the processes apart. It is taken once a call, for all sets.
//!
//! Beyond the Go suite there are GC and STATUS, a wait for the lock that ends, and leases that are complete or
//! absent whenever the process dies.

mod addr;
mod allocate;
mod config;
mod index;
mod ledger;
mod lessee;
mod lock;
mod pool;
mod resolv_conf;
mod store;
#[cfg(test)]
mod tests;

use std::time::Duration;

use cni::plugin::{Attachment, Call, Plugin, ValidAttachments};
use cni::result::{AddResult, Dns};
use cni::{Code, ContainerId, Error, IfName};

use allocate::Allocation;
use config::{Config, Ranges};
use ledger::{Ledger, LedgerError};
use lessee::Lessee;
use lock::LockError;
use pool::RangeSet;
use store::StoreError;

const LOCK_TIMEOUT: &str = "XNET_LOCK_TIMEOUT";
const DEFAULT_LOCK_TIMEOUT: Duration = Duration::from_secs(30);

/// The plugin.
#[derive(Debug)]
pub(crate) struct HostLocal;

impl Plugin for HostLocal {
    const NAME: &'static str = "host-local";

    fn add(&self, call: &Call, attachment: &Attachment) -> Result<AddResult, Error> {
        let config = Config::load(call, &attachment.args, Ranges::Required)?;
        let dns = config.resolv_conf.as_deref().map_or_else(|| Ok(Dns::default()), resolv_conf::read)?;
        let lessee = lessee(attachment);
        let mut ledger = open(call, &config)?;
        let taken =
            Allocation::new(&mut ledger, &attachment.container_id, &lessee).run(&config.sets, &config.requested);
        ledger.commit();
        Ok(AddResult { ips: taken?, routes: config.routes, dns, ..AddResult::default() })
    }

    fn del(&self, call: &Call, attachment: &Attachment) -> Result<(), Error> {
        let config = Config::load(call, &attachment.args, Ranges::Required)?;
        let lessee = lessee(attachment);
        let mut ledger = open(call, &config)?;
        // Once a set, as in the Go suite: with several sets, the second round removes what has the old form.
        let released = config.sets.iter().try_for_each(|_| ledger.release(&lessee));
        ledger.commit();
        Ok(released?)
    }

    fn check(&self, call: &Call, attachment: &Attachment) -> Result<(), Error> {
        let config = Config::load(call, &attachment.args, Ranges::Required)?;
        let lessee = lessee(attachment);
        let mut ledger = open(call, &config)?;
        let exact = ledger.leases_of(lessee.exact())?;
        let found = !exact.is_empty() || !ledger.leases_of(lessee.legacy())?.is_empty();
        ledger.commit();
        match found {
            true => Ok(()),
            false => Err(Error::internal(format!(
                "host-local: Failed to find address added by container {}",
                attachment.container_id
            ))),
        }
    }

    fn gc(&self, call: &Call, valid: &ValidAttachments) -> Result<(), Error> {
        let config = Config::load(call, "", Ranges::Optional)?;
        if !config.data_dir.join(call.name.as_str()).is_dir() {
            return Ok(());
        }
        let mut ledger = open(call, &config)?;
        let failures = ledger.collect(&|text| is_stale(text, valid));
        ledger.commit();
        let failures: Vec<String> = failures?.iter().map(ToString::to_string).collect();
        if failures.is_empty() { Ok(()) } else { Err(Error::internal(failures.join("; "))) }
    }

    fn status(&self, call: &Call) -> Result<(), Error> {
        let unavailable = |error: Error| Error { code: Code::PLUGIN_NOT_AVAILABLE, ..error };
        let config = Config::load(call, "", Ranges::Optional)?;
        let network = config.data_dir.join(call.name.as_str());
        store::probe(&network).map_err(|error| unavailable(LedgerError::from(error).into()))?;
        // Without a directory there are no leases, and so room in every set that has any addresses at all.
        let full = match network.is_dir() {
            true => full_set(call, &config)?,
            false => config.sets.iter().find(|set| set.size() == 0),
        };
        full.map_or(Ok(()), |set| Err(unavailable(allocate::exhausted(set))))
    }
}

/// The first set without a free address.
fn full_set<'a>(call: &Call, config: &'a Config) -> Result<Option<&'a RangeSet>, Error> {
    let mut ledger = open(call, config)?;
    let full = config.sets.iter().find_map(|set| match ledger.has_free(set) {
        Ok(true) => None,
        Ok(false) => Some(Ok(set)),
        Err(error) => Some(Err(error)),
    });
    ledger.commit();
    Ok(full.transpose()?)
}

fn lessee(attachment: &Attachment) -> Lessee {
    Lessee::new(attachment.container_id.as_str(), attachment.ifname.as_str())
}

fn open(call: &Call, config: &Config) -> Result<Ledger, Error> {
    Ok(Ledger::open(&config.data_dir, call.name.as_str(), lock_timeout(call)?)?)
}

fn lock_timeout(call: &Call) -> Result<Duration, Error> {
    let Some(text) = call.env(LOCK_TIMEOUT) else { return Ok(DEFAULT_LOCK_TIMEOUT) };
    let seconds = text.to_str().and_then(|text| text.parse::<f64>().ok());
    seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()).ok_or_else(|| {
        let text = format!("{LOCK_TIMEOUT} is not a number of seconds: {}", text.display());
        Error::new(Code::INVALID_ENVIRONMENT, text)
    })
}

/// Whether a lease file belongs to no valid attachment. What does not look like a container id, with an interface or
/// without, was not written by a plugin, and is not ours to remove.
fn is_stale(text: &str, valid: &ValidAttachments) -> bool {
    let is_id = |text: &str| text.parse::<ContainerId>().is_ok();
    match text.split_once("\r\n") {
        Some((id, ifname)) => is_id(id) && ifname.parse::<IfName>().is_ok() && !valid.contains(id, ifname),
        None => is_id(text) && !valid.contains_id(text),
    }
}

impl From<LedgerError> for Error {
    fn from(error: LedgerError) -> Self {
        let text = error.to_string();
        match error {
            LedgerError::Store(StoreError::Lock(LockError::Held { .. })) => {
                Self::new(Code::TRY_AGAIN_LATER, text).with_details(format!(
                    "every ADD, DEL and CHECK of the network waits for this lock; {LOCK_TIMEOUT} says for how many seconds"
                ))
            }
            LedgerError::Store(StoreError::Lock(LockError::Io { source, .. })) => {
                Self::internal(format!("{text}: {}", store::reason(&source)))
            }
            _ => Self::internal(text),
        }
    }
}
