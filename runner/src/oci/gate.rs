//! The gate at which a created container waits: a socket in its directory, listened at by its first process.
//!
//! `start` connects, and the process goes on. The connection is a line like that between `create` and the process: it tells
//! why the command could not be executed, and ends when it was. A gate that is gone tells that the container was started.

use std::fs;
use std::io::ErrorKind;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use nix::fcntl::{OFlag, open};
use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, connect, listen, socket};
use nix::sys::stat::Mode;

use crate::error::{Context, Result};
use crate::process::channel::{ChildEnd, ParentEnd};

const NAME: &str = "start";

/// Whether the container waits to be started.
pub(super) fn is_there(dir: &Path) -> bool {
    dir.join(NAME).exists()
}

/// Makes the gate, for the first process to inherit.
pub(super) fn build(dir: &Path) -> Result<OwnedFd> {
    let what = || format!("make the socket {}", dir.join(NAME).display());
    let gate = line().context(what)?;
    with_address(dir, |address| bind(gate.as_raw_fd(), address)).context(what)?;
    listen(&gate, Backlog::new(1).context(what)?).context(what)?;
    Ok(gate)
}

/// Waits at the gate. Answers the line to whoever has opened it.
pub(super) fn wait(gate: OwnedFd) -> Result<ChildEnd> {
    let (line, _) = UnixListener::from(gate).accept().context(|| "wait to be started")?;
    Ok(ChildEnd::from_fd(line.into()))
}

/// Opens the gate, and comes back when the command is executed.
pub(super) fn open_for(dir: &Path) -> Result<()> {
    let what = || "start the container";
    let ours = line().context(what)?;
    with_address(dir, |address| connect(ours.as_raw_fd(), address)).context(what)?;
    remove(dir)?;
    ParentEnd::from_fd(ours).await_execution("the container's first process")
}

/// Takes the gate away, if it is there.
pub(super) fn remove(dir: &Path) -> Result<()> {
    match fs::remove_file(dir.join(NAME)) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).context(|| format!("remove {}", dir.join(NAME).display()))
        }
        _ => Ok(()),
    }
}

fn line() -> nix::Result<OwnedFd> {
    socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None)
}

/// The path of a socket has at most 107 bytes, and that of a state directory may have more: it is named by a descriptor.
fn with_address<T>(dir: &Path, act: impl FnOnce(&UnixAddr) -> nix::Result<T>) -> nix::Result<T> {
    let dir = open(dir, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
    let path: PathBuf = format!("/proc/self/fd/{}/{NAME}", dir.as_fd().as_raw_fd()).into();
    act(&UnixAddr::new(&path)?)
}
