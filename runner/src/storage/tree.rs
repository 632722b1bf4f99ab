//! Copying trees of files.
//!
//! Everything is done relative to open directories and without following links, so it does not matter who changes names
//! in one of the trees meanwhile. Kept are owners, modes, times, extended attributes, hard links and holes; file systems
//! that can share blocks do. Attributes by which an overlay steers its layers are never copied.

use std::collections::HashMap;
use std::ffi::{CStr, OsStr, OsString};
use std::fs::{self, File};
use std::io::{Seek, SeekFrom};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, openat, readlinkat};
use nix::libc;
use nix::sys::stat::{FileStat, Mode, SFlag, UtimensatFlags, fchmod, fstat, fstatat, mkdirat, mknodat, utimensat};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, Whence, fchownat, linkat, lseek64, symlinkat};

use crate::error::{Context, Error, Result};
use crate::spec::Users;
use crate::sys::ns::in_initial_user;
use crate::sys::xattr;
use crate::within::open_within;

/// What a name is, by the bits of `st_mode`.
pub(crate) fn kind(stat: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(stat.st_mode & libc::S_IFMT)
}

/// Whether an overlay reads this as "there is no such name below".
pub(crate) fn is_whiteout(stat: &FileStat) -> bool {
    kind(stat) == SFlag::S_IFCHR && stat.st_rdev == 0
}

/// Whether an overlay does not look below this directory of a layer.
pub(crate) fn is_opaque(dir: BorrowedFd<'_>) -> bool {
    let says_so = |name: &CStr| xattr::get(dir, name).is_ok_and(|value| value == b"y");
    says_so(c"trusted.overlay.opaque") || says_so(c"user.overlay.opaque")
}

/// The names in an open directory, sorted.
pub(crate) fn names(dir: BorrowedFd<'_>) -> Result<Vec<OsString>> {
    // The number stands for this very directory, whatever its path leads to by now.
    let entries = fs::read_dir(format!("/proc/self/fd/{}", dir.as_raw_fd())).context(|| "list a directory")?;
    let mut names: Vec<_> =
        entries.map(|entry| entry.map(|e| e.file_name())).collect::<Result<_, _>>().context(|| "list a directory")?;
    names.sort();
    Ok(names)
}

/// A directory by its name in another; a link is refused.
pub(crate) fn open_dir(parent: BorrowedFd<'_>, name: &OsStr) -> nix::Result<OwnedFd> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    openat(parent, name, flags, Mode::empty())
}

/// Which entries are copied.
pub(crate) type Filter<'a> = &'a dyn Fn(&FileStat) -> bool;

/// Who a copy belongs to.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) enum Owner<'a> {
    /// Whoever the original belongs to.
    #[default]
    Same,
    /// One for all.
    One(u32, u32),
    /// Whoever has the original's ids in a user namespace that the target is seen through.
    Into(&'a Users),
    /// The same, and whoever the original belongs to if nobody has its ids there.
    Towards(&'a Users),
    /// Whoever has the original's ids inside of the user namespace that the original is seen through.
    OutOf(&'a Users),
}

impl Owner<'_> {
    /// The owner of the copy of what belongs to `uid` and `gid`.
    pub(super) fn of(self, uid: u32, gid: u32) -> Result<(Uid, Gid)> {
        let (uid, gid) = match self {
            Self::Same => (uid, gid),
            Self::One(uid, gid) => (uid, gid),
            Self::OutOf(users) => users.inside(uid, gid),
            Self::Towards(users) => users.outside(uid, gid).unwrap_or((uid, gid)),
            Self::Into(users) => users.outside(uid, gid).ok_or_else(|| {
                Error::new(format!("it belongs to {uid}:{gid}, whom the container's user namespace does not know"))
            })?,
        };
        Ok((Uid::from_raw(uid), Gid::from_raw(gid)))
    }
}

/// One copy under way.
pub(crate) struct Copier<'a> {
    /// Entries that it refuses are left out, directories with all that is in them.
    pub(crate) filter: Filter<'a>,
    /// Who the copies belong to.
    pub(crate) owner: Owner<'a>,
    /// Read the source as a layer: what it deletes is deleted in the copy.
    pub(crate) layer: bool,
    root: OwnedFd,
    links: HashMap<(u64, u64), PathBuf>,
    here: PathBuf,
}

impl<'a> Copier<'a> {
    /// A copy into the directory `root`.
    pub(crate) fn new(root: BorrowedFd<'_>, filter: Filter<'a>) -> Result<Self> {
        let root = root.try_clone_to_owned().context(|| "duplicate a descriptor")?;
        Ok(Self { filter, owner: Owner::Same, layer: false, root, links: HashMap::new(), here: PathBuf::new() })
    }

    /// Copies all that is in `from` into the root.
    pub(crate) fn contents(&mut self, from: BorrowedFd<'_>) -> Result<()> {
        let root = self.root.try_clone().context(|| "duplicate a descriptor")?;
        self.directory(from, root.as_fd())
    }

    fn directory(&mut self, from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<()> {
        for name in names(from)? {
            self.entry(from, &name, to, &name)?;
        }
        Ok(())
    }

    /// Copies the entry `name` of `from` to `new` in `to`. A directory that is already there is filled, anything else
    /// makes place.
    pub(crate) fn entry(&mut self, from: BorrowedFd<'_>, name: &OsStr, to: BorrowedFd<'_>, new: &OsStr) -> Result<()> {
        let stat = match fstatat(from, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            // It has vanished meanwhile.
            Err(Errno::ENOENT) => return Ok(()),
            stat => stat.context(|| format!("look at {}", self.here.join(name).display()))?,
        };
        if !(self.filter)(&stat) {
            return Ok(());
        }
        self.here.push(new);
        let copied = self.one(from, name, &stat, to, new).context(|| format!("copy {}", self.here.display()));
        self.here.pop();
        copied
    }

    fn one(
        &mut self,
        from: BorrowedFd<'_>,
        name: &OsStr,
        stat: &FileStat,
        to: BorrowedFd<'_>,
        new: &OsStr,
    ) -> Result<()> {
        if self.layer && is_whiteout(stat) {
            return remove(to, new);
        }
        if kind(stat) == SFlag::S_IFDIR {
            return self.subdirectory(from, name, stat, to, new);
        }
        self.make_place(to, new)?;
        if stat.st_nlink > 1 {
            if let Some(first) = self.links.get(&(stat.st_dev, stat.st_ino)) {
                return self.link(first, to, new);
            }
            self.links.insert((stat.st_dev, stat.st_ino), self.here.clone());
        }
        match kind(stat) {
            SFlag::S_IFREG => return self.file(from, name, stat, to, new),
            SFlag::S_IFLNK => {
                let target = readlinkat(from, name).context(|| "read the link")?;
                symlinkat(target.as_os_str(), to, new).context(|| "make the link")?;
            }
            other => {
                mknodat(to, new, other, Mode::from_bits_truncate(stat.st_mode), stat.st_rdev).context(|| "mknod")?;
            }
        }
        self.own(stat, to, new)?;
        times(stat, to, new)
    }

    /// A file replaces a file; only a layer says that a directory is to go.
    fn make_place(&self, to: BorrowedFd<'_>, new: &OsStr) -> Result<()> {
        let there = fstatat(to, new, AtFlags::AT_SYMLINK_NOFOLLOW);
        if !self.layer && there.is_ok_and(|stat| kind(&stat) == SFlag::S_IFDIR) {
            return Err(Error::new("there is a directory of this name in the place of the file"));
        }
        remove(to, new).context(|| "replace what is there")
    }

    fn subdirectory(
        &mut self,
        from: BorrowedFd<'_>,
        name: &OsStr,
        stat: &FileStat,
        to: BorrowedFd<'_>,
        new: &OsStr,
    ) -> Result<()> {
        let source = open_dir(from, name).context(|| "open")?;
        if self.layer && is_opaque(source.as_fd()) {
            remove(to, new).context(|| "replace what is there")?;
        }
        match fstatat(to, new, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(there) if kind(&there) == SFlag::S_IFDIR => {}
            Ok(_) if !self.layer => {
                return Err(Error::new("there is a file of this name in the place of the directory"));
            }
            Ok(_) => remove(to, new).and_then(|()| mkdir(to, new))?,
            Err(_) => mkdir(to, new)?,
        }
        let target = open_dir(to, new).context(|| "open the copy")?;
        self.directory(source.as_fd(), target.as_fd())?;
        attributes(source.as_fd(), target.as_fd())?;
        self.own(stat, to, new)?;
        fchmod(&target, Mode::from_bits_truncate(stat.st_mode & 0o7777)).context(|| "chmod")?;
        times(stat, to, new)
    }

    fn file(&self, from: BorrowedFd<'_>, name: &OsStr, stat: &FileStat, to: BorrowedFd<'_>, new: &OsStr) -> Result<()> {
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let mut source = File::from(openat(from, name, flags, Mode::empty()).context(|| "open")?);
        if kind(&fstat(&source).context(|| "look at it")?) != SFlag::S_IFREG {
            return Err(Error::new("it was replaced while it was being copied"));
        }
        let flags = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_WRONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let mut target = File::from(openat(to, new, flags, Mode::from_bits_truncate(0o600)).context(|| "create")?);
        data(&mut source, &mut target, stat).context(|| "copy the contents")?;
        self.own(stat, to, new)?;
        attributes(source.as_fd(), target.as_fd())?;
        // After the owner: a change of owner takes set-user-id bits away.
        fchmod(&target, Mode::from_bits_truncate(stat.st_mode & 0o7777)).context(|| "chmod")?;
        times(stat, to, new)
    }

    fn own(&self, stat: &FileStat, to: BorrowedFd<'_>, new: &OsStr) -> Result<()> {
        let (uid, gid) = self.owner.of(stat.st_uid, stat.st_gid)?;
        match fchownat(to, new, Some(uid), Some(gid), AtFlags::AT_SYMLINK_NOFOLLOW) {
            // An id that this user namespace has not got.
            Err(Errno::EINVAL) if !in_initial_user() => Ok(()),
            // Without the right to give files away they are the caller's, as with cp.
            Err(Errno::EPERM) if !Uid::effective().is_root() => Ok(()),
            answer => answer.context(|| "chown"),
        }
    }

    /// A second name for a file that was copied before.
    fn link(&self, first: &Path, to: BorrowedFd<'_>, new: &OsStr) -> Result<()> {
        let how = OpenHow::new()
            .flags(OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS);
        let first = open_within(&self.root, first, how).context(|| "open its other name")?;
        linkat(&first, "", to, new, AtFlags::AT_EMPTY_PATH).context(|| "link it to its other name")
    }
}

impl std::fmt::Debug for Copier<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Copier").field("here", &self.here).finish_non_exhaustive()
    }
}

/// A copy of a whole directory into another.
pub(crate) fn copy(from: BorrowedFd<'_>, to: BorrowedFd<'_>, filter: Filter<'_>) -> Result<()> {
    Copier::new(to, filter)?.contents(from)
}

/// Gives the directory `to` the mode, times and attributes of `from`, and the owner that `owner` says.
pub(crate) fn like(from: BorrowedFd<'_>, to: BorrowedFd<'_>, owner: Owner<'_>) -> Result<()> {
    let stat = fstat(from).context(|| "look at the original")?;
    attributes(from, to)?;
    let (uid, gid) = owner.of(stat.st_uid, stat.st_gid)?;
    match nix::unistd::fchown(to, Some(uid), Some(gid)) {
        Err(Errno::EINVAL) if !in_initial_user() => {}
        answer => answer.context(|| "chown")?,
    }
    fchmod(to, Mode::from_bits_truncate(stat.st_mode & 0o7777)).context(|| "chmod")
}

/// Removes a name, with all that is below it. What is not there need not be removed.
pub(crate) fn remove(dir: BorrowedFd<'_>, name: &OsStr) -> Result<()> {
    match nix::unistd::unlinkat(dir, name, nix::unistd::UnlinkatFlags::NoRemoveDir) {
        Ok(()) | Err(Errno::ENOENT) => Ok(()),
        Err(Errno::EISDIR) => {
            let below = open_dir(dir, name).context(|| "open what is to be removed")?;
            names(below.as_fd())?.iter().try_for_each(|each| remove(below.as_fd(), each))?;
            nix::unistd::unlinkat(dir, name, nix::unistd::UnlinkatFlags::RemoveDir).context(|| "rmdir")
        }
        Err(errno) => Err(errno).context(|| "unlink"),
    }
}

fn mkdir(parent: BorrowedFd<'_>, name: &OsStr) -> Result<()> {
    mkdirat(parent, name, Mode::from_bits_truncate(0o700)).context(|| "mkdir")
}

/// The parts of a file that hold data; between them the copy gets holes, too.
fn data(source: &mut File, target: &mut File, stat: &FileStat) -> std::io::Result<()> {
    let sparse = stat.st_blocks.saturating_mul(512) < stat.st_size;
    if !sparse {
        return std::io::copy(source, target).map(drop);
    }
    let mut at = 0;
    loop {
        at = match lseek64(&*source, at, Whence::SeekData) {
            Ok(at) => at,
            Err(Errno::ENXIO) => break,
            Err(errno) => return Err(errno.into()),
        };
        let end = lseek64(&*source, at, Whence::SeekHole)?;
        let (from, length) = (at.cast_unsigned(), (end - at).cast_unsigned());
        source.seek(SeekFrom::Start(from))?;
        target.seek(SeekFrom::Start(from))?;
        std::io::copy(&mut std::io::Read::take(&mut *source, length), target)?;
        at = end;
    }
    target.set_len(stat.st_size.cast_unsigned())
}

fn attributes(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<()> {
    let list = match xattr::list(from) {
        Err(Errno::EOPNOTSUPP) => return Ok(()),
        list => list.context(|| "list the attributes")?,
    };
    for name in list.split_inclusive(|byte| *byte == 0).filter_map(|name| CStr::from_bytes_with_nul(name).ok()) {
        let bytes = name.to_bytes();
        if bytes.starts_with(b"trusted.overlay.") || bytes.starts_with(b"user.overlay.") {
            continue;
        }
        let value = match xattr::get(from, name) {
            Err(Errno::ENODATA) => continue,
            value => value.context(|| "read an attribute")?,
        };
        match xattr::set(to, name, &value) {
            // The other file system has none of this kind.
            Err(Errno::EOPNOTSUPP | Errno::EPERM) => {}
            answer => answer.context(|| format!("set the attribute {}", name.to_string_lossy()))?,
        }
    }
    Ok(())
}

fn times(stat: &FileStat, to: BorrowedFd<'_>, new: &OsStr) -> Result<()> {
    let accessed = TimeSpec::new(stat.st_atime, stat.st_atime_nsec);
    let modified = TimeSpec::new(stat.st_mtime, stat.st_mtime_nsec);
    utimensat(to, new, &accessed, &modified, UtimensatFlags::NoFollowSymlink).context(|| "set the times")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    use super::*;

    fn open(path: &Path) -> OwnedFd {
        File::open(path).unwrap().into()
    }

    #[test]
    fn a_copy_keeps_links_modes_holes_and_times() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (f, t) = (from.path(), to.path());
        fs::create_dir(f.join("d")).unwrap();
        fs::write(f.join("d/a"), "text").unwrap();
        fs::hard_link(f.join("d/a"), f.join("b")).unwrap();
        fs::set_permissions(f.join("d/a"), fs::Permissions::from_mode(0o4751)).unwrap();
        symlink("/nowhere", f.join("l")).unwrap();
        let sparse = File::create(f.join("s")).unwrap();
        sparse.set_len(8 << 20).unwrap();
        std::os::unix::fs::FileExt::write_at(&sparse, b"x", 5 << 20).unwrap();
        copy(open(f).as_fd(), open(t).as_fd(), &|_| true).unwrap();

        let (a, b) = (fs::metadata(t.join("d/a")).unwrap(), fs::metadata(t.join("b")).unwrap());
        assert_eq!((a.ino(), a.mode() & 0o7777), (b.ino(), 0o4751));
        assert_eq!(a.mtime_nsec(), fs::metadata(f.join("b")).unwrap().mtime_nsec());
        assert_eq!(fs::read_link(t.join("l")).unwrap(), Path::new("/nowhere"));
        let copied = fs::metadata(t.join("s")).unwrap();
        assert_eq!(copied.len(), 8 << 20);
        assert!(copied.blocks() < 1024, "the holes were filled: {} blocks", copied.blocks());
        assert_eq!(fs::read(f.join("s")).unwrap(), fs::read(t.join("s")).unwrap());
    }

    #[test]
    fn a_link_in_the_way_is_replaced_and_not_followed() {
        let (from, to, other) =
            (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::create_dir(from.path().join("d")).unwrap();
        fs::write(from.path().join("x"), "new").unwrap();
        fs::write(other.path().join("x"), "old").unwrap();
        symlink(other.path().join("x"), to.path().join("x")).unwrap();
        copy(open(from.path()).as_fd(), open(to.path()).as_fd(), &|_| true).unwrap();
        assert_eq!(fs::read_to_string(other.path().join("x")).unwrap(), "old");
        fs::remove_dir(to.path().join("d")).unwrap();
        symlink(other.path(), to.path().join("d")).unwrap();
        assert!(copy(open(from.path()).as_fd(), open(to.path()).as_fd(), &|_| true).is_err());
    }

    #[test]
    fn a_layer_deletes_in_the_copy() {
        let (lower, upper, to) =
            (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for name in ["gone", "kept"] {
            fs::write(lower.path().join(name), "x").unwrap();
        }
        fs::create_dir(lower.path().join("dir")).unwrap();
        fs::write(lower.path().join("dir/old"), "x").unwrap();
        fs::create_dir(upper.path().join("dir")).unwrap();
        fs::write(upper.path().join("dir/new"), "x").unwrap();
        xattr::set(open(&upper.path().join("dir")).as_fd(), c"trusted.overlay.opaque", b"y").unwrap();
        let device = nix::sys::stat::makedev(0, 0);
        nix::sys::stat::mknod(&upper.path().join("gone"), SFlag::S_IFCHR, Mode::empty(), device).unwrap();
        for layer in [lower.path(), upper.path()] {
            let mut copier = Copier::new(open(to.path()).as_fd(), &|_| true).unwrap();
            copier.layer = true;
            copier.contents(open(layer).as_fd()).unwrap();
        }
        let listed = |dir: &Path| names(open(dir).as_fd()).unwrap();
        assert_eq!(listed(to.path()), ["dir", "kept"]);
        assert_eq!(listed(&to.path().join("dir")), ["new"]);
    }
}
