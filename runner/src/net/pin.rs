//! Network namespaces under a name: a file in `/run/netns` on which the namespace is mounted.
//!
//! That is where `ip netns exec` looks, and what plugins are given as a path. The mount also keeps the namespace alive
//! until it is taken away, even if all its processes are gone. The directory must be a shared mount, so that the file shows
//! in every mount namespace, and `ip` makes it one by mounting it onto itself; two who do that at once stack mounts,
//! hence the lock, which is the same that `ip` takes.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use crate::error::{Context, Result};

/// Mounts the namespace `netns` on a new file `path`.
pub(crate) fn pin(netns: BorrowedFd<'_>, path: &Path) -> Result<()> {
    if let Some(dir) = path.parent() {
        share(dir)?;
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o444).custom_flags(nix::libc::O_NOFOLLOW);
    options.open(path).context(|| format!("create {}", path.display()))?;
    // By descriptor: the process whose namespace it is may have ended, and its number may be another's by now.
    let source = PathBuf::from(format!("/proc/self/fd/{}", netns.as_raw_fd()));
    mount(Some(&source), path, None::<&str>, MsFlags::MS_BIND, None::<&str>)
        .context(|| format!("mount the network namespace on {}", path.display()))
}

/// Takes the mount and the file away. A file that is not there needs nothing.
pub(crate) fn release(path: &Path) -> Result<()> {
    for _ in 0..MOST_MOUNTS {
        match umount2(path, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW) {
            Ok(()) => {}
            // Not mounted (any more), or not there at all.
            Err(Errno::EINVAL | Errno::ENOENT) => break,
            Err(errno) => return Err(errno).context(|| format!("unmount {}", path.display())),
        }
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).context(|| format!("remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// A mount that propagated back to itself may be there more than once.
const MOST_MOUNTS: usize = 8;

/// Makes `dir` a shared mount, once, whoever comes first.
fn share(dir: &Path) -> Result<()> {
    DirBuilder::new().recursive(true).mode(0o755).create(dir).context(|| format!("make {}", dir.display()))?;
    let lock = File::open(dir).context(|| format!("open {}", dir.display()))?;
    lock.lock().context(|| format!("lock {}", dir.display()))?;
    let shared = MsFlags::MS_SHARED | MsFlags::MS_REC;
    let share = || mount(None::<&str>, dir, None::<&str>, shared, None::<&str>);
    match share() {
        // It is not a mount point yet.
        Err(Errno::EINVAL) => {
            mount(Some(dir), dir, None::<&str>, MsFlags::MS_BIND | MsFlags::MS_REC, None::<&str>).and_then(|()| share())
        }
        done => done,
    }
    .context(|| format!("make {} a shared mount", dir.display()))
}
