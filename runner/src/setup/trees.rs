//! What is mounted into the container, made before it is attached anywhere.
//!
//! The root file system and the sources of all mounts are opened while the host's mounts are still what they are, as detached
//! trees that have their flags already. A source is looked up once, so what was checked is what is mounted, and a
//! read-only mount is never writable for a moment.
//!
//! Without a user namespace the container's first process does this itself. With one, its parent does, which is still root:
//! the layers, the volumes and the mounts with `idmap` are translated by the container's user namespace, so that the ids on the
//! disk are those seen inside, whatever range the container was given this time.

use std::fs;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::libc;
use nix::sys::stat::Mode;

use crate::error::{Context, Error, Result};
use crate::spec::{self, Mount, Propagation, Rootfs, Source, Storage};
use crate::storage::overlay::Stack;
use crate::storage::{Place, hostview, tree};
use crate::sys;
use crate::sys::mount::{Change, attr};
use crate::{userns, volume};

/// The root file system, and what belongs into it from the start.
#[derive(Debug)]
pub(crate) struct RootTree {
    /// To be attached first.
    pub(crate) root: OwnedFd,
    /// Directories of it that are trees of their own.
    pub(crate) below: Vec<(String, OwnedFd)>,
    /// Keeps the lower layer from being removed until it is mounted.
    _layer: Option<hostview::Layer>,
}

impl RootTree {
    /// One that was made by another process, which has mounted it already.
    pub(crate) fn given(root: OwnedFd, below: Vec<(String, OwnedFd)>) -> Self {
        Self { root, below, _layer: None }
    }
}

/// The source of one mount.
#[derive(Debug)]
pub(crate) struct Tree {
    /// To be attached.
    pub(crate) mount: OwnedFd,
    /// A new volume, to be filled with what is at the target.
    pub(crate) fill: Option<OwnedFd>,
}

/// Makes trees for one container.
#[derive(Debug, Clone)]
pub(crate) struct Maker<'a> {
    pub(crate) root: &'a spec::Root,
    /// The data directory.
    pub(crate) data: &'a Path,
    /// Where the container's changes are.
    pub(crate) place: &'a Place,
    /// Device nodes on the root file system do not work.
    pub(crate) nodev: bool,
    /// The container's user namespace, if the caller is outside of it.
    pub(crate) userns: Option<BorrowedFd<'a>>,
    /// The host's ids of its root, with it.
    pub(crate) owner: Option<(u32, u32)>,
}

impl Maker<'_> {
    /// The root file system as the container will see it, without what is mounted into it.
    pub(crate) fn root(&self) -> Result<RootTree> {
        let attrs = if self.nodev { attr::NODEV } else { 0 };
        let layer = match self.root.rootfs {
            Rootfs::Host => Some(hostview::layer(self.data, self.place)?),
            _ => None,
        };
        let below = if self.root.rootfs == Rootfs::Host { self.host_directories(attrs)? } else { Vec::new() };
        let root = match self.root.storage {
            Storage::Vfs => self.copied(attrs)?,
            Storage::Overlay => self.stacked(&self.lower(layer.as_ref())?, "diff", "work", attrs)?,
        };
        Ok(RootTree { root, below, _layer: layer })
    }

    /// The layers below, the highest first.
    fn lower(&self, layer: Option<&hostview::Layer>) -> Result<Vec<OwnedFd>> {
        let open = |path: &PathBuf| dir(path).context(|| format!("open the layer {}", path.display()));
        match (&self.root.rootfs, layer) {
            (Rootfs::Dir(path), _) => Ok(vec![open(path)?]),
            (Rootfs::Image { layers, .. }, _) => layers.iter().rev().map(open).collect(),
            (Rootfs::Host, Some(layer)) => Ok(vec![layer.dir.try_clone().context(|| "duplicate a descriptor")?]),
            (Rootfs::Host, None) => Err(Error::new("there is no view of the host's root")),
        }
    }

    fn stacked(&self, lower: &[OwnedFd], upper: &str, work: &str, attrs: u64) -> Result<OwnedFd> {
        let lower = lower.iter().map(|layer| self.mapped(layer.as_fd(), true)).collect::<Result<_>>()?;
        // The kernel wants both on one mount, so it is their parent that is translated.
        let place = dir(self.place.dir()).context(|| format!("open {}", self.place.dir().display()))?;
        let place = self.mapped(place.as_fd(), true)?;
        let inside = |name: &str| {
            tree::open_dir(place.as_fd(), name.as_ref())
                .context(|| format!("open {}", self.place.dir().join(name).display()))
        };
        let merged = self.place.merged();
        let stack = Stack {
            lower,
            upper: inside(upper)?,
            work: inside(work)?,
            discard: self.root.discard,
            user_xattr: !sys::ns::in_initial_user(),
            place: &merged,
        };
        match self.owner {
            Some(owner) => userns::as_owner(owner, || stack.mount(attrs)),
            None => stack.mount(attrs),
        }
    }

    fn copied(&self, attrs: u64) -> Result<OwnedFd> {
        let path = self.place.diff();
        let diff = dir(&path).context(|| format!("open {}", path.display()))?;
        let tree = sys::mount::copy_one(diff.as_fd()).context(|| "detach the root file system")?;
        self.map(tree.as_fd(), false)?;
        private(tree.as_fd(), attrs, false)?;
        Ok(tree)
    }

    /// /usr of the host below a layer of its own, and the other system directories read-only.
    fn host_directories(&self, attrs: u64) -> Result<Vec<(String, OwnedFd)>> {
        let mut below = Vec::new();
        let usr = dir(Path::new("/usr")).context(|| "open /usr")?;
        let stacked = match self.root.storage {
            Storage::Overlay => self.stacked(&[usr], "usr", "usr-work", attrs).ok(),
            Storage::Vfs => None,
        };
        match stacked {
            Some(tree) => below.push(("usr".to_owned(), tree)),
            // Where the kernel cannot stack, as in a container in a container.
            None => below.push(("usr".to_owned(), self.shown("usr")?)),
        }
        for name in hostview::mounted() {
            below.push((name.to_owned(), self.shown(name)?));
        }
        Ok(below)
    }

    /// A directory of the host's root, read-only.
    fn shown(&self, name: &str) -> Result<OwnedFd> {
        let path = Path::new("/").join(name);
        let source = dir(&path).context(|| format!("open {}", path.display()))?;
        let tree = sys::mount::copy_tree(source.as_fd()).context(|| format!("detach {}", path.display()))?;
        private(tree.as_fd(), attr::RDONLY | attr::NODEV, true)?;
        Ok(tree)
    }

    /// The source of `mount`; none if it is a file system that the container's first process makes itself.
    pub(crate) fn source(&self, mount: &Mount) -> Result<Option<Tree>> {
        match &mount.source {
            Source::Bind { path, create, recursive } => self.bind(mount, path, *create, *recursive).map(Some),
            Source::Volume { name, nocopy, .. } => self.volume(mount, name, *nocopy).map(Some),
            Source::Tmpfs { .. } | Source::Other { .. } => Ok(None),
        }
    }

    fn bind(&self, mount: &Mount, path: &Path, create: bool, recursive: bool) -> Result<Tree> {
        let failed = || format!("the source {}", path.display());
        let source = match any(path) {
            Err(Errno::ENOENT) if create => {
                fs::create_dir_all(path).context(|| format!("make {}", path.display()))?;
                any(path)
            }
            found => found,
        }
        .context(failed)?;
        let detach = if recursive { sys::mount::copy_tree } else { sys::mount::copy_one };
        let tree = detach(source.as_fd()).context(failed)?;
        if mount.idmap {
            self.map(tree.as_fd(), recursive).context(failed)?;
        }
        dress(tree.as_fd(), mount)?;
        Ok(Tree { mount: tree, fill: None })
    }

    fn volume(&self, mount: &Mount, name: &str, nocopy: bool) -> Result<Tree> {
        let path = volume::data(self.data, name);
        let source = dir(&path).context(|| format!("the volume {name}: {}", path.display()))?;
        let tree = sys::mount::copy_one(source.as_fd()).context(|| format!("the volume {name}"))?;
        self.map(tree.as_fd(), false)?;
        let fill = if nocopy || !tree::names(source.as_fd())?.is_empty() {
            None
        } else {
            Some(self.mapped(source.as_fd(), false)?)
        };
        dress(tree.as_fd(), mount)?;
        Ok(Tree { mount: tree, fill })
    }

    /// The directory as the container's user namespace translates it; the directory itself without one.
    fn mapped(&self, source: BorrowedFd<'_>, private_mount: bool) -> Result<OwnedFd> {
        if self.userns.is_none() {
            return source.try_clone_to_owned().context(|| "duplicate a descriptor");
        }
        let tree = sys::mount::copy_one(source).context(|| "detach a layer")?;
        self.map(tree.as_fd(), false)?;
        if private_mount {
            private(tree.as_fd(), 0, false)?;
        }
        Ok(tree)
    }

    fn map(&self, tree: BorrowedFd<'_>, recursive: bool) -> Result<()> {
        let Some(userns) = self.userns else { return Ok(()) };
        sys::mount::map_ids(tree, userns, recursive).map_err(|errno| match errno {
            Errno::EINVAL => Error::new("this file system cannot translate owners (idmapped mounts)"),
            errno => Error::new(format!("translate its owners: {}", errno.desc())),
        })
    }
}

/// Gives a detached tree the flags and the propagation of `mount`.
fn dress(tree: BorrowedFd<'_>, mount: &Mount) -> Result<()> {
    let flags = mount.flags;
    if (flags.set, flags.clear) != (0, 0) {
        let change = Change { set: flags.set, clear: flags.clear, ..Change::default() };
        sys::mount::change(tree, &change, !flags.top_only).context(|| "set the mount's flags")?;
    }
    let kind = match mount.propagation {
        Propagation::Private | Propagation::Rprivate => libc::MS_PRIVATE,
        Propagation::Slave | Propagation::Rslave => libc::MS_SLAVE,
        Propagation::Shared | Propagation::Rshared => libc::MS_SHARED,
    };
    let change = Change { propagation: kind, ..Change::default() };
    sys::mount::change(tree, &change, mount.propagation.is_recursive()).context(|| "set the mount's propagation")
}

/// Flags, and no exchange of mounts with the host.
fn private(tree: BorrowedFd<'_>, attrs: u64, recursive: bool) -> Result<()> {
    let change = Change { set: attrs, propagation: libc::MS_PRIVATE, ..Change::default() };
    sys::mount::change(tree, &change, recursive).context(|| "set the mount's flags")
}

fn dir(path: &Path) -> nix::Result<OwnedFd> {
    open(path, OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())
}

fn any(path: &Path) -> nix::Result<OwnedFd> {
    open(path, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())
}

/// The path under which this process finds what a descriptor refers to.
pub(crate) fn by_number(fd: BorrowedFd<'_>) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", fd.as_raw_fd()))
}
