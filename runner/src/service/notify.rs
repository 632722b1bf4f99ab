//! `NOTIFY_SOCKET`, passed on.
//!
//! The manager's own socket is not for a container: whoever can write to it can, as far as the manager trusts the sender, name any
//! process as the service's main one. And the manager looks at the sender, which must be of the service. So the container gets a
//! socket in a directory of its own, `STATE/ID/notify`, mounted at `/run/notify`, and the process that attends it passes on what
//! comes: the states that a service may tell of itself. Descriptors are not passed on; a barrier has passed when it was read.
//!
//! The service's main process is the one that attends the container, for it ends with the container and has its status. In the
//! foreground the manager has started it, and knows. A monitor says so (`MAINPID`), before the caller of `xnet run -d` has gone and
//! again when the container is ready; the unit needs `NotifyAccess=all` for that. The container of a bundle has no monitor: it is
//! its first process that is named, and `start` passes on what comes until the container is ready, and no more.

use std::fs::{self, DirBuilder, File, Permissions};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::{Path, PathBuf};

use crate::error::{Context, Result};
use crate::spec::{Mount, Source, Spec};

/// The directory, in the container's state directory.
const DIR: &str = "notify";
/// The socket in it.
const NAME: &str = "socket";
/// Where the directory is inside.
const INSIDE: &str = "/run/notify";
/// A datagram of systemd's has no more (`PIPE_BUF`).
const LARGEST: usize = 4096;

/// What a service may tell of itself. Missing, as names of processes and rights of others: `MAINPID`, `MAINPIDFDID`,
/// `NOTIFYACCESS`; and what is about descriptors.
const STATES: [&str; 12] = [
    "READY=",
    "RELOADING=",
    "STOPPING=",
    "MONOTONIC_USEC=",
    "STATUS=",
    "ERRNO=",
    "BUSERROR=",
    "VARLINKERROR=",
    "EXIT_STATUS=",
    "WATCHDOG=",
    "WATCHDOG_USEC=",
    "EXTEND_TIMEOUT_USEC=",
];

/// A container's socket, and where it leads.
#[derive(Debug)]
pub(crate) struct Notify {
    inside: UnixDatagram,
    manager: SocketAddr,
    /// The service's main process, if the manager has to be told.
    main: Option<u32>,
}

impl Notify {
    /// Opens the socket of the container whose state directory is `state`, in the place of one that nobody attends any more.
    /// `address` is the manager's, `main` what it has to be told of the service's main process.
    ///
    /// # Errors
    ///
    /// When it cannot be made, or the address is none.
    pub(crate) fn open(state: &Path, address: &str, main: Option<u32>) -> Result<Self> {
        let what = || format!("make the socket {}", state.join(DIR).join(NAME).display());
        let manager = match address.strip_prefix('@') {
            Some(name) => SocketAddr::from_abstract_name(name),
            None => SocketAddr::from_pathname(address),
        };
        let manager = manager.context(|| format!("NOTIFY_SOCKET={address}"))?;
        let dir = prepare(state)?;
        let handle = File::open(&dir).context(what)?;
        // The path of a socket has at most 107 bytes, and that of a state directory may have more.
        let path: PathBuf = format!("/proc/self/fd/{}/{NAME}", handle.as_raw_fd()).into();
        let _ = fs::remove_file(&path);
        let inside = UnixDatagram::bind(&path).context(what)?;
        // Whichever user the container's command is.
        fs::set_permissions(path, Permissions::from_mode(0o666)).context(what)?;
        inside.set_nonblocking(true).context(what)?;
        Ok(Self { inside, manager, main })
    }

    /// Tells the manager which process is the main one, if it cannot know.
    pub(crate) fn introduce(&self) {
        self.main.iter().for_each(|pid| self.tell(&format!("MAINPID={pid}\n")));
    }

    /// Passes on what the container has said, without waiting for anything. Answers whether it has said that it is ready.
    pub(crate) fn relay(&self) -> bool {
        let mut ready = false;
        let mut buffer = [0; LARGEST];
        while let Ok(length) = self.inside.recv(&mut buffer) {
            let said = String::from_utf8_lossy(buffer.get(..length).unwrap_or_default());
            let mut states = allowed(&said);
            if states.lines().any(|state| state == "READY=1") {
                ready = true;
                states.extend(self.main.iter().map(|pid| format!("MAINPID={pid}\n")));
            }
            if !states.is_empty() {
                self.tell(&states);
            }
        }
        ready
    }

    /// A manager that does not listen any more needs no words.
    fn tell(&self, states: &str) {
        let _ = self.inside.send_to_addr(states.as_bytes(), &self.manager);
    }
}

/// Makes the directory for the socket of the container whose state directory is `state`.
///
/// # Errors
///
/// When it cannot be made.
pub(crate) fn prepare(state: &Path) -> Result<PathBuf> {
    let dir = state.join(DIR);
    let what = || format!("make {}", dir.display());
    DirBuilder::new().recursive(true).create(&dir).context(what)?;
    fs::set_permissions(&dir, Permissions::from_mode(0o755)).context(what)?;
    Ok(dir)
}

/// Whether it was made.
pub(crate) fn is_prepared(state: &Path) -> bool {
    state.join(DIR).is_dir()
}

/// The lines of a message that are passed on.
fn allowed(said: &str) -> String {
    let lines = said.lines().filter(|line| STATES.iter().any(|state| line.starts_with(state)));
    lines.map(|line| format!("{line}\n")).collect()
}

impl AsFd for Notify {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inside.as_fd()
    }
}

/// `spec` with the socket of a container whose state directory is `state`.
///
/// # Errors
///
/// None in practice: the place inside is a constant.
pub(crate) fn equip(spec: &Spec, state: &Path) -> Result<Spec> {
    let mut spec = spec.clone();
    spec.root.mounts.push(mount(state)?);
    tell_where(&mut spec.process.env);
    Ok(spec)
}

/// The mount of the directory with the socket.
///
/// # Errors
///
/// As [`equip`].
pub(crate) fn mount(state: &Path) -> Result<Mount> {
    let source = Source::Bind { path: state.join(DIR), create: false, recursive: false };
    let mut mount = Mount::new(INSIDE, source)?;
    // A socket can be written to through a mount that cannot.
    for word in ["ro", "nosuid", "nodev", "noexec"] {
        mount.flags.take(word);
    }
    Ok(mount)
}

/// Puts the address into a command's environment.
pub(crate) fn tell_where(env: &mut Vec<String>) {
    env.retain(|entry| !entry.starts_with("NOTIFY_SOCKET="));
    env.push(format!("NOTIFY_SOCKET={INSIDE}/{NAME}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Requirement: F-notify.
    #[test]
    fn a_container_tells_its_state_and_nothing_about_others() {
        let dir = tempfile::tempdir().unwrap();
        let manager = UnixDatagram::bind(dir.path().join("manager")).unwrap();
        let heard = || {
            let mut buffer = [0; 100];
            let length = manager.recv(&mut buffer).unwrap();
            String::from_utf8_lossy(&buffer[..length]).into_owned()
        };
        let address = dir.path().join("manager").to_str().unwrap().to_owned();
        for main in [None, Some(77)] {
            let notify = Notify::open(dir.path(), &address, main).unwrap();
            let container = UnixDatagram::unbound().unwrap();
            let socket = dir.path().join(DIR).join(NAME);
            for said in ["MAINPID=1\nNOTIFYACCESS=all", "READY=1\nMAINPID=1\nSTATUS=up", "FDSTORE=1", "WATCHDOG=1\n"] {
                container.send_to(said.as_bytes(), &socket).unwrap();
            }
            assert!(notify.relay() && !notify.relay());
            let own = if main.is_some() { "MAINPID=77\n" } else { "" };
            assert_eq!(heard(), format!("READY=1\nSTATUS=up\n{own}"));
            assert_eq!(heard(), "WATCHDOG=1\n");
            notify.introduce();
            if main.is_some() {
                assert_eq!(heard(), own);
            }
        }
        manager.set_nonblocking(true).unwrap();
        assert!(manager.recv(&mut [0; 10]).is_err(), "there was more");
    }
}
