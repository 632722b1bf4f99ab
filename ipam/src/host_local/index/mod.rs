//! The index of a network's directory: who holds which address, and which addresses are in use, at a cost that
//! does not grow with their number.
//!
//! It is a cache and never the truth. It lies beside the directory, in `<dataDir>/.index/<network>`, where no
//! network's directory can lie, because no name begins with a dot; the Go suite never looks there. Whatever is wrong
//! with it (absent, cut short, damaged, of another directory, of before the last boot, older than the last change)
//! costs one reading of the whole directory, which is what every call of the Go suite costs.
//!
//! The file is a header page and two hash tables:
//!
//! ```text
//! owners   digest of a lease file's text -> address        who holds what: the duplicate check, DEL and CHECK
//! blocks   address >> 9                  -> 512-bit map    what is in use: the search for a free address
//! ```
//!
//! The header holds the directory's [`Stamp`] of the moment when both agreed. There is no "dirty" flag: an
//! operation changes first the directory, which makes the header's stamp wrong, then the tables, then the stamp
//! on the directory, and the header last. A process that dies anywhere in between leaves an index that does not fit
//! its directory. The header also holds the id of the boot, because after a power failure some pages may have
//! reached the disk and others not.
//!
//! What the tables can not tell is said so: an owner of many leases, and a file whose name is not the canonical
//! spelling of an address, are "unlisted", and a question about them is answered by reading the directory. A
//! directory with sub-directories has everything unlisted, since a change in those leaves no trace above.

mod header;
mod page;
mod table;
#[cfg(test)]
mod tests;

use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use thiserror::Error;

use super::addr::Addr;
use super::pool::{Block, Occupancy};
use super::store::{Stamp, random};
use header::Header;
pub(crate) use header::boot_id;
use page::Pages;
use table::Table;

/// An owner's value: the kind of the entry, then the address.
const OWNER: usize = 1 + 16;
const LEASE: u8 = 1;
const UNLISTED: u8 = 2;
/// An owner of more leases than this is unlisted, so that the entries of one owner do not fill pages.
const MANY: usize = 16;

/// Why the index does not serve.
#[derive(Debug, Error)]
pub(crate) enum IndexError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("the index is damaged")]
    Damaged,
    #[error("the index does not fit the directory")]
    Stale,
    #[error("the index is full")]
    Full,
}

/// What the index knows about an owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Owned {
    /// These addresses and no others.
    Leases(Vec<Addr>),
    /// Read the directory.
    Unlisted,
}

/// The index of one directory.
pub(crate) struct Index {
    header: Header,
    /// `None`: not from a file, and to be written as a whole.
    file: Option<File>,
    pages: Pages,
}

impl fmt::Debug for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Index").field("header", &self.header).finish_non_exhaustive()
    }
}

impl Index {
    /// Opens the index, if it fits a directory with this stamp.
    pub(crate) fn load(path: &Path, stamp: &Stamp, boot: &str) -> Result<Self, IndexError> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        let header = Header::read(&file)?;
        if header.stamp != *stamp || header.boot != boot {
            return Err(IndexError::Stale);
        }
        if file.metadata()?.len() != header.file_len() {
            return Err(IndexError::Damaged);
        }
        let pages = Pages::new(Some(file.try_clone()?), header.nonce);
        Ok(Self { header, file: Some(file), pages })
    }

    /// An index of an empty directory, with one page for each table.
    pub(crate) fn empty() -> Self {
        let nonce = random();
        let header = Header { nonce, owner_pages: 1, block_pages: 1, ..Header::default() };
        Self { header, file: None, pages: Pages::new(None, nonce) }
    }

    /// Whether it was opened, and not built anew.
    pub(crate) fn is_loaded(&self) -> bool {
        self.file.is_some()
    }

    /// The stamp of the directory when the index was opened.
    pub(crate) fn stamp(&self) -> &Stamp {
        &self.header.stamp
    }

    /// How many pages were read since it was opened, the header not counted.
    #[cfg(test)]
    pub(crate) fn page_reads(&self) -> u64 {
        self.pages.reads()
    }

    /// Says that everything is unlisted.
    pub(crate) fn distrust_owners(&mut self) {
        self.header.unlisted = true;
    }

    /// The leases whose text has this digest.
    pub(crate) fn owned(&mut self, digest: u128) -> Result<Owned, IndexError> {
        if self.header.unlisted {
            return Ok(Owned::Unlisted);
        }
        let mut leases = Vec::new();
        let unlisted = self.owners().find(&mut self.pages, owner_key(digest), &mut |slot| {
            let listed = lease_of(slot.value());
            leases.extend(listed);
            listed.is_none()
        })?;
        Ok(if unlisted { Owned::Unlisted } else { Owned::Leases(leases) })
    }

    /// Records a lease. Saying it twice is as good as once.
    pub(crate) fn add(&mut self, digest: u128, addr: Addr) -> Result<(), IndexError> {
        self.occupy(addr)?;
        match self.owned(digest)? {
            Owned::Leases(leases) if leases.contains(&addr) => Ok(()),
            Owned::Leases(leases) if leases.len() < MANY => self.add_owner(digest, LEASE, addr),
            Owned::Leases(_) => self.add_unlisted(digest),
            Owned::Unlisted => Ok(()),
        }
    }

    /// Records that a file with this text is not a plain lease.
    pub(crate) fn add_unlisted(&mut self, digest: u128) -> Result<(), IndexError> {
        match self.owned(digest)? {
            Owned::Unlisted => Ok(()),
            Owned::Leases(_) => self.add_owner(digest, UNLISTED, Addr::from_bits(0)),
        }
    }

    /// Forgets a lease, if it is known.
    pub(crate) fn remove(&mut self, digest: u128, addr: Addr) -> Result<(), IndexError> {
        self.vacate(addr)?;
        let found = self.owners().find(&mut self.pages, owner_key(digest), &mut |slot| {
            let found = lease_of(slot.value()) == Some(addr);
            if found {
                slot.free();
            }
            found
        })?;
        self.header.owners -= u64::from(found);
        Ok(())
    }

    /// Records that an address is in use, whoever uses it.
    pub(crate) fn occupy(&mut self, addr: Addr) -> Result<(), IndexError> {
        let (number, bit) = addr.block();
        let known = self.blocks().find(&mut self.pages, block_key(number), &mut |slot| {
            let mut block = Block::from_bytes(slot.value());
            block.set(bit);
            slot.write(block_key(number), &block.to_bytes());
            true
        })?;
        if known {
            return Ok(());
        }
        self.make_room(self.blocks().has_room(self.header.blocks), 1, 2)?;
        let mut block = Block::default();
        block.set(bit);
        self.header.blocks += 1;
        self.blocks().insert(&mut self.pages, block_key(number), &block.to_bytes())
    }

    fn vacate(&mut self, addr: Addr) -> Result<(), IndexError> {
        let (number, bit) = addr.block();
        let mut freed = false;
        self.blocks().find(&mut self.pages, block_key(number), &mut |slot| {
            let mut block = Block::from_bytes(slot.value());
            block.clear(bit);
            freed = block.is_empty();
            if freed {
                slot.free()
            } else {
                slot.write(block_key(number), &block.to_bytes())
            }
            true
        })?;
        self.header.blocks -= u64::from(freed);
        Ok(())
    }

    fn add_owner(&mut self, digest: u128, kind: u8, addr: Addr) -> Result<(), IndexError> {
        self.make_room(self.owners().has_room(self.header.owners), 2, 1)?;
        let mut value = [kind; OWNER];
        if let Some(place) = value.last_chunk_mut() {
            *place = addr.bits().to_le_bytes();
        }
        self.header.owners += 1;
        self.owners().insert(&mut self.pages, owner_key(digest), &value)
    }

    /// Moves everything into larger tables, unless there is room.
    fn make_room(&mut self, room: bool, owners: u32, blocks: u32) -> Result<(), IndexError> {
        if room {
            return Ok(());
        }
        let times = |pages: u32, factor| pages.checked_mul(factor).ok_or(IndexError::Full);
        let mut larger = Self::empty();
        larger.header = Header {
            nonce: larger.header.nonce,
            owner_pages: times(self.header.owner_pages, owners)?,
            block_pages: times(self.header.block_pages, blocks)?,
            ..self.header.clone()
        };
        let (new_owners, new_blocks) = (larger.owners(), larger.blocks());
        self.owners().for_each(&mut self.pages, |key, value| new_owners.insert(&mut larger.pages, key, value))?;
        self.blocks().for_each(&mut self.pages, |key, value| new_blocks.insert(&mut larger.pages, key, value))?;
        *self = larger;
        Ok(())
    }

    /// Writes what has changed, if anything. `stamp` puts a stamp on the directory; that it comes after the tables
    /// and before the header is what makes a kill harmless.
    pub(crate) fn save(
        &mut self,
        path: &Path,
        boot: &str,
        stamp: impl FnOnce() -> Result<Stamp, IndexError>,
    ) -> Result<(), IndexError> {
        let Some(file) = &self.file else { return self.save_as(path, boot, stamp) };
        if self.pages.changed() {
            self.pages.write_back()?;
            self.header.stamp = stamp()?;
            self.header.write(file)?;
        }
        Ok(())
    }

    /// Writes a new file and gives it the name of the old one.
    fn save_as(
        &mut self,
        path: &Path,
        boot: &str,
        stamp: impl FnOnce() -> Result<Stamp, IndexError>,
    ) -> Result<(), IndexError> {
        let (Some(dir), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else {
            return Err(IndexError::Stale);
        };
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        let unfinished = dir.join(format!(".{name}"));
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
        let last = self.header.owner_pages + self.header.block_pages;
        self.pages.write_all(&file, last)?;
        self.header.stamp = stamp()?;
        boot.clone_into(&mut self.header.boot);
        self.header.write(&file)?;
        Ok(fs::rename(&unfinished, path)?)
    }

    fn owners(&self) -> Table {
        Table { first: 1, pages: self.header.owner_pages, value: OWNER }
    }

    fn blocks(&self) -> Table {
        Table { first: 1 + self.header.owner_pages, pages: self.header.block_pages, value: Block::BYTES }
    }
}

impl Occupancy for Index {
    type Error = IndexError;

    fn block(&mut self, number: u128) -> Result<Block, IndexError> {
        let mut block = Block::default();
        self.blocks().find(&mut self.pages, block_key(number), &mut |slot| {
            block = Block::from_bytes(slot.value());
            true
        })?;
        Ok(block)
    }
}

/// The table's key for an owner; 0 means a free slot.
fn owner_key(digest: u128) -> u128 {
    digest.max(1)
}

fn block_key(number: u128) -> u128 {
    number + 1
}

/// The address in an owner's entry; `None` in the entry that says "unlisted".
fn lease_of(value: &[u8]) -> Option<Addr> {
    match value.split_first()? {
        (&LEASE, addr) => Some(Addr::from_bits(u128::from_le_bytes(addr.try_into().ok()?))),
        _ => None,
    }
}
