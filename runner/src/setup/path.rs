//! Looking things up in a root file system that belongs to somebody else.
//!
//! Every look-up starts at one descriptor of the root, is done by the kernel in one `openat2`, and gives a
//! descriptor that is then used as it is. Nothing is looked up a second time, so nothing can be swapped
//! in between, and no link leads out.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path};

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, open, openat, readlinkat};
use nix::sys::stat::{Mode, fstat, mkdirat};
use nix::unistd::{fchdir, getcwd};

use crate::error::{Context, Error, Result};
use crate::within::open_within;

/// Links are followed, but not out of the root, and not those of /proc which lead to open files.
const INSIDE: ResolveFlag = ResolveFlag::RESOLVE_IN_ROOT.union(ResolveFlag::RESOLVE_NO_MAGICLINKS);

/// As many links as the kernel follows in one look-up.
const LINKS: u8 = 40;

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

    /// The file at `path`, opened with `flags`; a symbolic link in any place is refused with `ELOOP`.
    pub(crate) fn open_file(&self, path: &str, flags: OFlag) -> nix::Result<OwnedFd> {
        self.resolve(path, flags, ResolveFlag::RESOLVE_NO_SYMLINKS)
    }

    /// The directory that `path` of the container leads to, links resolved as the container would resolve them. Links of
    /// /proc which lead to open files are refused.
    pub(crate) fn find_dir(&self, path: &Path) -> nix::Result<OwnedFd> {
        let inside = ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS;
        self.lookup(path, OFlag::O_PATH | OFlag::O_DIRECTORY, inside)
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

    /// Whether `path` of the container leads to anything.
    pub(crate) fn exists(&self, path: &Path) -> bool {
        self.lookup(path, OFlag::O_PATH, INSIDE).is_ok()
    }

    /// What `path` of the container leads to, links resolved as the container would resolve them.
    pub(crate) fn inside(&self, path: &Path, flags: OFlag) -> nix::Result<OwnedFd> {
        self.lookup(path, flags, INSIDE)
    }

    /// The directory that `path` of the container leads to, links resolved as the container would resolve them;
    /// missing components are made. Links of /proc which lead to open files are refused.
    pub(crate) fn make_all(&self, path: &Path) -> nix::Result<OwnedFd> {
        self.make_from(path, LINKS)
    }

    /// `links` more dangling ones may be followed.
    fn make_from(&self, path: &Path, links: u8) -> nix::Result<OwnedFd> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
        let mut sofar = Path::new("/").to_path_buf();
        let mut here = self.lookup(&sofar, flags, INSIDE)?;
        for component in path.components().filter(|c| !matches!(c, Component::RootDir | Component::CurDir)) {
            let name = Path::new(component.as_os_str());
            sofar.push(component);
            here = match self.lookup(&sofar, flags, INSIDE) {
                Err(Errno::ENOENT) => match mkdirat(&here, name, Mode::from_bits_truncate(0o755)) {
                    // A link to a directory that is not there yet.
                    Err(Errno::EEXIST) if links > 0 => match readlinkat(&here, name) {
                        // It was one; by now there is something else.
                        Err(Errno::EINVAL) => self.lookup(&sofar, flags, INSIDE)?,
                        target => {
                            let place = sofar.parent().unwrap_or(Path::new("/"));
                            self.make_from(&place.join(target?), links - 1)?
                        }
                    },
                    Err(errno) => return Err(errno),
                    Ok(()) => self.lookup(&sofar, flags, INSIDE)?,
                },
                found => found?,
            };
        }
        Ok(here)
    }

    /// What `path` of the container leads to, to be mounted on: a directory or a file, made if it is missing.
    pub(crate) fn target(&self, path: &Path, is_dir: bool) -> Result<OwnedFd> {
        let found = if is_dir { self.make_all(path) } else { self.make_file(path) };
        let target = found.map_err(|errno| match errno {
            Errno::ELOOP => Error::new("the target leads through a link to an open file or through too many links"),
            Errno::ENOTDIR => {
                Error::new("the target, or something on the way to it, is a file, where a directory is needed")
            }
            Errno::EROFS => Error::new("the target does not exist, and cannot be made on a read-only file system"),
            errno => Error::new(format!("find or make the target: {}", errno.desc())),
        })?;
        let there = fstat(&target).context(|| "look at the target")?.st_mode & nix::libc::S_IFMT == nix::libc::S_IFDIR;
        if there && !is_dir {
            return Err(Error::new("the target is a directory, and the source is a file"));
        }
        Ok(target)
    }

    fn make_file(&self, path: &Path) -> nix::Result<OwnedFd> {
        match self.lookup(path, OFlag::O_PATH, INSIDE) {
            Err(Errno::ENOENT) => {}
            found => return found,
        }
        let parent = self.make_all(path.parent().unwrap_or(Path::new("/")))?;
        let name = path.file_name().ok_or(Errno::EISDIR)?;
        let flags = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_WRONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        match openat(&parent, name, flags, Mode::from_bits_truncate(0o644)) {
            // It came into being meanwhile, or it is a dangling link.
            Ok(_) | Err(Errno::EEXIST) => self.lookup(path, OFlag::O_PATH, INSIDE),
            Err(errno) => Err(errno),
        }
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
        open_within(&self.0, path, OpenHow::new().flags(flags | OFlag::O_CLOEXEC).resolve(how))
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

/// Makes `found`, which a look-up in the container's root has given, the working directory. One that was reached through an
/// open descriptor could be the host's: such links are refused, and the kernel must say afterwards that we are inside.
pub(crate) fn go_to(found: nix::Result<OwnedFd>) -> Result<()> {
    let dir = found.map_err(|errno| match errno {
        Errno::ELOOP => Error::new("it leads through a link to an open file or through too many links"),
        errno => Error::new(errno.desc()),
    })?;
    fchdir(&dir).context(|| "chdir")?;
    match getcwd() {
        Ok(cwd) if cwd.starts_with("/") => Ok(()),
        _ => Err(Error::new("it is outside of the container's root")),
    }
}

/// Makes the directory `name` under `parent`; it must not exist.
pub(crate) fn mkdir(parent: impl AsFd, name: &str, mode: u32) -> Result<()> {
    mkdirat(parent, name, Mode::from_bits_truncate(mode)).context(|| format!("mkdir {name}"))
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::symlink;
    use std::sync::atomic::{AtomicBool, Ordering};

    use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};

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
        // The link's target exists outside only, so inside it is dangling, and it is made inside.
        root.make_all(Path::new("/out/x")).unwrap();
        assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
        let made = dir.path().join(outside.path().strip_prefix("/").unwrap());
        assert!(made.join("x").is_dir());
        symlink("circle", dir.path().join("circle")).unwrap();
        assert_eq!(root.make_all(Path::new("/circle/x")).unwrap_err(), Errno::ELOOP);
        root.make_all(Path::new("/a/../b/c")).unwrap();
        assert!(dir.path().join("b/c").is_dir());
    }

    #[test]
    fn links_to_open_files_are_refused() {
        let root = Root::open(Path::new("/")).unwrap();
        assert_eq!(root.make_all(Path::new("/proc/self/fd/0")).unwrap_err(), Errno::ELOOP);
        assert_eq!(root.make_all(Path::new("/proc/self/cwd")).unwrap_err(), Errno::ELOOP);
    }

    /// What is found while somebody swaps a directory for a link all the time is inside, and nothing comes into being outside.
    ///
    /// Requirement: P-6, P-10.
    #[test]
    fn a_racer_leads_no_look_up_out() {
        let (dir, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        std::fs::create_dir(&a).unwrap();
        // Without `..`, which takes a look-up many attempts while somebody renames things.
        symlink(outside.path(), &b).unwrap();
        let root = Root::open(dir.path()).unwrap();
        let done = AtomicBool::new(false);
        let (mut seen, mut led_out) = ([0_usize; 2], None);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    renameat2(AT_FDCWD, &a, AT_FDCWD, &b, RenameFlags::RENAME_EXCHANGE).unwrap();
                    // A lock that is taken again at once is nobody else's for long.
                    std::thread::sleep(std::time::Duration::from_micros(1));
                }
            });
            // Both ways are met, however slowly the other thread gets on.
            for round in 0..20_000 {
                if round >= 500 && seen.iter().all(|times| *times > 20) {
                    break;
                }
                let path = format!("/a/deep{}/er", round % 100);
                // What is swapped at the wrong moment may be refused.
                let Ok(target) = root.target(Path::new(&path), round % 2 == 0) else { continue };
                let place = std::fs::read_link(format!("/proc/self/fd/{}", target.as_raw_fd())).unwrap();
                if !place.starts_with(dir.path()) {
                    led_out = Some(place.clone());
                }
                seen[usize::from(place.starts_with(&a) || place.starts_with(&b))] += 1;
                if round % 100 == 99 {
                    drop(std::fs::remove_dir_all(dir.path().join(outside.path().strip_prefix("/").unwrap())));
                }
            }
            done.store(true, Ordering::Relaxed);
        });
        assert_eq!(led_out, None);
        assert!(seen.iter().all(|times| *times > 20), "the race was never on: {seen:?}");
        assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
    }
}
