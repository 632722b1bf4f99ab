//! Looking at one name in one directory, without following it anywhere.

use std::ffi::OsStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::{fs, io};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstatat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use crate::error::{Context, Error, Result};
use crate::image::tar::Shown;

/// What is called `name` in `parent`; nothing if there is no such name.
pub(super) fn stat(parent: BorrowedFd<'_>, name: &OsStr) -> Result<Option<FileStat>> {
    match fstatat(parent, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
        Err(Errno::ENOENT) => Ok(None),
        found => found.map(Some).context(|| format!("look at {}", Shown(name.as_bytes()))),
    }
}

/// The type bits of a mode.
fn kind(stat: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT
}

/// Whether it is a directory itself.
pub(super) fn is_dir(stat: &FileStat) -> bool {
    kind(stat) == SFlag::S_IFDIR
}

/// The directory `name` of `parent`; nothing if there is no such name. Whatever else has the name is refused.
pub(super) fn open_dir(parent: BorrowedFd<'_>, name: &OsStr) -> Result<Option<OwnedFd>> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let shown = Shown(name.as_bytes());
    match openat(parent, name, flags, Mode::empty()) {
        Err(Errno::ENOENT) => Ok(None),
        Err(Errno::ELOOP | Errno::ENOTDIR) => Err(match stat(parent, name)? {
            Some(stat) if kind(&stat) == SFlag::S_IFLNK => {
                Error::new(format!("{shown} on the way is a symbolic link, which could lead out of the layer"))
            }
            _ => Error::new(format!("{shown} on the way is not a directory")),
        }),
        opened => opened.map(Some).context(|| format!("open {shown}")),
    }
}

/// Removes whatever is called `name`, with all that is in it.
pub(super) fn remove(parent: BorrowedFd<'_>, name: &OsStr) -> io::Result<()> {
    match unlinkat(parent, name, UnlinkatFlags::NoRemoveDir) {
        Err(Errno::EISDIR | Errno::EPERM) => {}
        done => return Ok(done?),
    }
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let dir = openat(parent, name, flags, Mode::empty())?;
    for entry in fs::read_dir(format!("/proc/self/fd/{}", dir.as_raw_fd()))? {
        remove(dir.as_fd(), &entry?.file_name())?;
    }
    Ok(unlinkat(parent, name, UnlinkatFlags::RemoveDir)?)
}
