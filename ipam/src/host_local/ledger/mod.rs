//! The leases of a network: the directory as the truth, with the index before it.
//!
//! The rules that keep the index honest are all here. An answer of the index that leads to a change is checked
//! against the directory: an owner's lease by reading that one file, a free address by creating its file, which
//! fails if there is one. When the two disagree, the directory is read anew. A change goes to the directory first
//! and to the index after it.

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::time::Duration;

use thiserror::Error;

use super::addr::Addr;
use super::index::{self, Index, IndexError, Owned};
use super::lessee::{Key, Lessee};
use super::pool::{Range, RangeSet};
use super::store::{Content, Creation, Entry, Stamp, Store, StoreError};

/// Why the leases could not be read or changed.
#[derive(Debug, Error)]
pub(crate) enum LedgerError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the lease index failed: {0}")]
    Index(#[from] IndexError),
}

/// A file whose text is that of a lessee.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lease {
    /// The path below the network's directory.
    pub(crate) path: PathBuf,
    /// The address, if the file's name spells one.
    pub(crate) addr: Option<Addr>,
}

/// The leases of one network, locked.
#[derive(Debug)]
pub(crate) struct Ledger {
    store: Store,
    index: Option<Index>,
    index_path: PathBuf,
    /// The id of this boot, if an index can be trusted here.
    boot: Option<String>,
}

impl Ledger {
    /// Locks the directory of a network, and creates it if need be.
    pub(crate) fn open(data_dir: &Path, network: &str, wait: Duration) -> Result<Self, LedgerError> {
        let store = Store::open(&data_dir.join(network), wait)?;
        let boot = index::boot_id().filter(|_| store.is_local());
        Ok(Self { store, index: None, index_path: data_dir.join(".index").join(network), boot })
    }

    /// The files of a lessee, in the order of their paths.
    pub(crate) fn leases_of(&mut self, key: &Key) -> Result<Vec<Lease>, LedgerError> {
        for _ in 0..2 {
            let Owned::Leases(listed) = self.ask(|index| index.owned(key.digest()))? else {
                return self.search(key);
            };
            if let Some(leases) = self.confirm(key, &listed) {
                return Ok(leases);
            }
            self.rebuild()?;
        }
        self.search(key)
    }

    /// Reserves the next free address of a set; `None` when there is none.
    pub(crate) fn reserve_next(
        &mut self,
        number: usize,
        set: &RangeSet,
        lessee: &Lessee,
    ) -> Result<Option<(Addr, Range)>, LedgerError> {
        let last = self.store.last_reserved(number);
        loop {
            let free = self.ask(|index| Ok(set.next_free(last, index)?.map(|(addr, range)| (addr, *range))))?;
            let Some((addr, range)) = free else { return Ok(None) };
            if self.reserve(number, addr, lessee)? {
                return Ok(Some((addr, range)));
            }
            // The index did not know of that lease. If it has just been built, somebody is at work without the
            // lock; the address is his, and the search goes on behind it.
            if self.index.as_ref().is_some_and(Index::is_loaded) {
                self.rebuild()?;
            }
            self.ask(|index| index.occupy(addr))?;
        }
    }

    /// Reserves one address; says whether it was free.
    pub(crate) fn reserve(&mut self, number: usize, addr: Addr, lessee: &Lessee) -> Result<bool, LedgerError> {
        let key = lessee.exact();
        if self.store.create(addr, key.text())? == Creation::Taken {
            return Ok(false);
        }
        let recorded = self.store.set_last_reserved(number, addr);
        self.ask(|index| index.add(key.digest(), addr))?;
        if let Err(error) = recorded {
            self.release_address(addr, lessee)?;
            return Err(error.into());
        }
        Ok(true)
    }

    /// Gives back an address that this lessee has reserved.
    pub(crate) fn release_address(&mut self, addr: Addr, lessee: &Lessee) -> Result<(), LedgerError> {
        let key = lessee.exact();
        self.store.remove(Path::new(&addr.to_string()))?;
        self.ask(|index| index.remove(key.digest(), addr))
    }

    /// Removes the files of a lessee: those with container and interface, or else those with the container alone.
    pub(crate) fn release(&mut self, lessee: &Lessee) -> Result<(), LedgerError> {
        for key in [lessee.exact(), lessee.legacy()] {
            let leases = self.leases_of(key)?;
            for lease in &leases {
                self.remove(key, lease)?;
            }
            if !leases.is_empty() {
                break;
            }
        }
        Ok(())
    }

    /// Who holds an address, as the beginning of its file says.
    pub(crate) fn holder(&self, addr: Addr) -> Option<String> {
        match self.store.lease(addr)? {
            Content::Text(text) => Some(text.replace("\r\n", ", interface ").chars().take(200).collect()),
            _ => None,
        }
    }

    /// Whether the set has a free address.
    pub(crate) fn has_free(&mut self, set: &RangeSet) -> Result<bool, LedgerError> {
        self.ask(|index| Ok(set.next_free(None, index)?.is_some()))
    }

    /// Removes the leases whose text `is_stale` disowns, and those without text; goes on after failures, and
    /// returns them.
    pub(crate) fn collect(&mut self, is_stale: &dyn Fn(&str) -> bool) -> Result<Vec<StoreError>, LedgerError> {
        let mut stale = Vec::new();
        self.store.scan(&mut |entry| {
            let doomed = match &entry.content {
                Content::Blank => true,
                Content::Text(text) => is_stale(text),
                Content::Opaque => false,
            };
            if doomed && entry.is_top() && entry.names().is_some() {
                stale.push(entry.path.clone());
            }
        })?;
        let failures = stale.iter().filter_map(|path| self.store.remove(path).err()).collect();
        self.rebuild()?;
        Ok(failures)
    }

    /// Writes the index. It is only a cache: what goes wrong costs the next call some time, and is no error.
    pub(crate) fn commit(mut self) {
        if self.save().is_err() {
            drop(std::fs::remove_file(&self.index_path));
        }
    }

    fn save(&mut self) -> Result<(), IndexError> {
        let (Some(index), Some(boot)) = (&mut self.index, &self.boot) else { return Ok(()) };
        let (loaded, known) = (index.is_loaded(), *index.stamp());
        let store = &self.store;
        index.save(&self.index_path, boot, || {
            // A file system that did not notice our change would not notice another's either.
            if loaded && store.stamp()? == known {
                return Err(IndexError::Stale);
            }
            store.restamp()?.ok_or(IndexError::Stale)
        })
    }

    /// Asks the index. One that can not answer is replaced, and asked again.
    fn ask<T>(&mut self, mut question: impl FnMut(&mut Index) -> Result<T, IndexError>) -> Result<T, LedgerError> {
        if self.index.is_none() {
            self.index = self.load();
        }
        if let Some(index) = &mut self.index
            && let Ok(answer) = question(index)
        {
            return Ok(answer);
        }
        Ok(question(self.rebuild()?)?)
    }

    fn load(&self) -> Option<Index> {
        let stamp: Stamp = self.store.stamp().ok()?;
        Index::load(&self.index_path, &stamp, self.boot.as_deref()?).ok()
    }

    /// Reads the whole directory into a new index.
    fn rebuild(&mut self) -> Result<&mut Index, LedgerError> {
        let mut index = Index::empty();
        let mut outcome = Ok(());
        self.store.scan(&mut |entry| {
            if outcome.is_ok() {
                outcome = record(&mut index, entry);
            }
        })?;
        outcome?;
        Ok(self.index.insert(index))
    }

    /// The listed leases, if the directory says the same of each.
    fn confirm(&self, key: &Key, listed: &[Addr]) -> Option<Vec<Lease>> {
        let mut leases = Vec::with_capacity(listed.len());
        for addr in listed {
            match self.store.lease(*addr) {
                Some(Content::Text(text)) if text == key.text() => {
                    leases.push(Lease { path: addr.to_string().into(), addr: Some(*addr) });
                }
                _ => return None,
            }
        }
        leases.sort_by(|a, b| a.path.cmp(&b.path));
        Some(leases)
    }

    /// Finds the files of a lessee by reading all.
    fn search(&self, key: &Key) -> Result<Vec<Lease>, LedgerError> {
        let mut leases = Vec::new();
        self.store.scan(&mut |entry| {
            if matches!(&entry.content, Content::Text(text) if text == key.text()) {
                leases.push(Lease { path: entry.path.clone(), addr: entry.names() });
            }
        })?;
        Ok(leases)
    }

    fn remove(&mut self, key: &Key, lease: &Lease) -> Result<(), LedgerError> {
        self.store.remove(&lease.path)?;
        match lease.path.to_str().and_then(Addr::from_lease_name) {
            Some(addr) => self.ask(|index| index.remove(key.digest(), addr)),
            None => {
                // The index says no more of such a file than that there is one.
                self.index = None;
                Ok(())
            }
        }
    }
}

/// Enters a file of the directory into an index.
fn record(index: &mut Index, entry: &Entry) -> Result<(), IndexError> {
    if entry.is_dir {
        index.distrust_owners();
    }
    match (entry.occupies(), &entry.content) {
        (Some(addr), Content::Text(text)) => index.add(Key::new(text).digest(), addr),
        (Some(addr), _) => index.occupy(addr),
        (None, Content::Text(text)) => index.add_unlisted(Key::new(text).digest()),
        (None, _) => Ok(()),
    }
}
