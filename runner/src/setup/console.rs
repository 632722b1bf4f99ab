//! The container's terminal.
//!
//! It is made in the container's own devpts, so that its name means something inside. The root file system is somebody
//! else's and is not asked for it: the master is opened below the /dev that was just built, and what it was opened on must be
//! a devpts; the other end comes from the master itself, and it is that descriptor, and no name, which `/dev/console` is
//! (CVE-2025-52565).

use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;
use nix::sys::statfs::{FsType, fstatfs};

use crate::error::{Context, Error, Result};
use crate::sys::{mount, tty};

use super::path::Root;

/// `DEVPTS_SUPER_MAGIC` of linux/magic.h.
const DEVPTS: FsType = FsType(0x1cd1);

/// A new terminal of the devpts below `root`: the master, and the other end.
pub(crate) fn open(root: &Root) -> Result<(OwnedFd, OwnedFd)> {
    let flags = OFlag::O_RDWR | OFlag::O_NOCTTY;
    let master = root.open_file("dev/pts/ptmx", flags).context(|| "open /dev/pts/ptmx")?;
    let kind = fstatfs(&master).context(|| "look at /dev/pts/ptmx")?.filesystem_type();
    if kind != DEVPTS {
        return Err(Error::new("/dev/pts of the container is no devpts"));
    }
    let peer = tty::peer(master.as_fd()).context(|| "open the other end of the terminal")?;
    Ok((master, peer))
}

/// Makes `terminal` the container's `/dev/console`.
pub(crate) fn attach(root: &Root, terminal: &OwnedFd) -> Result<()> {
    let dev = root.find("dev").context(|| "open /dev")?;
    let flags = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    match openat(&dev, "console", flags, Mode::from_bits_truncate(0o600)) {
        Err(Errno::EEXIST) => {}
        made => drop(made.context(|| "make /dev/console")?),
    }
    let target = root.find("dev/console").context(|| "open /dev/console")?;
    let tree = mount::copy_tree(terminal.as_fd()).context(|| "copy the terminal's mount")?;
    mount::attach(tree.as_fd(), target.as_fd()).context(|| "attach it to /dev/console")
}
