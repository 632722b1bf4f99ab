//! The pages of an index file: read when needed, checked when read, written back together.
//!
//! A page begins with a sum over the rest of it, over its number and over the nonce of the file, so that a damaged
//! page, a page of another file and a page of this file's earlier life are all found out. Pages are read one at a
//! time, and kept; what an operation costs is the number of pages that it touches.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::IndexError;

pub(super) const PAGE: usize = 4096;
/// Sum, then the marker that entries went on to the next page, then padding.
pub(super) const HEAD: usize = 16;
const SUM: usize = 8;

/// One page.
#[derive(Clone)]
pub(super) struct Page {
    bytes: Box<[u8; PAGE]>,
    changed: bool,
}

impl Page {
    pub(super) fn empty() -> Self {
        Self { bytes: Box::new([0; PAGE]), changed: true }
    }

    pub(super) fn body(&self) -> &[u8] {
        self.bytes.get(HEAD..).unwrap_or_default()
    }

    pub(super) fn body_mut(&mut self) -> &mut [u8] {
        self.changed = true;
        self.bytes.get_mut(HEAD..).unwrap_or_default()
    }

    /// Whether an entry that belongs here had to go to the next page, now or earlier.
    pub(super) fn overflowed(&self) -> bool {
        self.bytes.get(SUM).is_some_and(|byte| *byte != 0)
    }

    pub(super) fn mark_overflowed(&mut self) {
        self.changed = true;
        if let Some(byte) = self.bytes.get_mut(SUM) {
            *byte = 1;
        }
    }

    /// Reads a page and checks its sum.
    pub(super) fn read(file: &File, number: u32, nonce: u64) -> Result<Self, IndexError> {
        let mut page = Self { bytes: Box::new([0; PAGE]), changed: false };
        file.read_exact_at(&mut page.bytes[..], offset(number))?;
        let sum = page.sum(number, nonce);
        if page.bytes.first_chunk() == Some(&sum) { Ok(page) } else { Err(IndexError::Damaged) }
    }

    pub(super) fn write(&mut self, file: &File, number: u32, nonce: u64) -> io::Result<()> {
        let sum = self.sum(number, nonce);
        if let Some(place) = self.bytes.first_chunk_mut() {
            *place = sum;
        }
        self.changed = false;
        file.write_all_at(&self.bytes[..], offset(number))
    }

    /// Mixes the words one after the other, so that their order counts. It has to find accidents, not attackers:
    /// who can write here can write leases too.
    fn sum(&self, number: u32, nonce: u64) -> [u8; SUM] {
        let words = self.bytes.as_chunks::<8>().0;
        let start = nonce ^ mix(u64::from(number));
        let sum = words.iter().skip(1).fold(start, |sum, word| {
            (sum.rotate_left(23) ^ u64::from_le_bytes(*word)).wrapping_mul(0x9e37_79b9_7f4a_7c15)
        });
        mix(sum).to_le_bytes()
    }
}

/// Spreads the bits of a number over a word (the finalizer of SplitMix64).
pub(super) fn mix(number: u64) -> u64 {
    let number = (number ^ number >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ number >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ number >> 31
}

fn offset(number: u32) -> u64 {
    u64::from(number) * PAGE as u64
}

/// The pages that were read or made so far.
pub(super) struct Pages {
    /// `None`: the pages exist in memory only.
    file: Option<File>,
    nonce: u64,
    kept: BTreeMap<u32, Page>,
    #[cfg(test)]
    reads: u64,
}

impl Pages {
    pub(super) fn new(file: Option<File>, nonce: u64) -> Self {
        Self {
            file,
            nonce,
            kept: BTreeMap::new(),
            #[cfg(test)]
            reads: 0,
        }
    }

    /// How many pages were read from the file.
    #[cfg(test)]
    pub(super) fn reads(&self) -> u64 {
        self.reads
    }

    pub(super) fn get(&mut self, number: u32) -> Result<&mut Page, IndexError> {
        use std::collections::btree_map::Entry;
        match self.kept.entry(number) {
            Entry::Occupied(kept) => Ok(kept.into_mut()),
            Entry::Vacant(place) => {
                let page = match &self.file {
                    Some(file) => {
                        #[cfg(test)]
                        {
                            self.reads += 1;
                        }
                        Page::read(file, number, self.nonce)?
                    }
                    None => Page::empty(),
                };
                Ok(place.insert(page))
            }
        }
    }

    /// Whether any page differs from the file.
    pub(super) fn changed(&self) -> bool {
        self.kept.values().any(|page| page.changed)
    }

    /// Writes the changed pages into the file they came from.
    pub(super) fn write_back(&mut self) -> io::Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        for (number, page) in self.kept.iter_mut().filter(|(_, page)| page.changed) {
            page.write(file, *number, self.nonce)?;
        }
        Ok(())
    }

    /// Writes the pages `1..=last` into a new file, the untouched ones too.
    pub(super) fn write_all(&mut self, file: &File, last: u32) -> io::Result<()> {
        for number in 1..=last {
            let mut page = self.kept.remove(&number).unwrap_or_else(Page::empty);
            page.write(file, number, self.nonce)?;
        }
        Ok(())
    }
}
