//! `xnet cp`: what goes where.
//!
//! The rules are those of Docker's `cp`, which are those of `cp -r` with fewer surprises: what ends with `/.` is the contents
//! of a directory; a directory is copied into one that exists, and becomes one that does not; a file replaces a file, is put into
//! a directory, and is never the cause of a new one.
//!
//! Both sides are roots, the host's `/` or the container's. Every look-up begins at the descriptor of a root and cannot
//! leave it, and what was found is used as a descriptor: a container that swaps directories for links meanwhile gets its own
//! files copied over its own files.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, readlinkat};
use nix::sys::stat::{Mode, SFlag, fstat, fstatat, mkdirat};

use crate::error::{Context, Error, Result};
use crate::setup::path::Root;
use crate::storage::tree::{self, Copier, Owner};

/// One side of a copy.
#[derive(Debug)]
pub(crate) struct Side<'a> {
    /// Where paths begin.
    pub(crate) root: &'a Root,
    /// As it was typed, but absolute.
    pub(crate) path: &'a str,
}

/// How to copy.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct How<'a> {
    /// Copy what a link leads to, if the source is one.
    pub(crate) follow: bool,
    /// Who the copies belong to.
    pub(crate) owner: Owner<'a>,
}

/// What a path leads to.
#[derive(Debug)]
pub(crate) struct Found {
    /// The directory that it is in.
    pub(crate) parent: OwnedFd,
    /// Its name there; `.` for the root itself.
    pub(crate) name: OsString,
    /// What it is; none if there is nothing of this name.
    pub(crate) kind: Option<SFlag>,
}

/// As many links as the kernel follows in one look-up.
const LINKS: u8 = 40;

/// What `path` leads to; a link in the last place is followed if `follow` says so. The directory that it is in must exist.
pub(crate) fn find(root: &Root, path: &str, follow: bool) -> Result<Found> {
    let mut path = PathBuf::from(path);
    for _ in 0..LINKS {
        let clean = crate::spec::mount::clean(&path);
        let (parent, name) = match (clean.parent(), clean.file_name()) {
            (Some(parent), Some(name)) => (parent.to_owned(), name.to_owned()),
            _ => (PathBuf::from("/"), OsString::from(".")),
        };
        let dir =
            root.inside(&parent, OFlag::O_RDONLY | OFlag::O_DIRECTORY).context(|| parent.display().to_string())?;
        let kind = match fstatat(&dir, name.as_os_str(), AtFlags::AT_SYMLINK_NOFOLLOW) {
            Err(Errno::ENOENT) => None,
            stat => Some(tree::kind(&stat.context(|| clean.display().to_string())?)),
        };
        if kind != Some(SFlag::S_IFLNK) || !follow {
            return Ok(Found { parent: dir, name, kind });
        }
        // From the link's own place, whatever its parent's path leads to by now.
        path = parent.join(readlinkat(&dir, name.as_os_str()).context(|| clean.display().to_string())?);
    }
    Err(Error::new(format!("{}: too many links", path.display())))
}

/// Copies what `from` names to where `to` says.
pub(crate) fn copy(from: &Side<'_>, to: &Side<'_>, how: How<'_>) -> Result<()> {
    let (path, contents) = contents(from.path);
    let must_be_dir = contents || path.ends_with('/');
    let source = find(from.root, path, how.follow || must_be_dir).context(|| format!("copy from {}", from.path))?;
    let Some(kind) = source.kind else { return Err(Error::new(format!("{}: there is no such file", from.path))) };
    if must_be_dir && kind != SFlag::S_IFDIR {
        return Err(Error::new(format!("{}: it is not a directory", from.path)));
    }
    let target = find(to.root, to.path, true).context(|| format!("copy to {}", to.path))?;
    let name = (!contents && source.name != ".").then_some(source.name.as_os_str());
    let (place, name) = destination(kind, name, target, to.path)?;
    into(&source, place, &name, how.owner).context(|| format!("copy {}", from.path))
}

/// Whether the contents of a directory are meant, and the directory.
fn contents(path: &str) -> (&str, bool) {
    match path.strip_suffix("/.") {
        Some("") => ("/", true),
        Some(dir) => (dir, true),
        None => (path, false),
    }
}

/// The directory that is copied into, and the name that the copy gets there. `name` is none when contents are copied.
fn destination(kind: SFlag, name: Option<&OsStr>, target: Found, path: &str) -> Result<(OwnedFd, OsString)> {
    let is_dir = kind == SFlag::S_IFDIR;
    match (target.kind, name) {
        (Some(SFlag::S_IFDIR), Some(name)) => {
            let dir = tree::open_dir(target.parent.as_fd(), &target.name).context(|| path.to_owned())?;
            Ok((dir, name.to_owned()))
        }
        (Some(SFlag::S_IFDIR), None) => Ok((target.parent, target.name)),
        (Some(_), _) if is_dir => Err(Error::new(format!("{path}: it is a file, and cannot become a directory"))),
        (Some(_), _) if path.ends_with('/') => Err(Error::new(format!("{path}: it is not a directory"))),
        (None, _) if !is_dir && path.ends_with('/') => Err(Error::new(format!("{path}: there is no such directory"))),
        (_, _) => Ok((target.parent, target.name)),
    }
}

fn into(source: &Found, place: OwnedFd, name: &OsStr, owner: Owner<'_>) -> Result<()> {
    if name == "." {
        // The root of the other side: filled, and otherwise left as it is.
        let from = tree::open_dir(source.parent.as_fd(), &source.name).context(|| "open it")?;
        let mut copier = Copier::new(place.as_fd(), &|_| true)?;
        copier.owner = owner;
        return copier.contents(from.as_fd());
    }
    let mut copier = Copier::new(place.as_fd(), &|_| true)?;
    copier.owner = owner;
    if source.name != "." {
        return copier.entry(source.parent.as_fd(), &source.name, place.as_fd(), name);
    }
    match mkdirat(&place, name, Mode::from_bits_truncate(0o755)) {
        Err(Errno::EEXIST) => {}
        made => made.context(|| "mkdir")?,
    }
    let target = tree::open_dir(place.as_fd(), name).context(|| "open the copy")?;
    let mut copier = Copier::new(target.as_fd(), &|_| true)?;
    copier.owner = owner;
    copier.contents(source.parent.as_fd())
}

/// The directory `path`, for an archive to be unpacked into.
pub(crate) fn directory(root: &Root, path: &str) -> Result<OwnedFd> {
    let dir = root.inside(Path::new(path), OFlag::O_RDONLY | OFlag::O_DIRECTORY).context(|| path.to_owned())?;
    fstat(&dir).context(|| path.to_owned())?;
    Ok(dir)
}

#[cfg(test)]
mod tests;
