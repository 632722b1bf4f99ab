//! Namespaces that are there already: another container's, or one in a file.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::unistd::Pid;

use crate::error::{Context, Error, Result};
use crate::state::{Info, Store};
use crate::sys;
use crate::sys::ns::Kind;

use super::connected::{self, Connected};

/// Another container whose namespace is joined.
#[derive(Debug)]
pub(crate) struct Joined {
    /// What is known about it.
    pub(crate) connected: Connected,
    /// Its namespace; none when it has the host's.
    pub(crate) netns: Option<OwnedFd>,
}

/// Finds the running container `target` and takes hold of its namespace.
///
/// It is asked of the process itself, by its descriptor, and must be the one on record: when the process has ended
/// meanwhile and another has its number, that one's namespace is not taken.
///
/// # Errors
/// There is no such container, or it is just starting or ending.
pub(super) fn container(target: &str, store: &Store) -> Result<Joined> {
    let info = store.resolve(target)?;
    let connected = connected::expect(store, &info.id)?;
    if connected.netns.is_none() {
        return Ok(Joined { connected, netns: None });
    }
    let netns = namespace(&info, &connected)?;
    Ok(Joined { connected, netns: Some(netns) })
}

/// The network namespace in which a running container is now.
///
/// # Errors
/// It has ended.
pub(crate) fn namespace(info: &Info, connected: &Connected) -> Result<OwnedFd> {
    let pid = Pid::from_raw(info.pid);
    let found = sys::signal::pidfd_open(pid).and_then(|pidfd| sys::ns::of_process(pidfd.as_fd(), pid, Kind::Net));
    let netns = found.map_err(|_| Error::new(format!("container {} has ended", connected.title())))?;
    if inode(&netns)? != connected.inode {
        return Err(Error::new(format!(
            "container {} has ended, and its process number is another's",
            connected.title()
        )));
    }
    Ok(netns)
}

/// The inode that tells a namespace from all others that exist at the same time.
pub(crate) fn inode(netns: &OwnedFd) -> Result<u64> {
    let file = File::from(netns.try_clone().context(|| "hold the network namespace")?);
    Ok(file.metadata().context(|| "look at the network namespace")?.ino())
}

/// Opens the namespace in the file at `path`.
///
/// # Errors
/// There is no file, or it is not a network namespace: an empty file where one was mounted, or another kind.
pub(super) fn file(path: &Path) -> Result<OwnedFd> {
    let file = File::open(path).context(|| format!("open the network namespace {}", path.display()))?;
    match sys::ns::is_net(file.as_fd()).context(|| format!("look at {}", path.display()))? {
        true => Ok(file.into()),
        false => Err(Error::new(format!("{} is not a network namespace", path.display()))),
    }
}
