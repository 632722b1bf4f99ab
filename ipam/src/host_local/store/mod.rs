//! The directory of a network: the truth about its leases, in the Go suite's layout.
//!
//! ```text
//! lock                   empty; whoever changes or reads the directory holds flock(LOCK_EX) on it
//! 10.1.0.2               one file a lease, named by the address; content: container id CR LF interface
//! last_reserved_ip.<n>   the address that range set n gave out last
//! ```
//!
//! A file's existence is the lease, so creating it has to be exclusive, and nobody may ever see it without its
//! content. The content therefore goes into a file without a name, which then is linked to the name of the
//! address: `link` fails if the name exists, and a process that dies before it leaves nothing behind.
//! A lease file without content was left by a writer of the other kind, killed between creating and writing; the
//! lock tells that no writer is at work, so it counts as free.
//!
//! Nothing here is synced to disk. A lease that a power failure takes away is an absent lease of a container that
//! the same failure ended; a lease whose content it takes away is an empty file, which counts as absent.

mod scan;
mod stamp;
#[cfg(test)]
mod tests;

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, open, openat};
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, linkat, unlinkat};
use thiserror::Error;

use super::addr::Addr;
use super::lock::{Lock, LockError};
pub(crate) use scan::Entry;
pub(crate) use stamp::{Stamp, random};

const HISTORY: &str = "last_reserved_ip.";
/// What a file system without unnamed files needs while a lease is written. Found under the lock, it is a leftover.
const UNFINISHED: &str = ".lease.new";
/// A container id comes out of an environment variable, which the kernel limits to 128 KiB.
const MAX_CONTENT: usize = 256 << 10;

/// Why the directory could not be used.
#[derive(Debug, Error)]
pub(crate) enum StoreError {
    #[error("cannot {action} {path}: {}", reason(source), path = path.display())]
    Io { action: &'static str, path: PathBuf, source: io::Error },
    #[error(transparent)]
    Lock(#[from] LockError),
}

/// The kernel's sentence for an error, written as in the middle of a sentence.
pub(crate) fn reason(error: &io::Error) -> String {
    let text = error.raw_os_error().map_or_else(|| error.to_string(), |code| Errno::from_raw(code).desc().to_owned());
    let second_is_lower = text.chars().nth(1).is_some_and(char::is_lowercase);
    let mut chars = text.chars();
    match chars.next() {
        Some(first) if second_is_lower => std::iter::once(first.to_ascii_lowercase()).chain(chars).collect(),
        _ => text,
    }
}

/// What a file of the directory holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Content {
    /// Nothing, or nothing but white space and NUL bytes.
    Blank,
    /// Text, without the white space around it.
    Text(String),
    /// Not a file, not readable, too long, or not text.
    Opaque,
}

impl Content {
    fn from_bytes(bytes: &[u8]) -> Self {
        match str::from_utf8(bytes).map(str::trim) {
            Ok(text) if text.bytes().all(|byte| byte == 0) => Self::Blank,
            Ok(text) if bytes.len() <= MAX_CONTENT => Self::Text(text.to_owned()),
            _ => Self::Opaque,
        }
    }
}

/// What came of an attempt to create a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Creation {
    Done,
    /// There is a lease on this address.
    Taken,
}

/// The directory of one network, locked.
#[derive(Debug)]
pub(crate) struct Store {
    path: PathBuf,
    dir: File,
    unnamed_files: bool,
    _lock: Lock,
}

impl Store {
    /// Creates the directory if need be, and locks it.
    pub(crate) fn open(path: &Path, wait: Duration) -> Result<Self, StoreError> {
        let fail = |action| move |source| StoreError::Io { action, path: path.to_owned(), source };
        DirBuilder::new().recursive(true).mode(0o755).create(path).map_err(fail("create directory"))?;
        let lock = Lock::acquire(&path.join("lock"), wait)?;
        let dir = File::open(path).map_err(fail("open directory"))?;
        Ok(Self { path: path.to_owned(), dir, unnamed_files: true, _lock: lock })
    }

    /// Reads the lease on an address; `None` if there is no such file.
    pub(crate) fn lease(&self, addr: Addr) -> Option<Content> {
        self.read(Path::new(&addr.to_string()))
    }

    /// Creates the lease on an address, unless there is one.
    pub(crate) fn create(&self, addr: Addr, content: &str) -> Result<Creation, StoreError> {
        let name = addr.to_string();
        for _ in 0..3 {
            match self.publish(&name, content) {
                Ok(()) => return Ok(Creation::Done),
                Err(Errno::EEXIST) => {}
                Err(errno) => return Err(self.failed("create lease file", Path::new(&name), errno)),
            }
            match self.lease(addr) {
                None => {}
                Some(Content::Blank) => {
                    self.remove(Path::new(&name))?;
                }
                Some(_) => break,
            }
        }
        Ok(Creation::Taken)
    }

    /// Removes a file; says whether there was one.
    pub(crate) fn remove(&self, name: &Path) -> Result<bool, StoreError> {
        match unlinkat(&self.dir, name, UnlinkatFlags::NoRemoveDir) {
            Ok(()) => Ok(true),
            Err(Errno::ENOENT) => Ok(false),
            Err(errno) => Err(self.failed("remove", name, errno)),
        }
    }

    /// The address that a range set gave out last, if it is known.
    pub(crate) fn last_reserved(&self, set: usize) -> Option<Addr> {
        let bytes = self.read_bytes(Path::new(&history_name(set))).ok()?;
        str::from_utf8(&bytes).ok().and_then(Addr::parse)
    }

    /// Records the address that a range set gave out last.
    ///
    /// The text is written over the old one, and the file is cut to its length before, if it was longer. A process
    /// killed in between leaves the beginning of the old text, or nothing: the next search then starts elsewhere in
    /// the range, which costs the rotation and no more.
    pub(crate) fn set_last_reserved(&self, set: usize, addr: Addr) -> Result<(), StoreError> {
        let name = history_name(set);
        self.write_history(&name, addr.to_string().as_bytes()).map_err(|source| StoreError::Io {
            action: "write",
            path: self.path.join(&name),
            source,
        })
    }

    fn write_history(&self, name: &str, text: &[u8]) -> io::Result<()> {
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_CLOEXEC;
        let file = File::from(openat(&self.dir, name, flags, Mode::S_IRUSR | Mode::S_IWUSR)?);
        if file.metadata()?.len() > text.len() as u64 {
            file.set_len(text.len() as u64)?;
        }
        file.write_all_at(text, 0)
    }

    /// Gives content a name, all at once.
    fn publish(&self, name: &str, content: &str) -> Result<(), Errno> {
        if self.unnamed_files {
            let flags = OFlag::O_TMPFILE | OFlag::O_WRONLY | OFlag::O_CLOEXEC;
            match openat(&self.dir, ".", flags, Mode::S_IRUSR | Mode::S_IWUSR) {
                Ok(fd) => return self.publish_unnamed(File::from(fd), name, content),
                // No unnamed files on this file system, or in this kernel.
                Err(Errno::EOPNOTSUPP | Errno::EISDIR | Errno::EINVAL | Errno::ENOENT) => {}
                Err(errno) => return Err(errno),
            }
        }
        self.publish_renamed(name, content)
    }

    fn publish_unnamed(&self, mut file: File, name: &str, content: &str) -> Result<(), Errno> {
        file.write_all(content.as_bytes()).map_err(errno_of)?;
        match linkat(&file, "", &self.dir, name, AtFlags::AT_EMPTY_PATH) {
            // Without CAP_DAC_READ_SEARCH the descriptor itself cannot be linked, but its name in /proc can.
            Err(Errno::ENOENT | Errno::EPERM) => {
                let path = format!("/proc/self/fd/{}", file.as_raw_fd());
                linkat(AT_FDCWD, path.as_str(), &self.dir, name, AtFlags::AT_SYMLINK_FOLLOW)
            }
            done => done,
        }
    }

    fn publish_renamed(&self, name: &str, content: &str) -> Result<(), Errno> {
        let flags = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_WRONLY | OFlag::O_CLOEXEC;
        let _ = unlinkat(&self.dir, UNFINISHED, UnlinkatFlags::NoRemoveDir);
        let mut file = File::from(openat(&self.dir, UNFINISHED, flags, Mode::S_IRUSR | Mode::S_IWUSR)?);
        let written = file.write_all(content.as_bytes()).map_err(errno_of);
        let linked = written.and_then(|()| linkat(&self.dir, UNFINISHED, &self.dir, name, AtFlags::empty()));
        let _ = unlinkat(&self.dir, UNFINISHED, UnlinkatFlags::NoRemoveDir);
        linked
    }

    /// Reads a file below the directory; `None` if there is no such file.
    fn read(&self, name: &Path) -> Option<Content> {
        match self.read_bytes(name) {
            Ok(bytes) => Some(Content::from_bytes(&bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(_) => Some(Content::Opaque),
        }
    }

    fn read_bytes(&self, name: &Path) -> io::Result<Vec<u8>> {
        // A pipe must not block us, and a terminal must not become ours.
        let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
        let mut file = File::from(openat(&self.dir, name, flags, Mode::empty())?);
        let mut bytes = vec![0; 512];
        let n = file.read(&mut bytes)?;
        bytes.truncate(n);
        // A regular file reads short only at its end, and so one read nearly always is all.
        if n == 512 {
            file.take(MAX_CONTENT as u64).read_to_end(&mut bytes)?;
        }
        Ok(bytes)
    }

    fn failed(&self, action: &'static str, name: &Path, errno: Errno) -> StoreError {
        StoreError::Io { action, path: self.path.join(name), source: errno.into() }
    }
}

/// Whether leases could be created under this path: it, or the nearest directory above it that exists, must let a
/// file be written. The file has no name where the file system allows that, so the question leaves no trace.
pub(crate) fn probe(path: &Path) -> Result<(), StoreError> {
    let nearest = path.ancestors().find(|dir| dir.symlink_metadata().is_ok()).unwrap_or(Path::new("."));
    let mode = Mode::S_IRUSR | Mode::S_IWUSR;
    let tried = match open(nearest, OFlag::O_TMPFILE | OFlag::O_WRONLY | OFlag::O_CLOEXEC, mode) {
        Ok(fd) => File::from(fd).write_all(b"?"),
        Err(Errno::EOPNOTSUPP | Errno::EISDIR | Errno::EINVAL) => {
            let named = nearest.join(format!(".lease.probe.{}", std::process::id()));
            let written = fs::write(&named, "?");
            drop(fs::remove_file(&named));
            written
        }
        Err(errno) => Err(errno.into()),
    };
    tried.map_err(|source| StoreError::Io { action: "create lease files in", path: nearest.to_owned(), source })
}

fn history_name(set: usize) -> String {
    format!("{HISTORY}{set}")
}

fn is_history(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(HISTORY.as_bytes())
}

fn errno_of(error: io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}
