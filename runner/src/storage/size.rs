//! How much a container and its image take on the disk.

use std::collections::HashSet;
use std::fmt;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use nix::fcntl::AtFlags;
use nix::sys::stat::{SFlag, fstatat};

use crate::error::{Context, Result};
use crate::format::units::size;
use crate::spec::{Root, Rootfs, Storage};

use super::{Place, tree};

/// Sizes in bytes, as `inspect -s` and `ps -s` show them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sizes {
    /// What the container has written.
    pub(crate) written: u64,
    /// That, and all that is below.
    pub(crate) root_fs: u64,
}

impl fmt::Display for Sizes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (virtual {})", size(self.written), size(self.root_fs))
    }
}

/// The sizes of the container at `place`, running or not.
pub(crate) fn of(root: &Root, place: &Place) -> Result<Sizes> {
    let mut written = allocated(&place.diff())?;
    let below: Vec<PathBuf> = match &root.rootfs {
        _ if root.storage == Storage::Vfs => Vec::new(),
        Rootfs::Host => vec![place.dir().join("lower"), PathBuf::from("/usr")],
        Rootfs::Dir(dir) => vec![dir.clone()],
        Rootfs::Image { layers, .. } => layers.clone(),
    };
    if place.usr().exists() {
        written += allocated(&place.usr())?;
    }
    let below: u64 = below.iter().map(|dir| allocated(dir)).sum::<Result<u64>>()?;
    Ok(Sizes { written, root_fs: written + below })
}

/// What the files below `dir` take: blocks, not lengths; a file with several names counts once. Directories and what only says that
/// something is deleted count nothing. Other file systems mounted below are not looked into.
fn allocated(dir: &Path) -> Result<u64> {
    let failed = || format!("measure {}", dir.display());
    let open = File::open(dir).context(failed)?;
    let device = nix::sys::stat::fstat(&open).context(failed)?.st_dev;
    below(open.as_fd(), device, &mut HashSet::new()).context(failed)
}

fn below(dir: BorrowedFd<'_>, device: u64, seen: &mut HashSet<u64>) -> Result<u64> {
    let mut sum = 0;
    for name in tree::names(dir)? {
        // What vanishes meanwhile takes no place.
        let Ok(stat) = fstatat(dir, name.as_os_str(), AtFlags::AT_SYMLINK_NOFOLLOW) else { continue };
        if stat.st_dev != device {
            continue;
        }
        if tree::kind(&stat) != SFlag::S_IFDIR {
            if stat.st_nlink == 1 || seen.insert(stat.st_ino) {
                sum += u64::try_from(stat.st_blocks).unwrap_or_default() * 512;
            }
        } else if let Ok(inner) = tree::open_dir(dir, &name) {
            sum += below(inner.as_fd(), device, seen)?;
        }
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn blocks_count_and_hard_links_once() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        assert_eq!(allocated(dir.path()).unwrap(), 0);
        fs::create_dir_all(at("a/b")).unwrap();
        fs::write(at("a/b/data"), vec![1; 1 << 20]).unwrap();
        fs::hard_link(at("a/b/data"), at("again")).unwrap();
        File::create(at("holes")).unwrap().set_len(1 << 30).unwrap();
        File::open(at("a/b/data")).unwrap().sync_all().unwrap();
        let size = allocated(dir.path()).unwrap();
        assert!((1 << 20..(1 << 20) + 8192).contains(&size), "{size}");
    }
}
