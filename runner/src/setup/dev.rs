//! `/dev`: a small tmpfs with the nodes that every program may expect, and nothing of the host.
//!
//! The tmpfs is filled while it is still detached, so nodes can only land in it, whatever the root file system's
//! own /dev is. Then it is attached, and the file systems below it (pts, shm, mqueue) onto directories that
//! are known to be ours.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::sys::stat::{FchmodatFlags, Mode, SFlag, fchmodat, makedev, mknodat};
use nix::unistd::symlinkat;

use crate::error::{Context, Result};
use crate::sys::mount::{self, attr};

use super::path::{Root, mkdir};

/// Name, major and minor number of the nodes, all character devices that anybody may use.
const NODES: [(&str, u64, u64); 6] =
    [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];

const LINKS: [(&str, &str); 5] = [
    ("ptmx", "pts/ptmx"),
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
];

/// What a container's `/dev/shm` holds at most, as elsewhere.
const SHM_BYTES: &str = "67108864";

/// Builds /dev under `root`. Answers the new `/dev/null`, which is known to be the real one.
pub(crate) fn build(root: &Root) -> Result<OwnedFd> {
    let options = [("source", Some("tmpfs")), ("mode", Some("755")), ("size", Some("65536k"))];
    let dev = mount::new(c"tmpfs", &options, attr::NOSUID | attr::NOEXEC).context(|| "make a tmpfs")?;
    for (name, major, minor) in NODES {
        node(dev.as_fd(), name, major, minor)?;
    }
    for (name, target) in LINKS {
        symlinkat(target, &dev, name).context(|| format!("ln -s {target} /dev/{name}"))?;
    }
    for name in ["pts", "shm", "mqueue"] {
        mkdir(&dev, name, 0o755)?;
    }
    mount::attach(dev.as_fd(), root.mount_point("dev")?.as_fd()).context(|| "attach /dev")?;
    attach_below(root)?;
    root.find("dev/null").context(|| "open /dev/null")
}

fn node(dev: BorrowedFd<'_>, name: &str, major: u64, minor: u64) -> Result<()> {
    let mode = Mode::from_bits_truncate(0o666);
    mknodat(dev, name, SFlag::S_IFCHR, mode, makedev(major, minor)).context(|| format!("mknod /dev/{name}"))?;
    // The umask has had its say in mknod.
    fchmodat(dev, name, mode, FchmodatFlags::FollowSymlink).context(|| format!("chmod /dev/{name}"))
}

fn attach_below(root: &Root) -> Result<()> {
    let quiet = attr::NOSUID | attr::NOEXEC;
    let pts = [("newinstance", None), ("ptmxmode", Some("0666")), ("mode", Some("0620")), ("gid", Some("5"))];
    let pts = mount::new(c"devpts", &pts, quiet).context(|| "make a devpts")?;
    let shm = [("source", Some("shm")), ("mode", Some("1777")), ("size", Some(SHM_BYTES))];
    let shm = mount::new(c"tmpfs", &shm, quiet | attr::NODEV).context(|| "make a tmpfs")?;
    let mqueue = mount::new(c"mqueue", &[("source", Some("mqueue"))], quiet | attr::NODEV);
    for (tree, path) in [(Ok(pts), "dev/pts"), (Ok(shm), "dev/shm"), (mqueue, "dev/mqueue")] {
        // A kernel without POSIX message queues has no such file system.
        let tree = match tree {
            Err(nix::Error::ENODEV) => continue,
            tree => tree.context(|| format!("make {path}"))?,
        };
        let target = root.find(path).context(|| format!("open /{path}"))?;
        mount::attach(tree.as_fd(), target.as_fd()).context(|| format!("attach /{path}"))?;
    }
    Ok(())
}
