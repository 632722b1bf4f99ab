//! Entering namespaces that exist, and one that cannot be had at birth.

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::stat::fstat;
use nix::unistd::getpid;

use crate::error::{Context, Error, Result};
use crate::spec::TimeOffsets;
use crate::sys;

use super::kernel;
use super::op::Joined;
use super::path::Root;

/// Enters the namespace behind a file, after making sure that it is one of this kind.
pub(super) fn join(joined: &Joined) -> Result<()> {
    let kind = match joined.kind {
        "ipc" => CloneFlags::CLONE_NEWIPC,
        "uts" => CloneFlags::CLONE_NEWUTS,
        "cgroup" => CloneFlags::CLONE_NEWCGROUP,
        other => return Err(Error::new(format!("namespaces of kind {other:?} are not entered here"))),
    };
    let file = File::open(&joined.path).context(|| format!("open {}", joined.path.display()))?;
    if !sys::ns::is(file.as_fd(), kind.bits()).context(|| "look at it")? {
        return Err(Error::new(format!("{} is not a namespace of kind {}", joined.path.display(), joined.kind)));
    }
    setns(file, kind).context(|| "setns")
}

/// Makes a time namespace with shifted clocks and enters it. The offsets can be set only until somebody is inside, and
/// a process which makes such a namespace is not: its children would be. So it enters afterwards like a stranger.
pub(super) fn shift_clocks(offsets: &TimeOffsets) -> Result<()> {
    let time = CloneFlags::from_bits_retain(TIME);
    unshare(time).context(|| "unshare")?;
    let pid = getpid();
    let path = format!("{pid}/timens_offsets");
    kernel::open(&path)?
        .write_all(offsets.lines().as_bytes())
        .context(|| "set the clocks (no clock may show a time before boot)")?;
    let inside = "/proc/thread-self/ns/time_for_children";
    let file = File::open(inside).context(|| format!("open {inside}"))?;
    setns(file, time).context(|| "setns")
}

/// `CLONE_NEWTIME` of linux/sched.h, which the wrapper has no name for.
const TIME: i32 = 0x80;

/// Where a shared `/dev/shm` comes from: POSIX shared memory is files, which no IPC namespace holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SharedMemory {
    /// The host.
    Host,
    /// Another container: the file of its mount namespace, and the number that the file must have.
    Of { path: PathBuf, inode: u64 },
}

impl SharedMemory {
    /// Attaches it under `root`, over the one that the container would have had.
    pub(super) fn attach(&self, root: &Root) -> Result<()> {
        let tree = match self {
            Self::Host => copy_shm(),
            Self::Of { path, inode } => of_other(path, *inode),
        }?;
        let target = root.find("dev/shm").context(|| "open /dev/shm")?;
        sys::mount::attach(tree.as_fd(), target.as_fd()).context(|| "attach it")
    }
}

/// A copy of the mount at `/dev/shm` of the namespace that this process is in.
fn copy_shm() -> Result<OwnedFd> {
    let here = Root::open(Path::new("/")).context(|| "open /")?;
    let shm = here.find("dev/shm").context(|| "open the other side's /dev/shm")?;
    sys::mount::copy_tree(shm.as_fd()).context(|| "copy the mount")
}

/// A mount can only be copied from inside of its namespace, so this process goes there and comes back.
fn of_other(path: &Path, inode: u64) -> Result<OwnedFd> {
    let what = || format!("open {}", path.display());
    let own = File::open("/proc/thread-self/ns/mnt").context(|| "open the own mount namespace")?;
    let other = File::open(path).context(what)?;
    let is_mount = sys::ns::is(other.as_fd(), CloneFlags::CLONE_NEWNS.bits()).context(what)?;
    if !is_mount || fstat(&other).context(what)?.st_ino != inode {
        return Err(Error::new(format!("{}: it is not that container's any more", path.display())));
    }
    setns(other, CloneFlags::CLONE_NEWNS).context(|| "enter the other mount namespace")?;
    let tree = copy_shm();
    setns(own, CloneFlags::CLONE_NEWNS).context(|| "come back from the other mount namespace")?;
    tree
}
