//! Telling whether anybody else has changed the directory, exactly.
//!
//! Creating, linking, renaming or removing a file sets the directory's mtime. That alone is not exact: the
//! kernel's file clock ticks a few hundred times a second, and two changes in one tick look the same. So after
//! each change of ours the mtime is set by hand, to a time at least a second in the past with a random fraction.
//! A later change by anybody sets it to the clock's time, which is another one even in the same tick; and should
//! the clock have been set back, the fraction has one chance in a thousand million to be hit. Whoever sets the
//! mtime back on purpose still changes the ctime, which can not be set; both are compared.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::os::unix::fs::MetadataExt;

use nix::sys::stat::futimens;
use nix::sys::statfs::{
    AFS_SUPER_MAGIC, CODA_SUPER_MAGIC, FUSE_SUPER_MAGIC, FsType, NFS_SUPER_MAGIC, SMB_SUPER_MAGIC, fstatfs,
};
use nix::sys::time::TimeSpec;

use super::Store;

const SECOND: u64 = 1_000_000_000;
/// File systems that lack a name in `nix`: CIFS, SMB2, Ceph and 9P (`include/uapi/linux/magic.h`).
const OTHER_REMOTE: [u32; 4] = [0xff53_4d42, 0xfe53_4d42, 0x00c3_6400, 0x0102_1997];

/// The identity of a directory and the moment of its last change.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) dev: u64,
    pub(crate) ino: u64,
    /// Seconds and nanoseconds.
    pub(crate) mtime: (i64, i64),
    pub(crate) ctime: (i64, i64),
}

impl Store {
    /// The directory's present stamp.
    pub(crate) fn stamp(&self) -> io::Result<Stamp> {
        let meta = self.dir.metadata()?;
        Ok(Stamp {
            dev: meta.dev(),
            ino: meta.ino(),
            mtime: (meta.mtime(), meta.mtime_nsec()),
            ctime: (meta.ctime(), meta.ctime_nsec()),
        })
    }

    /// Puts a fresh stamp on the directory; `None` if the file system does not keep it as it was set.
    pub(crate) fn restamp(&self) -> io::Result<Option<Stamp>> {
        // The ctime is the clock's time at the last change, or earlier than any change to come.
        let (seconds, nanos) = self.stamp()?.ctime;
        let chosen = before(seconds, nanos, random() % SECOND);
        futimens(&self.dir, &TimeSpec::UTIME_OMIT, &TimeSpec::new(chosen.0, chosen.1))?;
        let stamp = self.stamp()?;
        Ok((stamp.mtime == chosen).then_some(stamp))
    }

    /// Whether stamps say anything here. A network file system answers from a cache of attributes, which may not
    /// know yet what another machine has done.
    pub(crate) fn is_local(&self) -> bool {
        let remote = [NFS_SUPER_MAGIC, SMB_SUPER_MAGIC, AFS_SUPER_MAGIC, CODA_SUPER_MAGIC, FUSE_SUPER_MAGIC];
        fstatfs(&self.dir).is_ok_and(|fs| {
            let kind = fs.filesystem_type();
            !remote.contains(&kind) && !OTHER_REMOTE.iter().any(|magic| is_magic(kind, *magic))
        })
    }
}

fn is_magic(kind: FsType, magic: u32) -> bool {
    // The field is 64 bits wide, signed on some architectures; the numbers have 32 bits.
    i128::from(kind.0) & 0xffff_ffff == i128::from(magic)
}

/// The time one second and some nanoseconds before another.
fn before(seconds: i64, nanos: i64, earlier: u64) -> (i64, i64) {
    let second = i64::try_from(SECOND).unwrap_or(i64::MAX);
    let nanos = nanos - i64::try_from(earlier).unwrap_or(0);
    if nanos < 0 { (seconds - 2, nanos + second) } else { (seconds - 1, nanos) }
}

/// A random number, from the seed that the standard library gets from the kernel for its hash maps.
pub(crate) fn random() -> u64 {
    RandomState::new().hash_one(std::process::id())
}
