//! What every container has in `/dev`, and what its configuration adds.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{FchmodatFlags, Mode, SFlag, fchmodat, fstat, makedev, mknodat};
use nix::unistd::{Gid, Uid, fchownat, symlinkat};

use crate::cgroup::devices::DeviceKind;
use crate::error::{Context, Error, Result};
use crate::setup::path::Root;

use super::plan::Node;

/// The default devices of the specification.
const USUAL: [(&str, u64, u64); 6] =
    [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];

const LINKS: [(&str, &str); 6] = [
    ("ptmx", "pts/ptmx"),
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("core", "/proc/kcore"),
];

/// Makes the nodes and links below `/dev` of `root`.
pub(super) fn make(root: &Root, nodes: &[Node]) -> Result<()> {
    for (name, major, minor) in USUAL {
        let path = Path::new("/dev").join(name);
        if !nodes.iter().any(|node| node.path == path) {
            let kind = DeviceKind::Char;
            self::node(root, &Node { path, kind, major, minor, mode: 0o666, uid: 0, gid: 0 })?;
        }
    }
    nodes.iter().try_for_each(|each| node(root, each))?;
    let dev = root.make_all(Path::new("/dev")).context(|| "open /dev")?;
    for (name, target) in LINKS {
        match symlinkat(target, &dev, name) {
            // What the image brings is its own affair.
            Err(Errno::EEXIST) => {}
            made => made.context(|| format!("ln -s {target} /dev/{name}"))?,
        }
    }
    Ok(())
}

fn node(root: &Root, node: &Node) -> Result<()> {
    let shown = node.path.display();
    let what = || format!("mknod {shown}");
    let (Some(parent), Some(name)) = (node.path.parent(), node.path.file_name()) else {
        return Err(Error::new(format!("{shown} is no place for a device")));
    };
    let parent = root.make_all(parent).context(what)?;
    let kind = if node.kind == DeviceKind::Block { SFlag::S_IFBLK } else { SFlag::S_IFCHR };
    let (number, mode) = (makedev(node.major, node.minor), Mode::from_bits_truncate(node.mode));
    match mknodat(&parent, name, kind, mode, number) {
        Err(Errno::EEXIST) => return check(&parent, Path::new(name), kind, number).context(what),
        made => made.context(what)?,
    }
    // The umask has had its say in mknod.
    fchmodat(&parent, name, mode, FchmodatFlags::FollowSymlink).context(|| format!("chmod {shown}"))?;
    let (uid, gid) = (Uid::from_raw(node.uid), Gid::from_raw(node.gid));
    fchownat(&parent, name, Some(uid), Some(gid), AtFlags::AT_SYMLINK_NOFOLLOW).context(|| format!("chown {shown}"))
}

/// What is there already must be the very device.
fn check(parent: &OwnedFd, name: &Path, kind: SFlag, number: u64) -> Result<()> {
    let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let found = openat(parent, name, flags, Mode::empty()).context(|| "look at what is there")?;
    let stat = fstat(found.as_fd()).context(|| "look at what is there")?;
    let is_kind = SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT == kind;
    if is_kind && stat.st_rdev == number { Ok(()) } else { Err(Error::new("something else is there")) }
}

/// Whether it is the kernel's own `/dev/null`: files that are to be unreadable get it mounted over them.
pub(super) fn is_null(file: &OwnedFd) -> bool {
    let is_char = |mode| SFlag::from_bits_truncate(mode) & SFlag::S_IFMT == SFlag::S_IFCHR;
    fstat(file).is_ok_and(|stat| is_char(stat.st_mode) && stat.st_rdev == makedev(1, 3))
}
