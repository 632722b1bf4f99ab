//! Making what one entry stands for.

use std::ffi::{CString, OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, openat};
use nix::sys::stat::{FchmodatFlags, FileStat, Mode, SFlag, fchmod, fchmodat, fstat, makedev, mkdirat, mknodat};
use nix::unistd::{Gid, Uid, fchownat, linkat, symlinkat};

use crate::error::{Context, Error, Result};
use crate::image::tar::{Entry, Kind, Shown, path_of};
use crate::sys;
use crate::sys::ns::in_initial_user;
use crate::within::open_within;

use super::{Layer, components, lost, place, set_time, whiteout};

/// Attributes that control the overlay; from an archive they would let one layer speak for others.
const OVERLAYS: [&[u8]; 2] = [b"trusted.overlay.", b"user.overlay."];

/// What a layer may attach to its files.
const KEPT: [&[u8]; 2] = [b"user.", b"security.capability"];

const HERE: &str = ".";

impl Layer<'_> {
    /// Puts the layer's root into the state of the one below.
    pub(super) fn adopt_root(&mut self) -> Result<()> {
        let root = self.root.try_clone().context(|| "the layer's root")?;
        self.adopt(root.as_fd(), self.below.first().map(fstat).transpose().context(|| "the layer below")?.as_ref())
    }

    /// A directory that has no entry, so far or at all.
    pub(super) fn implied(&mut self, parent: BorrowedFd<'_>, path: &[OsString]) -> Result<OwnedFd> {
        let name = path.last().map_or(OsStr::new(HERE), OsString::as_os_str);
        mkdirat(parent, name, Mode::S_IRWXU).context(|| format!("make {}", Shown(name.as_bytes())))?;
        let dir = place::open_dir(parent, name)?.ok_or_else(|| Error::new("a directory is gone that was just made"))?;
        let path: PathBuf = path.iter().collect();
        let below = self.below(&path);
        self.adopt(dir.as_fd(), below.as_ref())?;
        if let Some(stat) = below {
            self.times.insert(path, (stat.st_mtime, stat.st_mtime_nsec));
        }
        Ok(dir)
    }

    fn adopt(&self, dir: BorrowedFd<'_>, below: Option<&FileStat>) -> Result<()> {
        let (mode, uid, gid) = below.map_or((0o755, 0, 0), |stat| (stat.st_mode & 0o7777, stat.st_uid, stat.st_gid));
        self.own(dir, OsStr::new(HERE), uid, gid)?;
        fchmod(dir, Mode::from_bits_truncate(mode)).context(|| "set the mode")
    }

    /// The directory of this path in the topmost layer below that has it.
    fn below(&self, path: &std::path::Path) -> Option<FileStat> {
        let how = OpenHow::new().flags(OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC);
        let how = how.resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS);
        let absent = |found: &nix::Result<OwnedFd>| matches!(found, Err(Errno::ENOENT));
        let mut found = self.below.iter().map(|layer| open_within(layer, path, how)).skip_while(absent);
        found.next()?.ok().and_then(|fd| fstat(fd).ok()).filter(place::is_dir)
    }

    /// Makes the entry `name` in `parent`, in place of an earlier entry of that name.
    pub(super) fn make(
        &mut self,
        entry: &Entry,
        parent: BorrowedFd<'_>,
        name: &OsStr,
        path: &[OsString],
        data: &mut impl Read,
    ) -> Result<()> {
        match &entry.kind {
            Kind::Directory => return self.directory(entry, parent, name, path),
            Kind::Hardlink(target) => return self.hardlink(target, parent, name, path),
            _ => clear(parent, name)?,
        }
        match &entry.kind {
            Kind::File => return self.file(entry, parent, name, data),
            Kind::Symlink(target) => symlinkat(path_of(target).as_path(), parent, name).context(|| "make the link")?,
            Kind::Char(major, minor) => self.device(SFlag::S_IFCHR, (*major, *minor), parent, name)?,
            Kind::Block(major, minor) => self.device(SFlag::S_IFBLK, (*major, *minor), parent, name)?,
            _ => mknodat(parent, name, SFlag::S_IFIFO, Mode::empty(), 0).context(|| "make the pipe")?,
        }
        self.own(parent, name, entry.uid, entry.gid)?;
        if !matches!(entry.kind, Kind::Symlink(_)) {
            let mode = Mode::from_bits_truncate(entry.mode);
            // It was just made, and is no link.
            fchmodat(parent, name, mode, FchmodatFlags::FollowSymlink).context(|| "set the mode")?;
        }
        set_time(parent, name, entry.mtime).context(|| "set the time")
    }

    fn directory(&mut self, entry: &Entry, parent: BorrowedFd<'_>, name: &OsStr, path: &[OsString]) -> Result<()> {
        if !place::stat(parent, name)?.is_some_and(|stat| place::is_dir(&stat)) {
            clear(parent, name)?;
            mkdirat(parent, name, Mode::S_IRWXU).context(|| "make the directory")?;
        }
        let dir = place::open_dir(parent, name)?.ok_or_else(|| Error::new("it is gone"))?;
        self.dress(entry, dir.as_fd())?;
        self.times.insert(path.iter().collect(), entry.mtime);
        Ok(())
    }

    fn file(&self, entry: &Entry, parent: BorrowedFd<'_>, name: &OsStr, data: &mut impl Read) -> Result<()> {
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let mut file =
            File::from(openat(parent, name, flags, Mode::S_IRUSR | Mode::S_IWUSR).context(|| "create the file")?);
        match &entry.map {
            None => io::copy(data, &mut file).map(drop),
            Some(map) => file.set_len(entry.size).and_then(|()| fill(&file, map, data)),
        }
        .context(|| "write the file")?;
        self.dress(entry, file.as_fd())?;
        set_time(parent, name, entry.mtime).context(|| "set the time")
    }

    fn hardlink(&mut self, target: &[u8], parent: BorrowedFd<'_>, name: &OsStr, path: &[OsString]) -> Result<()> {
        let shown = Shown(target);
        let wanted = components(target).context(|| "the target of the hard link")?;
        if wanted == path {
            return Err(Error::new("it is a hard link to itself"));
        }
        let Some((file, dirs)) = wanted.split_last() else {
            return Err(Error::new("it is a hard link to the layer's root"));
        };
        whiteout::check_parents(&wanted)?;
        let mut here = self.root.try_clone().context(|| "the layer's root")?;
        let absent = || Error::new(format!("the target {shown} of the hard link is not in the layer"));
        for dir in dirs {
            here = place::open_dir(here.as_fd(), dir).context(|| format!("the target {shown}"))?.ok_or_else(absent)?;
        }
        match place::stat(here.as_fd(), file)? {
            None => return Err(absent()),
            Some(stat) if place::is_dir(&stat) => return Err(Error::new(format!("the target {shown} is a directory"))),
            Some(_) => clear(parent, name)?,
        }
        // The name that made way may have been the target, or on the way to it.
        linkat(&here, file.as_os_str(), parent, name, AtFlags::empty()).context(|| format!("link to {shown}"))
    }

    fn device(&self, kind: SFlag, number: (u32, u32), parent: BorrowedFd<'_>, name: &OsStr) -> Result<()> {
        if number == (0, 0) {
            return Err(Error::new("a device 0:0, which is what an overlay's own whiteout looks like"));
        }
        if !self.privileged {
            return Err(Error::new("a device, and only root may make devices"));
        }
        let device = makedev(u64::from(number.0), u64::from(number.1));
        match mknodat(parent, name, kind, Mode::empty(), device) {
            // An empty file in its place: it could not be opened anyway.
            Err(Errno::EPERM) if !in_initial_user() => {
                lost::add();
                mknodat(parent, name, SFlag::S_IFREG, Mode::empty(), 0)
            }
            made => made,
        }
        .context(|| "make the device")
    }

    /// Gives an open file or directory what its entry says, in the order in which nothing is lost again: a change of
    /// owner takes setuid bits and capabilities away.
    pub(super) fn dress(&self, entry: &Entry, fd: BorrowedFd<'_>) -> Result<()> {
        let owner = || format!("set the owner {}:{}", entry.uid, entry.gid);
        if self.privileged {
            lost::keep(nix::unistd::fchown(fd, Some(Uid::from_raw(entry.uid)), Some(Gid::from_raw(entry.gid))))
                .context(owner)?;
        }
        fchmod(fd, Mode::from_bits_truncate(entry.mode)).context(|| "set the mode")?;
        for (name, value) in &entry.xattrs {
            let foreign = OVERLAYS.iter().any(|prefix| name.starts_with(prefix));
            if foreign || !KEPT.iter().any(|kept| name.starts_with(kept)) {
                continue;
            }
            let shown = Shown(name);
            let name = CString::new(name.as_slice()).map_err(|_| Error::new("an attribute's name holds a NUL"))?;
            match sys::xattr::set(fd, &name, value) {
                // Not root, or a file system without them: the file is good without.
                Err(Errno::EOPNOTSUPP | Errno::EPERM) if !self.privileged => {}
                done => done.context(|| format!("set the attribute {shown}"))?,
            }
        }
        Ok(())
    }

    fn own(&self, parent: BorrowedFd<'_>, name: &OsStr, uid: u32, gid: u32) -> Result<()> {
        if !self.privileged {
            return Ok(());
        }
        let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
        lost::keep(fchownat(parent, name, Some(uid), Some(gid), AtFlags::AT_SYMLINK_NOFOLLOW))
            .context(|| format!("set the owner {uid}:{gid}"))
    }
}

/// Makes way for an entry: in one archive the last of a name wins.
fn clear(parent: BorrowedFd<'_>, name: &OsStr) -> Result<()> {
    match place::stat(parent, name)? {
        None => Ok(()),
        Some(_) => place::remove(parent, name).context(|| "remove the earlier entry of this name"),
    }
}

/// Writes the pieces of a sparse file to their places.
fn fill(file: &File, map: &[(u64, u64)], data: &mut impl Read) -> io::Result<()> {
    let mut buffer = vec![0; 64 << 10];
    for (offset, length) in map {
        let (mut at, end) = (*offset, offset + length);
        while at < end {
            let want = usize::try_from(end - at).unwrap_or(usize::MAX).min(buffer.len());
            let chunk = buffer.get_mut(..want).unwrap_or_default();
            data.read_exact(chunk)?;
            file.write_all_at(chunk, at)?;
            at += want as u64;
        }
    }
    Ok(())
}
