//! The hierarchies as the container sees them: the same layout as on the host, with its own group as the root.
//!
//! A cgroup file system that is mounted in a cgroup namespace begins at the namespace's root. Where that is the directory of a group
//! that was just made, a copy of the host's mount, cut down to that directory, is the very same at half the calls and
//! without the lock that all groups of the host share.

use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use nix::errno::Errno;
use nix::libc::MS_PRIVATE;
use nix::unistd::symlinkat;

use crate::error::{Context, Result};
use crate::setup::path::{Root, mkdir};
use crate::sys::mount::{self, Change, attr};

use super::{Hierarchy, Kind};

const PLACE: &str = "sys/fs/cgroup";

/// Mounts `hierarchies` under /sys/fs/cgroup of `root`. `groups` are directories of version 1 hierarchies that the caller's
/// cgroup namespace has as its roots, as far as they are known to be.
pub(crate) fn attach(root: &Root, hierarchies: &[Hierarchy], groups: &[PathBuf], writable: bool) -> Result<()> {
    let target = match root.find(PLACE) {
        Ok(target) => target,
        // A kernel without cgroups.
        Err(Errno::ENOENT) => return Ok(()),
        Err(errno) => return Err(errno).context(|| format!("open /{PLACE}")),
    };
    match hierarchies {
        [] => Ok(()),
        [only] if only.kind == Kind::V2 => {
            let tree = new(only)?;
            protect(&tree, writable)?;
            mount::attach(tree.as_fd(), target.as_fd()).context(|| "attach cgroup2")
        }
        several => attach_each(&target, several, groups, writable),
    }
}

fn attach_each(target: &OwnedFd, hierarchies: &[Hierarchy], groups: &[PathBuf], writable: bool) -> Result<()> {
    let options = [("source", Some("tmpfs")), ("mode", Some("755")), ("size", Some("64k"))];
    let place = mount::new(c"tmpfs", &options, QUIET).context(|| "make a tmpfs")?;
    for hierarchy in hierarchies {
        mkdir(&place, &name(hierarchy), 0o755)?;
        link_controllers(&place, hierarchy)?;
    }
    mount::attach(place.as_fd(), target.as_fd()).context(|| format!("attach /{PLACE}"))?;
    for hierarchy in hierarchies {
        let tree = match groups.iter().find(|group| group.starts_with(&hierarchy.mount)) {
            Some(group) => mount::copy_at(group).context(|| format!("copy the mount of {}", group.display()))?,
            None => new(hierarchy)?,
        };
        // The new tmpfs is ours alone, so the name is what was made above.
        let name = name(hierarchy);
        mount::attach_in(tree.as_fd(), place.as_fd(), &name).context(|| format!("attach /{PLACE}/{name}"))?;
    }
    // Copies have the flags of the host's mounts, and hear of what is mounted there.
    let flags = if writable { QUIET } else { QUIET | attr::RDONLY };
    let change = Change { set: flags, propagation: MS_PRIVATE, ..Change::default() };
    mount::change(place.as_fd(), &change, true).context(|| format!("set the flags of /{PLACE}"))
}

const QUIET: u64 = attr::NOSUID | attr::NODEV | attr::NOEXEC;

fn protect(tree: &OwnedFd, writable: bool) -> Result<()> {
    if writable {
        return Ok(());
    }
    mount::set_flags(tree.as_fd(), attr::RDONLY).context(|| "make it read-only")
}

fn new(hierarchy: &Hierarchy) -> Result<OwnedFd> {
    match &hierarchy.kind {
        Kind::V2 => mount::new(c"cgroup2", &[("source", Some("cgroup2"))], QUIET).context(|| "mount cgroup2"),
        Kind::V1 { controllers } => {
            let mut options = vec![("source", Some("cgroup"))];
            options.extend(controllers.iter().map(|c| match c.split_once('=') {
                Some((key, value)) => (key, Some(value)),
                None => (c.as_str(), None),
            }));
            mount::new(c"cgroup", &options, QUIET)
                .context(|| format!("mount the cgroup hierarchy {}", controllers.join(",")))
        }
    }
}

/// The name of the hierarchy's directory on the host.
fn name(hierarchy: &Hierarchy) -> String {
    hierarchy.mount.file_name().unwrap_or(OsStr::new("cgroup")).to_string_lossy().into_owned()
}

/// Controllers that share a hierarchy are found under their own names too.
fn link_controllers(place: &OwnedFd, hierarchy: &Hierarchy) -> Result<()> {
    let Kind::V1 { controllers } = &hierarchy.kind else { return Ok(()) };
    let target = name(hierarchy);
    for controller in controllers.iter().filter(|c| controllers.len() > 1 && **c != target) {
        symlinkat(target.as_str(), place, controller.as_str()).context(|| format!("ln -s {target} {controller}"))?;
    }
    Ok(())
}
