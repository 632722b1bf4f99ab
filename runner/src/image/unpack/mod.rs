//! From a layer's tar to a layer's directory, when the tar cannot be trusted.
//!
//! Everything is made relative to descriptors of directories that are known to be inside. A path is walked one component
//! at a time, each opened without following links, so neither `..` nor a link that the archive has planted, nor one that
//! somebody swaps in meanwhile, leads anywhere else. A leading slash means the layer's root. What would have to go
//! through a link is refused; so is everything that has no meaning in a layer.
//!
//! Whiteouts (`.wh.NAME`, `.wh..wh..opq`) speak about the layers below, never about this one, so they are collected and
//! applied at the end, which makes their place in the archive irrelevant. They become what an overlay understands: a
//! character device 0:0, or the attribute `overlay.opaque` on a directory. Nothing in the archive can write these
//! itself: attributes of overlays are dropped, a device 0:0 is refused.
//!
//! A directory that is needed but has no entry gets owner and mode from the layers below, as it is the same directory.

mod entry;
pub(crate) mod lost;
mod place;
mod whiteout;

#[cfg(test)]
mod evil;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use nix::sys::stat::{UtimensatFlags, utimensat};
use nix::sys::time::TimeSpec;

use crate::error::{Context, Error, Result};

use super::limits::{Limits, PATH};
use super::tar::{Archive, Entry, Kind, Shown};

use whiteout::Whiteouts;

/// A layer in the making.
#[derive(Debug)]
struct Layer<'a> {
    root: OwnedFd,
    /// The finished layers below, the topmost first.
    below: &'a [OwnedFd],
    limits: Limits,
    entries: u64,
    size: u64,
    whiteouts: Whiteouts,
    /// Times of directories: what is put into them later would change them.
    times: BTreeMap<PathBuf, (i64, i64)>,
    /// The directory in which the last entry was; the next one is often there, too.
    last: Option<(Vec<OsString>, OwnedFd)>,
    /// Whether owners, devices and the overlay's own attributes can be set.
    privileged: bool,
}

/// Unpacks the archive `tar` into the empty directory `root`, above the layers `below`, the topmost first. Reads `tar`
/// to its end, and gives the number of bytes in files.
pub(super) fn unpack(tar: impl Read, root: OwnedFd, below: &[OwnedFd], limits: Limits) -> Result<u64> {
    let mut layer = Layer {
        root,
        below,
        limits,
        entries: 0,
        size: 0,
        whiteouts: Whiteouts::default(),
        times: BTreeMap::new(),
        last: None,
        privileged: nix::unistd::geteuid().is_root(),
    };
    layer.adopt_root()?;
    let mut archive = Archive::new(tar);
    while let Some(entry) = archive.next()? {
        layer.add(&entry, &mut archive)?;
    }
    archive.drain()?;
    layer.finish()
}

impl Layer<'_> {
    fn add(&mut self, entry: &Entry, data: &mut impl Read) -> Result<()> {
        self.count(entry)?;
        let path = components(&entry.path)?;
        self.limits.check_depth(path.len()).context(|| entry.shown())?;
        let Some((name, parents)) = path.split_last() else {
            return self.root_entry(entry);
        };
        if whiteout::is_metadata(&path) {
            return Ok(());
        }
        whiteout::check_parents(parents).context(|| entry.shown())?;
        if let Some(mark) = whiteout::parse(name).context(|| entry.shown())? {
            return self.whiteouts.add(parents, mark);
        }
        let parent = self.parent(parents).context(|| format!("unpack {}", entry.shown()))?;
        let made = self.make(entry, parent.as_fd(), name, &path, data);
        self.last = Some((parents.to_vec(), parent));
        made.context(|| format!("unpack {}", entry.shown()))
    }

    /// Counts before anything is made.
    fn count(&mut self, entry: &Entry) -> Result<()> {
        self.entries += 1;
        self.size = self.size.saturating_add(entry.size);
        self.limits.check_entries(self.entries)?;
        self.limits.check_size(self.size).context(|| entry.shown())
    }

    /// An entry for the layer's root itself.
    fn root_entry(&mut self, entry: &Entry) -> Result<()> {
        if entry.kind != Kind::Directory {
            return Err(Error::new(format!("{} is the root of the layer, and not a directory", entry.shown())));
        }
        let root = self.root.try_clone().context(|| "the layer's root")?;
        self.dress(entry, root.as_fd()).context(|| "the layer's root")?;
        self.times.insert(PathBuf::new(), entry.mtime);
        Ok(())
    }

    /// The directory of these components; those without an entry so far are made.
    fn parent(&mut self, parents: &[OsString]) -> Result<OwnedFd> {
        let (mut here, done) = match self.last.take() {
            Some((path, fd)) if parents.starts_with(&path) => (fd, path.len()),
            _ => (self.root.try_clone().context(|| "the layer's root")?, 0),
        };
        for (at, name) in parents.iter().enumerate().skip(done) {
            here = match place::open_dir(here.as_fd(), name)? {
                Some(fd) => fd,
                None => self.implied(here.as_fd(), parents.get(..=at).unwrap_or_default())?,
            };
        }
        Ok(here)
    }

    fn finish(mut self) -> Result<u64> {
        self.last = None;
        let whiteouts = std::mem::take(&mut self.whiteouts);
        self.apply(whiteouts)?;
        // The deepest first.
        for (path, mtime) in std::mem::take(&mut self.times).into_iter().rev() {
            let names: Vec<OsString> = path.iter().map(OsStr::to_owned).collect();
            // A directory that a later entry has replaced by something else has no time to be set any more.
            if let Some(dir) = self.find(&names)? {
                set_time(dir.as_fd(), OsStr::new("."), mtime).context(|| format!("the time of {}", path.display()))?;
            }
        }
        Ok(self.size)
    }

    /// The directory of these components, if it is there.
    fn find(&self, path: &[OsString]) -> Result<Option<OwnedFd>> {
        let mut here = self.root.try_clone().context(|| "the layer's root")?;
        for name in path {
            match place::stat(here.as_fd(), name)? {
                Some(stat) if place::is_dir(&stat) => match place::open_dir(here.as_fd(), name)? {
                    Some(fd) => here = fd,
                    None => return Ok(None),
                },
                _ => return Ok(None),
            }
        }
        Ok(Some(here))
    }
}

/// The names of which a path consists; none for the root itself.
fn components(path: &[u8]) -> Result<Vec<OsString>> {
    let refuse = |why: &str| Error::new(format!("{}: {why}", Shown(path)));
    if path.is_empty() || path.contains(&0) || path.len() > PATH {
        return Err(refuse("a path has 1 to 4096 bytes, and no NUL"));
    }
    let names = path.split(|b| *b == b'/').filter(|name| !matches!(*name, b"" | b"."));
    let names: Vec<OsString> = names.map(|name| OsStr::from_bytes(name).to_owned()).collect();
    if names.iter().any(|name| name == "..") {
        return Err(refuse("\"..\" could lead out of the layer"));
    }
    Ok(names)
}

fn set_time(dir: BorrowedFd<'_>, name: &OsStr, mtime: (i64, i64)) -> nix::Result<()> {
    let time = TimeSpec::new(mtime.0, mtime.1);
    utimensat(dir, name, &time, &time, UtimensatFlags::NoFollowSymlink)
}
