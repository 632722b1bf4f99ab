//! Whiteouts: what a layer says about the layers below.

use std::collections::BTreeSet;
use std::ffi::{CStr, OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;

use nix::sys::stat::{Mode, SFlag, makedev, mknodat};

use crate::error::{Context, Error, Result};
use crate::image::tar::Shown;
use crate::sys;
use crate::sys::ns::in_initial_user;

use super::{Layer, place};

const PREFIX: &[u8] = b".wh.";
const METADATA: &[u8] = b".wh..wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";

/// What a name says.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Mark {
    /// There is no such name any more.
    Gone(OsString),
    /// Nothing of the directory below shows.
    Opaque,
}

/// All marks of a layer, each with its directory.
#[derive(Debug, Default)]
pub(super) struct Whiteouts(BTreeSet<(Vec<OsString>, Mark)>);

impl Whiteouts {
    pub(super) fn add(&mut self, dir: &[OsString], mark: Mark) -> Result<()> {
        self.0.insert((dir.to_vec(), mark));
        Ok(())
    }
}

/// Whether a path belongs to what AUFS keeps for itself (`.wh..wh.plnk`, `.wh..wh.aufs`, ...), which is nobody's file.
pub(super) fn is_metadata(path: &[OsString]) -> bool {
    path.iter().any(|name| name.as_bytes().starts_with(METADATA) && name.as_bytes() != OPAQUE)
}

/// Refuses paths that lead through a whiteout.
pub(super) fn check_parents(parents: &[OsString]) -> Result<()> {
    match parents.iter().any(|name| name.as_bytes().starts_with(PREFIX)) {
        true => Err(Error::new("the path leads through a whiteout")),
        false => Ok(()),
    }
}

/// What `name` marks, if it is a mark at all.
pub(super) fn parse(name: &OsStr) -> Result<Option<Mark>> {
    let bytes = name.as_bytes();
    if bytes == OPAQUE {
        return Ok(Some(Mark::Opaque));
    }
    match bytes.strip_prefix(PREFIX) {
        None => Ok(None),
        Some(b"" | b"." | b"..") => Err(Error::new("a whiteout of nothing, or of a directory that it is in")),
        Some(hidden) => Ok(Some(Mark::Gone(OsStr::from_bytes(hidden).to_owned()))),
    }
}

impl Layer<'_> {
    /// Makes the marks, now that the layer's own files are there. A name that this layer has, too, is not gone: a
    /// directory hides what is below it, and anything else does so by itself.
    pub(super) fn apply(&mut self, whiteouts: Whiteouts) -> Result<()> {
        for (dir, mark) in whiteouts.0 {
            let failed = || format!("the whiteout in {:?}", dir.join(OsStr::new("/")));
            let parent = self.parent(&dir).context(failed)?;
            match mark {
                Mark::Opaque => self.make_opaque(parent.as_fd()).context(failed)?,
                Mark::Gone(name) => self.hide(parent.as_fd(), &name).context(failed)?,
            }
            self.last = Some((dir, parent));
        }
        Ok(())
    }

    fn hide(&self, parent: BorrowedFd<'_>, name: &OsStr) -> Result<()> {
        let shown = Shown(name.as_bytes());
        match place::stat(parent, name)? {
            None => mknodat(parent, name, SFlag::S_IFCHR, Mode::empty(), makedev(0, 0))
                .context(|| format!("make the whiteout of {shown}")),
            Some(stat) if place::is_dir(&stat) => match place::open_dir(parent, name)? {
                Some(dir) => self.make_opaque(dir.as_fd()),
                None => Ok(()),
            },
            Some(_) => Ok(()),
        }
    }

    fn make_opaque(&self, dir: BorrowedFd<'_>) -> Result<()> {
        // Without privileges overlays are mounted with "userxattr", and read the other name.
        let name: &CStr =
            if in_initial_user() && self.privileged { c"trusted.overlay.opaque" } else { c"user.overlay.opaque" };
        sys::xattr::set(dir, name, b"y").context(|| "make the directory opaque")
    }
}
