//! How much an image may ask of the machine.
//!
//! An archive of a few megabytes can unfold into terabytes, into millions of entries, or into paths that no tool can
//! remove again. Each layer is therefore counted while it is read; what goes beyond a limit ends the import, and what
//! was unpacked so far is removed.

use std::io::{self, Read};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{Error, Result};

/// The limits for one layer, archive or tree. A zero means: no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes after decompression, holes of sparse files included.
    pub size: u64,
    /// Files, directories, links, whiteouts: whatever has a header.
    pub entries: u64,
    /// Components of a path.
    pub depth: u64,
    /// Bytes after decompression for each byte before; looked at once [`RATIO_FLOOR`] bytes have come out.
    pub ratio: u64,
}

impl Default for Limits {
    /// What the largest published images stay below by far.
    fn default() -> Self {
        Self { size: 64 << 30, entries: 2_000_000, depth: 256, ratio: 200 }
    }
}

/// Below this the ratio says nothing: text and zeros are packed 1000 to 1 in small files of good faith.
pub const RATIO_FLOOR: u64 = 256 << 20;

/// The most that a manifest, an index or a configuration may have. They are read into memory.
pub const JSON: u64 = 4 << 20;

/// The longest path in a layer: the kernel's own limit.
pub(super) const PATH: usize = 4096;

impl Limits {
    /// Refuses more than so many entries.
    pub(super) fn check_entries(&self, count: u64) -> Result<()> {
        match exceeds(count, self.entries) {
            true => Err(Error::new(format!("more than {} entries (--max-entries raises the limit)", self.entries))),
            false => Ok(()),
        }
    }

    /// Refuses more than so many bytes.
    pub(super) fn check_size(&self, count: u64) -> Result<()> {
        match exceeds(count, self.size) {
            true => Err(Error::new(format!("more than {} bytes (--max-size raises the limit)", self.size))),
            false => Ok(()),
        }
    }

    /// Refuses paths deeper than so many components.
    pub(super) fn check_depth(&self, count: usize) -> Result<()> {
        match exceeds(count as u64, self.depth) {
            true => {
                Err(Error::new(format!("a path of more than {} components (--max-depth raises the limit)", self.depth)))
            }
            false => Ok(()),
        }
    }
}

const fn exceeds(count: u64, limit: u64) -> bool {
    limit != 0 && count > limit
}

/// Counts what goes into a decompressor.
#[derive(Debug)]
pub(super) struct Counted<'a, R> {
    inner: R,
    count: &'a AtomicU64,
}

impl<'a, R: Read> Counted<'a, R> {
    pub(super) const fn new(inner: R, count: &'a AtomicU64) -> Self {
        Self { inner, count }
    }
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.count.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

/// Passes on what comes out of a decompressor, as long as it is in proportion to what went in.
#[derive(Debug)]
pub(super) struct Guarded<'a, R> {
    inner: R,
    packed: &'a AtomicU64,
    unpacked: u64,
    limits: Limits,
}

impl<'a, R: Read> Guarded<'a, R> {
    pub(super) const fn new(inner: R, packed: &'a AtomicU64, limits: Limits) -> Self {
        Self { inner, packed, unpacked: 0, limits }
    }
}

impl<R: Read> Read for Guarded<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.unpacked += count as u64;
        self.limits.check_size(self.unpacked).map_err(io::Error::other)?;
        let packed = self.packed.load(Ordering::Relaxed);
        if self.unpacked > RATIO_FLOOR && exceeds(self.unpacked / packed.max(1), self.limits.ratio) {
            let limit = self.limits.ratio;
            return Err(io::Error::other(format!(
                "each compressed byte unfolds into more than {limit} (--max-ratio raises the limit)"
            )));
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Requirement: P-18.
    #[test]
    fn what_unfolds_beyond_proportion_is_cut_off() {
        let packed = AtomicU64::new(1 << 20);
        let pass = |limits: Limits| {
            let zeros = io::repeat(0).take(RATIO_FLOOR + (8 << 20));
            io::copy(&mut Guarded::new(zeros, &packed, limits), &mut io::sink())
        };
        let refused = pass(Limits::default()).unwrap_err().to_string();
        assert!(refused.contains("--max-ratio"), "{refused}");
        assert!(pass(Limits { ratio: 0, ..Limits::default() }).is_ok());
        assert!(pass(Limits { ratio: 300, ..Limits::default() }).is_ok());
    }

    #[test]
    fn zero_means_no_limit() {
        let none = Limits { size: 0, entries: 0, depth: 0, ratio: 0 };
        assert!(
            none.check_entries(u64::MAX).is_ok() && none.check_size(u64::MAX).is_ok() && none.check_depth(9999).is_ok()
        );
        let small = Limits { size: 1, entries: 1, depth: 1, ratio: 1 };
        assert!(small.check_entries(1).is_ok() && small.check_entries(2).is_err());
        assert!(small.check_size(2).is_err() && small.check_depth(2).is_err());
    }
}
