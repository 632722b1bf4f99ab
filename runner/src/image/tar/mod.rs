//! Tar archives, read and written.
//!
//! Layers come from strangers, so the reader is our own loop over 512-byte blocks: whatever a header may announce
//! (long names, extended records, sparse maps) is read into memory only up to a limit, and extended records are parsed by
//! their lengths, as the values of extended attributes may hold any byte. The fields inside of a header are decoded by
//! the crate `tar`, which also writes them.

mod pax;
mod read;
mod sparse;
mod tree;
mod write;

pub(super) use read::Archive;
pub(super) use tree::empty;
pub use tree::{Flavour, write_entry, write_tree};
pub(super) use write::Writer;

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// The size of a block: headers are one, data is padded to whole ones.
const BLOCK: usize = 512;

/// The most that the extended header of one entry may have. The kernel takes 64 KiB an attribute.
const EXTENDED: u64 = 1 << 20;

/// What a header says about one entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) path: Vec<u8>,
    pub(super) kind: Kind,
    /// Permission bits with setuid, setgid and sticky.
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// Seconds since 1970, and nanoseconds.
    pub(super) mtime: (i64, i64),
    /// Extended attributes, in the order of the archive.
    pub(super) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// Bytes of the file, holes included.
    pub(super) size: u64,
    /// Where the stored bytes belong, as offsets and lengths; none: they are the whole file.
    pub(super) map: Option<Vec<(u64, u64)>>,
}

/// What kind of file an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Directory,
    Symlink(Vec<u8>),
    /// Another name for an earlier entry.
    Hardlink(Vec<u8>),
    /// Major and minor number.
    Char(u32, u32),
    Block(u32, u32),
    Fifo,
}

impl Entry {
    /// The path for people.
    pub(super) fn shown(&self) -> Shown<'_> {
        Shown(&self.path)
    }
}

/// A path in an archive as part of a message: quoted, control characters escaped, cut at a length that fits a line.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shown<'a>(pub(super) &'a [u8]);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const LONGEST: usize = 200;
        let head = self.0.get(..LONGEST).unwrap_or(self.0);
        write!(f, "{:?}", String::from_utf8_lossy(head))?;
        if head.len() < self.0.len() { f.write_str("...") } else { Ok(()) }
    }
}

/// A path from an archive's bytes.
pub(super) fn path_of(bytes: &[u8]) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(bytes))
}

#[cfg(test)]
mod tests;
