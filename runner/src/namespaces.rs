//! The namespaces that a container's first process is born into, from its parent's side.
//!
//! What the container has to itself comes with the clone. What it shares with another container, or takes from a file, the
//! parent enters for the moment of the clone, and leaves again: a child is born where its parent is, and for a pid
//! namespace there is no other way. The other container is pinned by a process descriptor first and asked about
//! afterwards, so that a number which has changed hands in between is noticed.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::libc;
use nix::sched::{CloneFlags, setns};
use nix::sys::stat::fstat;
use nix::unistd::Pid;

use crate::error::{Context, Error, Result};
use crate::id::Name;
use crate::setup::SharedMemory;
use crate::spec::{NamespaceMode, Namespaces, Spec};
use crate::state::Store;
use crate::sys;
use crate::sys::ns::Kind;

/// The kinds that a mode can be given for, and that the parent enters.
const KINDS: [Kind; 3] = [Kind::Pid, Kind::Ipc, Kind::Uts];

/// The namespaces to be born into which exist already.
#[derive(Debug, Default)]
pub(crate) struct Joins {
    entered: Vec<(Kind, OwnedFd)>,
    shm: Option<SharedMemory>,
}

fn mode(namespaces: &Namespaces, kind: Kind) -> &NamespaceMode {
    match kind {
        Kind::Pid => &namespaces.pid,
        Kind::Ipc => &namespaces.ipc,
        _ => &namespaces.uts,
    }
}

/// The flags for those that the container gets for itself at birth.
pub(crate) fn flags(spec: &Spec) -> libc::c_int {
    let net = if spec.net.mode.is_private() { libc::CLONE_NEWNET } else { 0 };
    let own = |kind: &Kind| *mode(&spec.namespaces, *kind) == NamespaceMode::Private;
    let user = if spec.namespaces.user.is_some() { libc::CLONE_NEWUSER } else { 0 };
    KINDS.iter().filter(|kind| own(kind)).fold(libc::CLONE_NEWNS | net | user, |flags, kind| flags | kind.flag())
}

impl Joins {
    /// Opens what `spec` names, while nothing has been made yet.
    pub(crate) fn find(spec: &Spec, store: &Store) -> Result<Self> {
        let mut joins = Self::default();
        for kind in KINDS {
            let found = match mode(&spec.namespaces, kind) {
                NamespaceMode::Private => None,
                NamespaceMode::Host if kind == Kind::Ipc => {
                    joins.shm = Some(SharedMemory::Host);
                    None
                }
                NamespaceMode::Host => None,
                NamespaceMode::Path(path) => Some(open(path, kind)?),
                NamespaceMode::Container(name) => Some(joins.of_container(name, kind, store)?),
            };
            joins.entered.extend(found.map(|file| (kind, file)));
        }
        Ok(joins)
    }

    /// Where `/dev/shm` comes from, if not from the container itself.
    pub(crate) fn shm(&self) -> Option<SharedMemory> {
        self.shm.clone()
    }

    fn of_container(&mut self, name: &Name, kind: Kind, store: &Store) -> Result<OwnedFd> {
        let what = || format!("open the {kind} namespace of container {name}");
        let info = store.resolve(name.as_str())?;
        let pid = Pid::from_raw(info.pid);
        let pidfd = sys::signal::pidfd_open(pid).context(what)?;
        // Whoever had this number when the descriptor was opened is the container's only if the container still runs.
        if store.resolve(info.id.as_str())?.pid != info.pid {
            return Err(Error::new(format!("{}: it has just been restarted", what())));
        }
        let file = sys::ns::of_process(pidfd.as_fd(), pid, kind).context(what)?;
        if kind == Kind::Ipc {
            let mounts = sys::ns::of_process(pidfd.as_fd(), pid, Kind::Mount).context(what)?;
            let inode = fstat(&mounts).context(what)?.st_ino;
            let path = PathBuf::from(format!("/proc/{pid}/ns/mnt"));
            self.shm = Some(SharedMemory::Of { path, inode });
        }
        Ok(file)
    }

    /// The same, and the network namespace at `path`.
    pub(crate) fn and_net(self, path: &Path) -> Result<Self> {
        self.and(Kind::Net, path)
    }

    /// The same, and the namespace at `path`.
    pub(crate) fn and(mut self, kind: Kind, path: &Path) -> Result<Self> {
        self.entered.push((kind, open(path, kind)?));
        Ok(self)
    }

    /// The same, and a namespace that is open already.
    pub(crate) fn and_open(mut self, kind: Kind, file: OwnedFd) -> Self {
        self.entered.push((kind, file));
        self
    }

    /// Does `clone` inside of the namespaces. Both processes come back, and the parent comes back to where it was.
    pub(crate) fn around<T>(&self, clone: impl FnOnce() -> Result<T>, is_parent: impl Fn(&T) -> bool) -> Result<T> {
        let home =
            self.entered.iter().map(|(kind, _)| own(*kind).map(|file| (*kind, file))).collect::<Result<Vec<_>>>()?;
        let result = self.enter(&self.entered).and_then(|()| clone());
        // The child stays.
        if result.as_ref().is_ok_and(|born| !is_parent(born)) {
            return result;
        }
        self.enter(&home).context(|| "come back from the other container's namespaces")?;
        result
    }

    #[expect(clippy::unused_self, reason = "only meaningful for what was found")]
    fn enter(&self, namespaces: &[(Kind, OwnedFd)]) -> Result<()> {
        for (kind, file) in namespaces {
            let flag = CloneFlags::from_bits_retain(kind.flag());
            setns(file.as_fd(), flag).context(|| format!("enter a {kind} namespace"))?;
        }
        Ok(())
    }
}

/// This process' own namespace.
fn own(kind: Kind) -> Result<OwnedFd> {
    let path = PathBuf::from(format!("/proc/thread-self/ns/{kind}"));
    File::open(&path).map(OwnedFd::from).context(|| format!("open {}", path.display()))
}

/// A namespace file of the user's.
fn open(path: &Path, kind: Kind) -> Result<OwnedFd> {
    let file = File::open(path).context(|| format!("open the {kind} namespace {}", path.display()))?;
    match sys::ns::is(file.as_fd(), kind.flag()).context(|| format!("look at {}", path.display()))? {
        true => Ok(file.into()),
        false => Err(Error::new(format!("{} is not a namespace of kind {kind}", path.display()))),
    }
}
