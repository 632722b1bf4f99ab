//! Reading the whole directory: what the index is built from, and what it is checked against.

use std::ffi::OsString;
use std::fs::{self, FileType};
use std::io;
use std::path::{Path, PathBuf};

use super::{Content, Store, StoreError, UNFINISHED, is_history};
use crate::host_local::addr::Addr;

/// A file of the directory, or of a directory in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The path below the network's directory.
    pub(crate) path: PathBuf,
    pub(crate) content: Content,
    pub(crate) is_dir: bool,
}

impl Entry {
    /// The address that this file keeps from being leased: its name is the canonical spelling, at the top.
    pub(crate) fn occupies(&self) -> Option<Addr> {
        let name = self.path.to_str().filter(|_| self.content != Content::Blank)?;
        Addr::from_lease_name(name)
    }

    /// The address that the file's name spells, wherever it lies and however it is spelled.
    pub(crate) fn names(&self) -> Option<Addr> {
        self.path.file_name().and_then(|name| name.to_str()).and_then(Addr::parse)
    }

    /// Whether the file lies in the network's directory itself.
    pub(crate) fn is_top(&self) -> bool {
        self.path.components().count() == 1
    }
}

impl Store {
    /// Shows every entry to `visit`, in the order of `path`'s text, directories before what is in them.
    ///
    /// Sub-directories are walked, because the Go suite walks them. What can not be read below the top is passed
    /// over; the lock file and the history are not leases and are left out.
    pub(crate) fn scan(&self, visit: &mut dyn FnMut(&Entry)) -> Result<(), StoreError> {
        let fail = |source| StoreError::Io { action: "read directory", path: self.path.clone(), source };
        let mut open = vec![self.list(Path::new("")).map_err(fail)?];
        while let Some(listing) = open.last_mut() {
            let Some((name, kind)) = listing.names.pop() else {
                open.pop();
                continue;
            };
            if kind.is_file() && (name == "lock" || is_history(&name)) {
                continue;
            }
            let path = listing.path.join(&name);
            if name == UNFINISHED && listing.path.as_os_str().is_empty() {
                self.remove(&path)?;
                continue;
            }
            let entry = Entry { content: self.content_of(&path, kind), is_dir: kind.is_dir(), path };
            visit(&entry);
            if entry.is_dir {
                open.extend(self.list(&entry.path));
            }
        }
        Ok(())
    }

    fn content_of(&self, path: &Path, kind: FileType) -> Content {
        let readable =
            kind.is_file() || kind.is_symlink() && fs::metadata(self.path.join(path)).is_ok_and(|m| m.is_file());
        match readable {
            // A file that vanishes now was nobody's lease.
            true => self.read(path).unwrap_or(Content::Blank),
            false => Content::Opaque,
        }
    }

    fn list(&self, path: &Path) -> io::Result<Listing> {
        let mut names = Vec::new();
        for entry in fs::read_dir(self.path.join(path))? {
            let entry = entry?;
            names.push((entry.file_name(), entry.file_type()?));
        }
        // The last is taken first.
        names.sort_unstable_by(|(a, _), (b, _)| b.cmp(a));
        Ok(Listing { path: path.to_owned(), names })
    }
}

/// A directory in the course of being walked.
struct Listing {
    path: PathBuf,
    names: Vec<(OsString, FileType)>,
}
