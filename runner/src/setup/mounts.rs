//! Attaching what the user wants mounted.
//!
//! A target is looked up once, as the container would look it up, but never out of its root: links are followed inside,
//! missing directories are made one by one relative to descriptors, and the mount goes onto the descriptor. Nobody who changes names
//! meanwhile, in a volume shared with another container for instance, can move it.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::fcntl::{Flock, FlockArg, OFlag};
use nix::libc;
use nix::sys::stat::fstat;
use nix::sys::statfs::{PROC_SUPER_MAGIC, fstatfs};

use crate::error::{Context, Error, Result};
use crate::spec::{FsOption, Mount, Source};
use crate::storage::tree::{self, Owner};
use crate::sys;

use super::path::Root;
use super::trees::{Tree, by_number};

/// Files of /proc that something better may be mounted over: those that lxcfs answers for a container's own limits.
const PROC_FILES: [&str; 9] = [
    "/proc/cpuinfo",
    "/proc/diskstats",
    "/proc/loadavg",
    "/proc/meminfo",
    "/proc/slabinfo",
    "/proc/stat",
    "/proc/swaps",
    "/proc/sys/kernel/ns_last_pid",
    "/proc/uptime",
];

/// Refuses a target that would let the container fake what the set-up and the kernel tell through /proc.
pub(crate) fn check(mount: &Mount) -> Result<()> {
    let target = &mount.target;
    if target.starts_with("/proc") && !PROC_FILES.iter().any(|file| target == Path::new(file)) {
        return Err(Error::new(format!("{}: nothing can be mounted on or below /proc", target.display())));
    }
    Ok(())
}

/// Attaches `mount`. Its source was made before, unless it is a file system that is made here.
pub(crate) fn attach(root: &Root, mount: &Mount, tree: Option<Tree>) -> Result<()> {
    check(mount)?;
    let tree = match tree {
        Some(tree) => tree,
        None => Tree { mount: file_system(mount)?, fill: None },
    };
    let is_dir = is_dir(tree.mount.as_fd())?;
    let found = root.exists(&mount.target);
    let target = root.target(&mount.target, is_dir)?;
    if fstatfs(&target).context(|| "look at the target")?.filesystem_type() == PROC_SUPER_MAGIC
        && !mount.target.starts_with("/proc")
    {
        return Err(Error::new("it leads into /proc; refusing to mount there"));
    }
    if let (Some(volume), true) = (&tree.fill, found) {
        fill(target.as_fd(), volume).context(|| "fill the volume with what is at the target")?;
    }
    sys::mount::attach(tree.mount.as_fd(), target.as_fd()).context(|| "attach it")
}

fn is_dir(fd: BorrowedFd<'_>) -> Result<bool> {
    Ok(fstat(fd).context(|| "look at the source")?.st_mode & libc::S_IFMT == libc::S_IFDIR)
}

fn file_system(mount: &Mount) -> Result<OwnedFd> {
    let (kind, device, options): (&str, &str, &[FsOption]) = match &mount.source {
        Source::Tmpfs { options } => ("tmpfs", "tmpfs", options),
        Source::Other { kind, device, options } => (kind, device, options),
        _ => return Err(Error::new("its source was not opened")),
    };
    let kind_name = CString::new(kind).map_err(|_| Error::new("the file system's type holds a NUL byte"))?;
    let context = sys::mount::Context::open(&kind_name).context(|| format!("a file system of type {kind}"))?;
    let failed = |errno: nix::Error, what: String| {
        Error::new(context.complaint().unwrap_or_else(|| format!("{what}: {}", errno.desc())))
    };
    context.set("source", Some(device)).map_err(|errno| failed(errno, format!("source {device}")))?;
    for (key, value) in options {
        context.set(key, value.as_deref()).map_err(|errno| failed(errno, format!("option {key}")))?;
    }
    context.mount(mount.flags.set).map_err(|errno| failed(errno, format!("make a {kind}")))
}

/// Copies what the image has at the target into a volume that is still empty. The lock is for containers that are
/// started with the same new volume at the same time.
fn fill(target: BorrowedFd<'_>, volume: &OwnedFd) -> Result<()> {
    let volume = volume.try_clone().context(|| "duplicate a descriptor")?;
    let volume = Flock::lock(volume, FlockArg::LockExclusive).map_err(|(_, errno)| Error::new(errno.desc()))?;
    if !tree::names(volume.as_fd())?.is_empty() || !is_dir(target)? {
        return Ok(());
    }
    // The target was found without being opened for reading.
    let source = nix::fcntl::open(
        &by_number(target),
        OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC,
        nix::sys::stat::Mode::empty(),
    )
    .context(|| "open it")?;
    tree::copy(source.as_fd(), volume.as_fd(), &|_| true)?;
    tree::like(source.as_fd(), volume.as_fd(), Owner::Same)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_is_not_to_be_covered() {
        let mount = |target: &str| Mount::new(target, Source::Tmpfs { options: vec![] }).unwrap();
        for bad in ["/proc", "/proc/self", "/proc/self/attr", "/proc/sys/kernel/x", "/a/../proc/1"] {
            assert!(check(&mount(bad)).is_err(), "{bad}");
        }
        for good in ["/proc/cpuinfo", "/process", "/sys/x"] {
            check(&mount(good)).unwrap();
        }
    }
}
