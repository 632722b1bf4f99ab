//! Looking things up in a root file system that belongs to somebody else.
//!
//! Every look-up starts at one descriptor of the root, is done by the kernel in one `openat2`, and gives a
//! descriptor that is then used as it is. Nothing is looked up a second time, so nothing can be swapped
//! in between, and no link leads out.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::{Component, Path};

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, open, openat2};
use nix::sys::stat::{Mode, mkdirat};

use crate::error::{Context, Error, Result};

/// A root directory and the ways to find things under it.
#[derive(Debug)]
pub(crate) struct Root(OwnedFd);

impl Root {
    /// The root at `path` of the host, which may be reached by links: the caller chose it.
    pub(crate) fn open(path: &Path) -> nix::Result<Self> {
        open(path, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty()).map(Self)
    }

    /// The file or directory itself at `path`, which is relative to the root; a symbolic link in any place is
    /// refused with `ELOOP`. For mount targets and for files that are to be replaced.
    pub(crate) fn find(&self, path: &str) -> nix::Result<OwnedFd> {
        self.resolve(path, OFlag::O_PATH, ResolveFlag::RESOLVE_NO_SYMLINKS)
    }

    /// The directory `path` as a mount target; made when it is missing. Anything else at its place is refused.
    pub(crate) fn mount_point(&self, path: &str) -> Result<OwnedFd> {
        let refused = |errno: Errno| match errno {
            Errno::ELOOP => {
                Error::new(format!("/{path} of the root file system is a symbolic link; refusing to mount there"))
            }
            Errno::ENOTDIR => Error::new(format!("/{path} of the root file system is not a directory")),
            errno => Error::new(format!("open /{path} of the root file system: {}", errno.desc())),
        };
        let open = || {
            let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
            self.resolve(path, flags, ResolveFlag::RESOLVE_NO_SYMLINKS)
        };
        match open() {
            Err(Errno::ENOENT) => self.make(path).and_then(|()| open()),
            found => found,
        }
        .map_err(refused)
    }

    /// The directory that `path` of the container leads to, links resolved as the container would resolve them;
    /// missing components are made. Links of /proc which lead to open files are refused.
    pub(crate) fn make_all(&self, path: &Path) -> nix::Result<OwnedFd> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
        let inside = ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS;
        let mut sofar = Path::new("/").to_path_buf();
        let mut here = self.lookup(&sofar, flags, inside)?;
        for component in path.components().filter(|c| !matches!(c, Component::RootDir | Component::CurDir)) {
            sofar.push(component);
            here = match self.lookup(&sofar, flags, inside) {
                Err(Errno::ENOENT) => {
                    mkdirat(&here, Path::new(component.as_os_str()), Mode::from_bits_truncate(0o755))?;
                    self.lookup(&sofar, flags, inside)?
                }
                found => found?,
            };
        }
        Ok(here)
    }

    fn make(&self, path: &str) -> nix::Result<()> {
        let (parent, name) = path.rsplit_once('/').unwrap_or((".", path));
        let parent = self.find(parent)?;
        mkdirat(&parent, name, Mode::from_bits_truncate(0o755))
    }

    fn resolve(&self, path: &str, flags: OFlag, how: ResolveFlag) -> nix::Result<OwnedFd> {
        self.lookup(Path::new(path), flags, how | ResolveFlag::RESOLVE_BENEATH)
    }

    fn lookup(&self, path: &Path, flags: OFlag, how: ResolveFlag) -> nix::Result<OwnedFd> {
        openat2(&self.0, path, OpenHow::new().flags(flags | OFlag::O_CLOEXEC).resolve(how))
    }
}

impl Root {
    /// The number of the descriptor, for /proc/self/fd.
    pub(crate) fn number(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl From<OwnedFd> for Root {
    fn from(fd: OwnedFd) -> Self {
        Self(fd)
    }
}

impl AsFd for Root {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Makes the directory `name` under `parent`; it must not exist.
pub(crate) fn mkdir(parent: impl AsFd, name: &str, mode: u32) -> Result<()> {
    mkdirat(parent, name, Mode::from_bits_truncate(mode)).context(|| format!("mkdir {name}"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_are_refused_as_mount_points() {
        let dir = tempfile::tempdir().unwrap();
        symlink("/tmp", dir.path().join("dev")).unwrap();
        std::fs::write(dir.path().join("proc"), "").unwrap();
        let root = Root::open(dir.path()).unwrap();
        assert!(root.mount_point("dev").unwrap_err().message.contains("symbolic link"));
        assert!(root.mount_point("proc").unwrap_err().message.contains("not a directory"));
        root.mount_point("sys").unwrap();
        assert!(dir.path().join("sys").is_dir());
    }

    #[test]
    fn a_working_directory_is_made_inside_whatever_links_say() {
        let dir = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        symlink(outside.path(), dir.path().join("out")).unwrap();
        let root = Root::open(dir.path()).unwrap();
        // The link's target exists outside only, so inside it is dangling.
        assert!(root.make_all(Path::new("/out/x")).is_err());
        assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
        root.make_all(Path::new("/a/../b/c")).unwrap();
        assert!(dir.path().join("b/c").is_dir());
    }

    #[test]
    fn links_to_open_files_are_refused() {
        let root = Root::open(Path::new("/")).unwrap();
        assert_eq!(root.make_all(Path::new("/proc/self/fd/0")).unwrap_err(), Errno::ELOOP);
        assert_eq!(root.make_all(Path::new("/proc/self/cwd")).unwrap_err(), Errno::ELOOP);
    }
}
