//! A container's files as they are inside, seen from outside.
//!
//! Of a running container it is what its first process sees, mounts included. For one that is not running the root file
//! system is put together again, in a mount namespace that only this process has; meanwhile the container is ours, so
//! that nobody starts it. In both cases everything is looked up from one descriptor of the root and never out of it.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::mount::MsFlags;
use nix::sched::{CloneFlags, setns, unshare};
use nix::unistd::{chroot, fchdir};

use crate::error::{Context, Error, Result};
use crate::id::Name;
use crate::setup::mounts;
use crate::setup::path::Root;
use crate::setup::trees::Maker;
use crate::spec::{Dirs, Source, Spec, Users};
use crate::state::{Container, Store, View};
use crate::sys;

use super::Place;

/// The files of one container.
#[derive(Debug)]
pub(crate) struct Merged {
    /// What the container has as `/`.
    pub(crate) root: Root,
    /// The user namespace that the owners of its files are seen through, from outside.
    pub(crate) users: Option<Users>,
    /// Nobody starts a container that somebody owns.
    _owned: Option<Container>,
}

impl Merged {
    /// The files of container `id` with all that is mounted there.
    pub(crate) fn open(store: &Store, dirs: &Dirs, id: &Name) -> Result<Self> {
        let view = View::of(store, id)?;
        if view.status.is_alive() {
            return running(&view).map(|root| Self { root, users: translated(view.spec), _owned: None });
        }
        let owned = own(store, id)?;
        let root = stacked(&view.spec, dirs, id).context(|| "put the container's root file system together")?;
        Ok(Self { root, users: on_disk(view.spec), _owned: Some(owned) })
    }

    /// The root file system alone: where something is mounted, what is below it shows.
    pub(crate) fn alone(store: &Store, dirs: &Dirs, id: &Name) -> Result<Self> {
        let view = View::of(store, id)?;
        if view.status.is_alive() {
            let root = running(&view)?;
            let task = view.run.as_ref().and_then(|run| run.task().open());
            let pidfd = task.ok_or_else(|| Error::new("the container has just ended"))?;
            let tree = visit(&pidfd, || sys::mount::copy_one(root.as_fd()))?
                .context(|| "copy the mount of the root file system")?;
            return Ok(Self { root: readable(&tree)?, users: translated(view.spec), _owned: None });
        }
        let owned = own(store, id)?;
        let place = Place::of(&dirs.data, id);
        let tree = maker(&view.spec, dirs, &place).root()?.root;
        Ok(Self { root: readable(&tree)?, users: on_disk(view.spec), _owned: Some(owned) })
    }
}

/// Does `work` in the mount namespace of the process behind `pidfd`, where alone copies of its mounts can be made, and comes back:
/// whatever is done afterwards by a path is done on the host.
fn visit<T>(pidfd: &OwnedFd, work: impl FnOnce() -> T) -> Result<T> {
    let open = |path: &str| File::open(path).context(|| format!("open {path}"));
    let (home, top, here) = (open("/proc/self/ns/mnt")?, open("/")?, open(".")?);
    setns(pidfd, CloneFlags::CLONE_NEWNS).context(|| "enter the container's mount namespace")?;
    let done = work();
    let back = setns(&home, CloneFlags::CLONE_NEWNS);
    let back = back.and_then(|()| fchdir(&top)).and_then(|()| chroot(".")).and_then(|()| fchdir(&here));
    back.context(|| "come back from the container's mount namespace").map(|()| done)
}

/// Without it, or where every id stands for itself, owners are what they are on the disk.
fn translated(spec: Spec) -> Option<Users> {
    spec.namespaces.user.filter(|users| !users.is_identity())
}

/// The same for files whose owners no mount translates, as where only their copies have been given away.
fn on_disk(spec: Spec) -> Option<Users> {
    translated(spec).filter(|_| !sys::ns::in_initial_user())
}

/// The root as its first process has it.
fn running(view: &View) -> Result<Root> {
    let ended = || Error::new("the container has just ended");
    let task = view.run.as_ref().map(crate::state::Info::task).ok_or_else(ended)?;
    let root = Root::open(Path::new(&format!("/proc/{}/root", task.pid))).context(|| "open the container's root")?;
    // Asked for afterwards, so what was opened was that process'.
    if !task.is_alive() {
        return Err(ended());
    }
    Ok(root)
}

fn own(store: &Store, id: &Name) -> Result<Container> {
    store
        .own(id)?
        .ok_or_else(|| Error::new(format!("container {} is busy: it is being started or removed", id.short())))
}

fn maker<'a>(spec: &'a Spec, dirs: &'a Dirs, place: &'a Place) -> Maker<'a> {
    Maker { root: &spec.root, data: &dirs.data, place, nodev: true, userns: None, owner: None }
}

/// The root file system with volumes and directories of the host, as at the next start.
fn stacked(spec: &Spec, dirs: &Dirs, id: &Name) -> Result<Root> {
    unshare(CloneFlags::CLONE_NEWNS).context(|| "make a mount namespace")?;
    let private = MsFlags::MS_PRIVATE | MsFlags::MS_REC;
    nix::mount::mount(None::<&str>, "/", None::<&str>, private, None::<&str>).context(|| "keep its mounts private")?;
    let place = Place::of(&dirs.data, id);
    let maker = maker(spec, dirs, &place);
    let trees = maker.root()?;
    let merged = place.merged();
    let target = Root::open(&merged).context(|| format!("open {}", merged.display()))?;
    sys::mount::attach(trees.root.as_fd(), target.as_fd()).context(|| "attach it")?;
    let root = Root::from(trees.root);
    for (name, tree) in &trees.below {
        sys::mount::attach(tree.as_fd(), root.mount_point(name)?.as_fd()).context(|| format!("attach /{name}"))?;
    }
    for mount in &spec.root.mounts {
        if matches!(mount.source, Source::Bind { .. } | Source::Volume { .. }) {
            let shown = || format!("mount {}", mount.target.display());
            mounts::attach(&root, mount, maker.source(mount).context(shown)?).context(shown)?;
        }
    }
    Ok(root)
}

/// A detached mount, to be looked into.
fn readable(tree: &OwnedFd) -> Result<Root> {
    use nix::fcntl::{OFlag, openat};
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    openat(tree, ".", flags, nix::sys::stat::Mode::empty()).map(Root::from).context(|| "open the root file system")
}
