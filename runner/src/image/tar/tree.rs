//! From a directory to an archive: a container's changes as a layer, or a whole tree.

use std::collections::BTreeMap;
use std::ffi::{CString, OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat, readlinkat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, fstatat, major, minor};

use crate::error::{Context, Error, Result};
use crate::spec::Users;
use crate::sys;

use super::write::Writer;
use super::{Entry, Kind, Shown};

/// What a directory is, and so what of it goes into the archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flavour {
    /// The upper directory of an overlay: whiteouts become `.wh.` files, and what is only the overlay's own is left out.
    Layer,
    /// A root file system, such as a container's merged view: everything is what it is.
    Whole,
}

/// Deeper than any path that the kernel takes in one piece; each level takes a descriptor.
const DEEPEST: usize = 1024;

const OPAQUE: [&[u8]; 2] = [b"trusted.overlay.opaque", b"user.overlay.opaque"];
const OVERLAYS: [&[u8]; 2] = [b"trusted.overlay.", b"user.overlay."];
/// With these the content or the children of an entry are in another layer, under another name.
const ELSEWHERE: [&[u8]; 2] = [b"overlay.redirect", b"overlay.metacopy"];

/// Writes the tree below the open directory `dir` as a tar archive: entries sorted by name, hard links kept, times in
/// whole seconds, sockets left out. The same tree gives the same bytes.
///
/// Owners are those inside of `users`, if the tree is seen through such a user namespace.
pub fn write_tree(dir: BorrowedFd<'_>, flavour: Flavour, users: Option<&Users>, out: impl Write) -> Result<()> {
    let mut tree = Tree { writer: Writer::new(out), flavour, users, links: BTreeMap::new() };
    // Opened anew, as what we were given may be a mere handle.
    let root = open(dir, OsStr::new("."), OFlag::O_DIRECTORY).context(|| "open the directory")?;
    tree.directory(root, b"./", 0)?;
    tree.writer.finish().context(|| "write the archive").map(drop)
}

/// Writes the one entry `name` of the open directory `parent`, with all that is below it, in the same way; `.` for the directory
/// itself.
pub fn write_entry(
    parent: BorrowedFd<'_>,
    name: &OsStr,
    flavour: Flavour,
    users: Option<&Users>,
    out: impl Write,
) -> Result<()> {
    if name == "." {
        return write_tree(parent, flavour, users, out);
    }
    let mut tree = Tree { writer: Writer::new(out), flavour, users, links: BTreeMap::new() };
    tree.child(parent, name, b"", 0)?;
    tree.writer.finish().context(|| "write the archive").map(drop)
}

struct Tree<'a, W: Write> {
    writer: Writer<W>,
    flavour: Flavour,
    users: Option<&'a Users>,
    /// The first name of each file that has several.
    links: BTreeMap<(u64, u64), Vec<u8>>,
}

impl<W: Write> Tree<'_, W> {
    /// Writes the directory `dir`, called `path` with a slash at its end, and all that is in it.
    fn directory(&mut self, dir: OwnedFd, path: &[u8], depth: usize) -> Result<()> {
        if depth > DEEPEST {
            return Err(Error::new(format!("{}: more than {DEEPEST} directories deep", Shown(path))));
        }
        let failed = || format!("read {}", Shown(path));
        let stat = fstat(&dir).context(failed)?;
        let all = xattrs(dir.as_fd()).context(failed)?;
        let opaque = self.flavour == Flavour::Layer && all.iter().any(|(name, _)| OPAQUE.contains(&name.as_slice()));
        let entry = Entry { xattrs: self.kept(all, path)?, ..self.described(&stat, path, Kind::Directory) };
        self.write(&entry, io::empty())?;
        if opaque {
            self.mark(path, b".wh..wh..opq")?;
        }
        let names = names(dir.as_fd()).context(failed)?;
        for name in names {
            self.child(dir.as_fd(), &name, path, depth)?;
        }
        Ok(())
    }

    fn child(&mut self, dir: BorrowedFd<'_>, name: &OsStr, parent: &[u8], depth: usize) -> Result<()> {
        let path = [parent, name.as_bytes()].concat();
        let failed = || format!("read {}", Shown(&path));
        let stat = match fstatat(dir, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            // It went away while we were reading.
            Err(Errno::ENOENT) => return Ok(()),
            stat => stat.context(failed)?,
        };
        let device = || (number(major(stat.st_rdev)), number(minor(stat.st_rdev)));
        let kind = match SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT {
            SFlag::S_IFDIR => {
                let fd = open(dir, name, OFlag::O_DIRECTORY).context(failed)?;
                return self.directory(fd, &[&path, b"/".as_slice()].concat(), depth + 1);
            }
            SFlag::S_IFCHR if stat.st_rdev == 0 => {
                // In a whole tree it says what is not there, and there is nothing below it.
                return if self.flavour == Flavour::Whole {
                    Ok(())
                } else {
                    self.mark(parent, &[b".wh.", name.as_bytes()].concat())
                };
            }
            SFlag::S_IFREG => Kind::File,
            SFlag::S_IFLNK => Kind::Symlink(readlinkat(dir, name).context(failed)?.into_vec()),
            SFlag::S_IFCHR => Kind::Char(device().0, device().1),
            SFlag::S_IFBLK => Kind::Block(device().0, device().1),
            SFlag::S_IFIFO => Kind::Fifo,
            _ => return Ok(()),
        };
        if stat.st_nlink > 1 {
            if let Some(first) = self.links.get(&(stat.st_dev, stat.st_ino)) {
                let entry = self.described(&stat, &path, Kind::Hardlink(first.clone()));
                return self.write(&entry, io::empty());
            }
            self.links.insert((stat.st_dev, stat.st_ino), path.clone());
        }
        match kind {
            Kind::File => self.file(dir, name, &path),
            kind => self.write(&self.described(&stat, &path, kind), io::empty()),
        }
    }

    fn file(&mut self, dir: BorrowedFd<'_>, name: &OsStr, path: &[u8]) -> Result<()> {
        let failed = || format!("read {}", Shown(path));
        let file = open(dir, name, OFlag::O_NONBLOCK).context(failed)?;
        // Of what was opened, as the name may mean something else by now.
        let stat = fstat(&file).context(failed)?;
        if SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT != SFlag::S_IFREG {
            return Ok(());
        }
        let xattrs = self.kept(xattrs(file.as_fd()).context(failed)?, path)?;
        let entry = Entry { xattrs, ..self.described(&stat, path, Kind::File) };
        self.write(&entry, File::from(file))
    }

    /// An empty file whose name says something about the layers below.
    fn mark(&mut self, parent: &[u8], name: &[u8]) -> Result<()> {
        let path = [parent, name].concat();
        let path = path.strip_prefix(b"./".as_slice()).unwrap_or(&path);
        self.writer.file(&String::from_utf8_lossy(path), 0, io::empty()).context(|| "write the archive")
    }

    fn described(&self, stat: &FileStat, path: &[u8], kind: Kind) -> Entry {
        let is_file = kind == Kind::File;
        let (uid, gid) = self.users.map_or((stat.st_uid, stat.st_gid), |users| users.inside(stat.st_uid, stat.st_gid));
        Entry {
            path: path.to_vec(),
            kind,
            mode: stat.st_mode & 0o7777,
            uid,
            gid,
            mtime: (stat.st_mtime, 0),
            xattrs: Vec::new(),
            size: if is_file { u64::try_from(stat.st_size).unwrap_or(0) } else { 0 },
            map: None,
        }
    }

    fn write(&mut self, entry: &Entry, data: impl io::Read) -> Result<()> {
        self.writer.entry(entry, data).context(|| format!("write {}", entry.shown()))
    }

    /// The attributes that mean something elsewhere, too.
    fn kept(&self, all: Vec<(Vec<u8>, Vec<u8>)>, path: &[u8]) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let elsewhere = |name: &[u8]| ELSEWHERE.iter().any(|tail| name.ends_with(tail));
        if self.flavour == Flavour::Layer && all.iter().any(|(name, _)| elsewhere(name)) {
            return Err(Error::new(format!(
                "{} was renamed or changed by an overlay with redirect_dir or metacopy, which a layer cannot say",
                Shown(path)
            )));
        }
        let kept = |name: &[u8]| {
            let overlay = OVERLAYS.iter().any(|prefix| name.starts_with(prefix));
            !overlay && (name.starts_with(b"user.") || name == b"security.capability")
        };
        Ok(all.into_iter().filter(|(name, _)| kept(name)).collect())
    }
}

fn number(part: u64) -> u32 {
    u32::try_from(part).unwrap_or(u32::MAX)
}

fn open(dir: BorrowedFd<'_>, name: &OsStr, more: OFlag) -> nix::Result<OwnedFd> {
    openat(dir, name, OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | more, Mode::empty())
}

/// What is in an open directory, sorted.
fn names(dir: BorrowedFd<'_>) -> io::Result<Vec<OsString>> {
    let entries = fs::read_dir(format!("/proc/self/fd/{}", dir.as_raw_fd()))?;
    let mut names = entries.map(|entry| Ok(entry?.file_name())).collect::<io::Result<Vec<_>>>()?;
    names.sort();
    Ok(names)
}

/// All extended attributes, sorted; none on a file system without them.
fn xattrs(fd: BorrowedFd<'_>) -> nix::Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let names = match sys::xattr::list(fd) {
        Err(Errno::EOPNOTSUPP) => return Ok(Vec::new()),
        names => names?,
    };
    let mut all = Vec::new();
    for name in names.split(|b| *b == 0).filter(|name| !name.is_empty()) {
        let Ok(text) = CString::new(name) else { continue };
        match sys::xattr::get(fd, &text) {
            Err(Errno::ENODATA) => {}
            value => all.push((name.to_vec(), value?)),
        }
    }
    all.sort();
    Ok(all)
}

/// Writes an archive of nothing.
pub(in crate::image) fn empty(out: impl Write) -> Result<()> {
    Writer::new(out).finish().context(|| "write the archive").map(drop)
}
