//! `/dev`: a small tmpfs with the nodes that every program may expect, and nothing of the host.
//!
//! The tmpfs is filled while it is still detached, so nodes can only land in it, whatever the root file system's
//! own /dev is. Then it is attached, and the file systems below it (pts, shm, mqueue) onto directories that
//! are known to be ours.

use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, open, openat};
use nix::sys::stat::{FchmodatFlags, Mode, SFlag, fchmodat, fstat, makedev, mknodat, umask};
use nix::unistd::{Gid, Uid, fchownat, symlinkat};

use crate::error::{Context, Error, Result};
use crate::spec::HostDevice;
use crate::storage::tree;
use crate::sys::mount::{self, attr};

use super::path::{Root, mkdir};

/// Name, major and minor number of the nodes, all character devices that anybody may use.
pub(crate) const NODES: [(&str, u64, u64); 6] =
    [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];

/// Names and targets of the links.
pub(crate) const LINKS: [(&str, &str); 5] = [
    ("ptmx", "pts/ptmx"),
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
];

/// What is particular about this container's `/dev`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wishes<'a> {
    /// What `/dev/shm` holds at most, in bytes.
    pub(crate) shm_bytes: u64,
    /// Devices of the host.
    pub(crate) devices: &'a [HostDevice],
    /// All others of the host, too.
    pub(crate) all: bool,
    /// Nodes cannot be made, and are mounted instead.
    pub(crate) user_namespace: bool,
}

/// Builds /dev under `root`. Answers the new `/dev/null`, which is known to be the real one.
pub(crate) fn build(root: &Root, wishes: &Wishes<'_>) -> Result<OwnedFd> {
    let options = [("source", Some("tmpfs")), ("mode", Some("755")), ("size", Some("65536k"))];
    let dev = mount::new(c"tmpfs", &options, attr::NOSUID | attr::NOEXEC).context(|| "make a tmpfs")?;
    // The nodes are for everybody, whatever the mask says.
    let mask = umask(Mode::empty());
    let nodes = NODES.iter().try_for_each(|(name, major, minor)| match wishes.user_namespace {
        true => place(dev.as_fd(), name),
        false => node(dev.as_fd(), name, *major, *minor),
    });
    umask(mask);
    nodes?;
    for (name, target) in LINKS {
        symlinkat(target, &dev, name).context(|| format!("ln -s {target} /dev/{name}"))?;
    }
    for name in ["pts", "shm", "mqueue"] {
        mkdir(&dev, name, 0o755)?;
    }
    if !wishes.user_namespace {
        if wishes.all {
            let mut all = Vec::new();
            find_devices(Path::new("/dev"), &mut all)?;
            devices(&dev, &all)?;
        }
        devices(&dev, wishes.devices)?;
    }
    mount::attach(dev.as_fd(), root.mount_point("dev")?.as_fd()).context(|| "attach /dev")?;
    attach_below(root, wishes)?;
    if wishes.user_namespace {
        for (name, ..) in NODES {
            show(root, &Path::new("/dev").join(name), &Path::new("/dev").join(name))?;
        }
    }
    for device in wishes.devices.iter().filter(|d| wishes.user_namespace || d.inside.strip_prefix("/dev").is_err()) {
        show(root, &device.host, &device.inside)?;
    }
    root.find("dev/null").context(|| "open /dev/null")
}

/// Of the host's `/dev`, what is not a device or is the container's own anyway.
const NOT_SHOWN: [&str; 5] = ["pts", "shm", "mqueue", "console", "ptmx"];

/// Finds the host's devices below `dir`, links left out.
fn find_devices(dir: &Path, found: &mut Vec<HostDevice>) -> Result<()> {
    let entries = fs::read_dir(dir).context(|| format!("list {}", dir.display()))?;
    for entry in entries.flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        let mut own = NOT_SHOWN.iter().chain(NODES.iter().map(|(name, ..)| name));
        if dir == Path::new("/dev") && own.any(|known| name == *known) {
            continue;
        }
        // One that goes away in this moment is none.
        let Ok(kind) = entry.file_type() else { continue };
        if kind.is_dir() {
            find_devices(&path, found)?;
        } else if kind.is_char_device() || kind.is_block_device() {
            found.push(HostDevice { host: path.clone(), inside: path, access: "rwm".to_owned() });
        }
    }
    Ok(())
}

/// Makes nodes for those devices of the host that are wanted below /dev, with the host's owners and modes.
fn devices(dev: &OwnedFd, devices: &[HostDevice]) -> Result<()> {
    let dev = Root::from(dev.try_clone().context(|| "duplicate a descriptor")?);
    for device in devices {
        let Ok(inside) = device.inside.strip_prefix("/dev") else { continue };
        let shown = device.inside.display();
        let host = fs::metadata(&device.host).context(|| device.host.display().to_string())?;
        let parent = dev.make_all(inside.parent().unwrap_or(Path::new(""))).context(|| format!("make {shown}"))?;
        let name = inside.file_name().unwrap_or_default();
        tree::remove(parent.as_fd(), name)?;
        let kind = SFlag::from_bits_truncate(host.mode() & SFlag::S_IFMT.bits());
        let mode = Mode::from_bits_truncate(host.mode() & 0o777);
        mknodat(&parent, name, kind, mode, host.rdev()).context(|| format!("mknod {shown}"))?;
        fchmodat(&parent, name, mode, FchmodatFlags::FollowSymlink).context(|| format!("chmod {shown}"))?;
        let (uid, gid) = (Uid::from_raw(host.uid()), Gid::from_raw(host.gid()));
        fchownat(&parent, name, Some(uid), Some(gid), AtFlags::AT_SYMLINK_NOFOLLOW)
            .context(|| format!("chown {shown}"))?;
    }
    Ok(())
}

/// An empty file to mount a device on.
fn place(dev: BorrowedFd<'_>, name: &str) -> Result<()> {
    let flags = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_WRONLY | OFlag::O_CLOEXEC;
    openat(dev, name, flags, Mode::from_bits_truncate(0o644)).map(drop).context(|| format!("make /dev/{name}"))
}

/// Mounts a device of the host.
fn show(root: &Root, host: &Path, inside: &Path) -> Result<()> {
    let failed = || format!("mount {} on {}", host.display(), inside.display());
    let source = open(host, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty()).context(failed)?;
    let kind = tree::kind(&fstat(&source).context(failed)?);
    if kind != SFlag::S_IFCHR && kind != SFlag::S_IFBLK {
        return Err(Error::new("it is not a device any more")).context(failed);
    }
    let tree = mount::copy_one(source.as_fd()).context(failed)?;
    let target = root.target(inside, false).context(failed)?;
    mount::attach(tree.as_fd(), target.as_fd()).context(failed)
}

fn node(dev: BorrowedFd<'_>, name: &str, major: u64, minor: u64) -> Result<()> {
    let mode = Mode::from_bits_truncate(0o666);
    mknodat(dev, name, SFlag::S_IFCHR, mode, makedev(major, minor)).context(|| format!("mknod /dev/{name}"))
}

fn attach_below(root: &Root, wishes: &Wishes<'_>) -> Result<()> {
    let quiet = attr::NOSUID | attr::NOEXEC;
    let mut pts = vec![("newinstance", None), ("ptmxmode", Some("0666")), ("mode", Some("0620"))];
    // The terminals' group, which a small user namespace does not have.
    if !wishes.user_namespace || maps_group(TTY_GROUP) {
        pts.push(("gid", Some("5")));
    }
    let pts = mount::new(c"devpts", &pts, quiet).context(|| "make a devpts")?;
    let size = wishes.shm_bytes.to_string();
    let shm = [("source", Some("shm")), ("mode", Some("1777")), ("size", Some(size.as_str()))];
    let shm = mount::new(c"tmpfs", &shm, quiet | attr::NODEV).context(|| "make a tmpfs")?;
    let mqueue = mount::new(c"mqueue", &[("source", Some("mqueue"))], quiet | attr::NODEV);
    // The queues of an IPC namespace are mounted by its owner's root only; with the host's they may be mounted there already.
    let mqueue = match mqueue {
        Err(Errno::EPERM) => mount::copy_at(Path::new("/dev/mqueue")).map_err(|_| Errno::ENODEV),
        mqueue => mqueue,
    };
    for (tree, path) in [(Ok(pts), "dev/pts"), (Ok(shm), "dev/shm"), (mqueue, "dev/mqueue")] {
        // A kernel without POSIX message queues has no such file system.
        let tree = match tree {
            Err(Errno::ENODEV) => continue,
            tree => tree.context(|| format!("make {path}"))?,
        };
        let target = root.find(path).context(|| format!("open /{path}"))?;
        mount::attach(tree.as_fd(), target.as_fd()).context(|| format!("attach /{path}"))?;
    }
    Ok(())
}

/// The group that owns terminals.
const TTY_GROUP: u32 = 5;

/// Whether this process' user namespace has a group of this number.
fn maps_group(group: u32) -> bool {
    let map = fs::read_to_string("/proc/self/gid_map").unwrap_or_default();
    map.lines().any(|line| {
        let mut words = line.split_whitespace().filter_map(|word| word.parse::<u64>().ok());
        let (first, _, count) = (words.next(), words.next(), words.next());
        first.zip(count).is_some_and(|(first, count)| (first..first + count).contains(&u64::from(group)))
    })
}
