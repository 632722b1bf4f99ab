//! The first page of an index: what it belongs to, and where its tables lie.

use std::fs::{self, File};

use super::IndexError;
use super::page::{PAGE, Page};
use crate::host_local::store::Stamp;

/// Name and version of the format; another format gets another number, and is then rebuilt.
const MAGIC: u64 = u64::from_le_bytes(*b"xnetidx1");
const WORDS: usize = 13;
/// The length of a boot id's text.
const BOOT: usize = 36;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Header {
    /// Tells this file's pages from those of every other.
    pub(super) nonce: u64,
    pub(super) stamp: Stamp,
    pub(super) boot: String,
    pub(super) owner_pages: u32,
    pub(super) block_pages: u32,
    /// Slots in use.
    pub(super) owners: u64,
    pub(super) blocks: u64,
    /// Every owner has to be looked up in the directory.
    pub(super) unlisted: bool,
}

impl Header {
    pub(super) fn file_len(&self) -> u64 {
        (1 + u64::from(self.owner_pages) + u64::from(self.block_pages)) * PAGE as u64
    }

    pub(super) fn read(file: &File) -> Result<Self, IndexError> {
        let page = Page::read(file, 0, 0)?;
        Self::decode(page.body()).ok_or(IndexError::Damaged)
    }

    pub(super) fn write(&self, file: &File) -> Result<(), IndexError> {
        let mut page = Page::empty();
        self.encode(page.body_mut());
        Ok(page.write(file, 0, 0)?)
    }

    fn words(&self) -> [u64; WORDS] {
        let Stamp { dev, ino, mtime, ctime } = self.stamp;
        [
            MAGIC,
            self.nonce,
            dev,
            ino,
            mtime.0.cast_unsigned(),
            mtime.1.cast_unsigned(),
            ctime.0.cast_unsigned(),
            ctime.1.cast_unsigned(),
            u64::from(self.owner_pages),
            u64::from(self.block_pages),
            self.owners,
            self.blocks,
            u64::from(self.unlisted),
        ]
    }

    fn encode(&self, body: &mut [u8]) {
        let (words, rest) = body.split_at_mut(WORDS * 8);
        for (place, word) in words.as_chunks_mut::<8>().0.iter_mut().zip(self.words()) {
            *place = word.to_le_bytes();
        }
        for (place, byte) in rest.iter_mut().take(BOOT).zip(self.boot.bytes()) {
            *place = byte;
        }
    }

    fn decode(body: &[u8]) -> Option<Self> {
        let (words, rest) = body.split_at_checked(WORDS * 8)?;
        let words: Vec<u64> = words.as_chunks::<8>().0.iter().map(|word| u64::from_le_bytes(*word)).collect();
        let &[magic, nonce, dev, ino, ms, mn, cs, cn, owner_pages, block_pages, owners, blocks, unlisted] =
            words.as_slice()
        else {
            return None;
        };
        let header = Self {
            nonce,
            stamp: Stamp {
                dev,
                ino,
                mtime: (ms.cast_signed(), mn.cast_signed()),
                ctime: (cs.cast_signed(), cn.cast_signed()),
            },
            boot: str::from_utf8(rest.get(..BOOT)?).ok()?.to_owned(),
            owner_pages: u32::try_from(owner_pages).ok()?,
            block_pages: u32::try_from(block_pages).ok()?,
            owners,
            blocks,
            unlisted: unlisted != 0,
        };
        (magic == MAGIC && header.owner_pages > 0 && header.block_pages > 0).then_some(header)
    }
}

/// The id of this boot of the machine; `None` if it can not be known, and then no index can be trusted.
pub(crate) fn boot_id() -> Option<String> {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let id = text.trim_end();
    (id.len() == BOOT).then(|| id.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_wrote() {
        let header = Header {
            nonce: 7,
            stamp: Stamp { dev: 1, ino: 2, mtime: (-3, 4), ctime: (5, 6) },
            boot: "6ada50c8-93ba-469d-bae1-108ca4706509".into(),
            owner_pages: 8,
            block_pages: 9,
            owners: 10,
            blocks: 11,
            unlisted: true,
        };
        let file = tempfile::tempfile().unwrap();
        header.write(&file).unwrap();
        assert_eq!(Header::read(&file).unwrap(), header);
    }
}
