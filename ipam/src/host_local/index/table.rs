//! A hash table over a run of pages.
//!
//! A key's hash names a page; its entries lie there, in any slot. When that page is full, the entry goes to the
//! next page with room, and each full page on the way is marked, so that a search knows when to go on. The mark
//! stays when entries are removed. With at most 60 of 100 slots in use (the index grows before there are more), a
//! full page is next to impossible, and so a search touches one page.
//!
//! A slot is a 16-byte key, of which 0 means "free", and a value. One key may have several entries.

use super::IndexError;
use super::page::{HEAD, PAGE, Page, Pages, mix};

const KEY: usize = 16;

/// Where a table lies in the file, and how wide its slots are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Table {
    pub(super) first: u32,
    pub(super) pages: u32,
    pub(super) value: usize,
}

impl Table {
    /// Whether one more entry keeps searches short.
    pub(super) fn has_room(&self, entries: u64) -> bool {
        let slots = u64::from(self.pages) * ((PAGE - HEAD) / (KEY + self.value)) as u64;
        (entries + 1) * 10 <= slots * 6
    }

    /// Shows the entries of a key to `visit` until it returns true; says whether it did.
    pub(super) fn find(
        &self,
        pages: &mut Pages,
        key: u128,
        visit: &mut dyn FnMut(&mut Slot<'_>) -> bool,
    ) -> Result<bool, IndexError> {
        for number in self.chain(key) {
            let page = pages.get(number)?;
            if visit_page(page, self.value, key, visit) {
                return Ok(true);
            }
            if !page.overflowed() {
                break;
            }
        }
        Ok(false)
    }

    /// Adds an entry, whether or not the key has others.
    pub(super) fn insert(&self, pages: &mut Pages, key: u128, value: &[u8]) -> Result<(), IndexError> {
        for number in self.chain(key) {
            let page = pages.get(number)?;
            let mut put = |slot: &mut Slot<'_>| {
                slot.write(key, value);
                true
            };
            if visit_page(page, self.value, 0, &mut put) {
                return Ok(());
            }
            page.mark_overflowed();
        }
        Err(IndexError::Full)
    }

    /// Shows every entry.
    pub(super) fn for_each(
        &self,
        pages: &mut Pages,
        mut visit: impl FnMut(u128, &[u8]) -> Result<(), IndexError>,
    ) -> Result<(), IndexError> {
        for number in self.first..self.first + self.pages {
            let body = pages.get(number)?.body();
            for slot in body.chunks_exact(KEY + self.value) {
                if let Some((key, value)) = slot.split_first_chunk::<KEY>().filter(|(key, _)| **key != [0; KEY]) {
                    visit(u128::from_le_bytes(*key), value)?;
                }
            }
        }
        Ok(())
    }

    /// The pages that an entry of this key may lie in, in order.
    fn chain(&self, key: u128) -> impl Iterator<Item = u32> + use<> {
        let Self { first, pages, .. } = *self;
        let half = |key: u128| u64::try_from(key & u128::from(u64::MAX)).unwrap_or(0);
        let home = mix(half(key) ^ mix(half(key >> 64))) % u64::from(pages.max(1));
        let home = u32::try_from(home).unwrap_or(0);
        (home..pages).chain(0..home).map(move |page| first + page)
    }
}

/// A slot under the eyes of a visitor.
pub(super) struct Slot<'a> {
    bytes: &'a [u8],
    change: Option<Vec<u8>>,
}

impl Slot<'_> {
    pub(super) fn value(&self) -> &[u8] {
        self.bytes.get(KEY..).unwrap_or_default()
    }

    pub(super) fn write(&mut self, key: u128, value: &[u8]) {
        self.change = Some([&key.to_le_bytes(), value].concat());
    }

    pub(super) fn free(&mut self) {
        self.change = Some(vec![0; self.bytes.len()]);
    }
}

fn visit_page(page: &mut Page, value: usize, key: u128, visit: &mut dyn FnMut(&mut Slot<'_>) -> bool) -> bool {
    let wanted = key.to_le_bytes();
    let width = KEY + value;
    let mut at = 0;
    while let Some(bytes) = page.body().get(at..at + width) {
        if bytes.starts_with(&wanted) {
            let mut slot = Slot { bytes, change: None };
            let done = visit(&mut slot);
            if let Some(change) = slot.change
                && let Some(place) = page.body_mut().get_mut(at..at + width)
            {
                place.copy_from_slice(&change);
            }
            if done {
                return true;
            }
        }
        at += width;
    }
    false
}
