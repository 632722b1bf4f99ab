//! The namespaces that all of a user's `xnet` share, and who is in them.
//!
//! `STATE/.userns` has the numbers of the user namespace and of the mount namespace in it, and the processes that have noted
//! themselves. Who holds its lock looks for one that still runs, and goes where that one is. A container can be the last one
//! there, when its monitor was killed; its mount namespace is its own, so a new one is made then.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::stat::fstat;
use nix::unistd::{Pid, chdir};
use serde::{Deserialize, Serialize};

use crate::error::{Context, Error, Result};
use crate::state::{Info, Task};
use crate::sys::ns::{self, Kind};

use super::{Caller, ids};

/// The name of the register in the state directory.
const REGISTER: &str = ".userns";

/// Inode numbers of the namespaces, and the processes in them.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Register {
    user: u64,
    mounts: u64,
    members: Vec<Task>,
    /// Why there is only one id.
    missing: Option<String>,
}

/// Enters the namespaces that are registered in `state`, or makes them. Answers what is missing, if there is only one id.
pub(super) fn enter(state: &Path, caller: Caller) -> Result<Option<Error>> {
    let path = state.join(REGISTER);
    let mut options = File::options();
    let file = options.read(true).write(true).create(true).truncate(false).mode(0o600);
    let mut file = file.open(&path).context(|| format!("open {}", path.display()))?;
    file.lock().context(|| format!("lock {}", path.display()))?;
    let mut text = String::new();
    file.read_to_string(&mut text).context(|| format!("read {}", path.display()))?;
    // What cannot be read was being written when its writer died. The containers that run say where they are all the same.
    let mut register: Register = serde_json::from_str(&text).unwrap_or_default();
    register.members.retain(|task| task.is_alive());
    if !join(&register, state)? {
        register.missing = ids::make(caller)?;
    }
    (register.user, register.mounts) = (own(Kind::User)?, own(Kind::Mount)?);
    register.members.push(Task::of(Pid::this()));
    let text = serde_json::to_vec(&register).context(|| "encode the register")?;
    let written = file.set_len(0).and_then(|()| file.seek(SeekFrom::Start(0))).and_then(|_| file.write_all(&text));
    written.context(|| format!("write {}", path.display()))?;
    Ok(register.missing.map(single))
}

/// What follows from having one id, for people.
fn single(why: String) -> Error {
    Error::new(format!(
        "{why}: containers have one user and one group, those of their caller, so -u, --group-add and files of other owners \
         do not work"
    ))
}

/// Enters what is registered; false if nobody is there any more.
fn join(register: &Register, state: &Path) -> Result<bool> {
    let runs = runs(state);
    let monitors = runs.iter().map(|run| run.monitor);
    let tasks = register.members.iter().copied().chain(monitors).chain(runs.iter().map(Info::task));
    let mut found = None;
    for task in tasks {
        let Some(pidfd) = task.open() else { continue };
        let pid = Pid::from_raw(task.pid);
        let registered = |user: &OwnedFd| register.user == 0 || inode(user) == Some(register.user);
        let Some(user) = user_namespace(&pidfd, pid).filter(registered) else { continue };
        let mounts = ns::of_process(pidfd.as_fd(), pid, Kind::Mount).ok();
        let mounts = mounts.filter(|mounts| inode(mounts) == Some(register.mounts));
        if mounts.is_some() {
            return go(&user, mounts.as_ref()).map(|()| true);
        }
        found.get_or_insert(user);
    }
    found.map_or(Ok(false), |user| go(&user, None).map(|()| true))
}

/// What the containers say that run.
fn runs(state: &Path) -> Vec<Info> {
    let entries = fs::read_dir(state).into_iter().flatten().flatten();
    entries.filter_map(|entry| serde_json::from_slice(&fs::read(entry.path().join("info.json")).ok()?).ok()).collect()
}

/// The user namespace right below this one in which a process is, itself or in one further down.
fn user_namespace(pidfd: &OwnedFd, pid: Pid) -> Option<OwnedFd> {
    let here = own(Kind::User).ok()?;
    let mut namespace = ns::of_process(pidfd.as_fd(), pid, Kind::User).ok()?;
    loop {
        let above = ns::parent(namespace.as_fd()).ok()?;
        if inode(&above) == Some(here) {
            return Some(namespace);
        }
        namespace = above;
    }
}

fn go(user: &OwnedFd, mounts: Option<&OwnedFd>) -> Result<()> {
    let here = std::env::current_dir();
    setns(user, CloneFlags::CLONE_NEWUSER).context(|| "enter the user namespace of the containers")?;
    match mounts {
        None => return unshare(CloneFlags::CLONE_NEWNS).context(|| "make a mount namespace"),
        Some(mounts) => setns(mounts, CloneFlags::CLONE_NEWNS).context(|| "enter its mount namespace")?,
    }
    // That has led to its root. The same name means the same there, unless something was mounted for this caller alone.
    let here: PathBuf = here.context(|| "find the working directory")?;
    chdir(&here).map_err(|errno| {
        Error::new(format!(
            "the working directory {} is not where other containers are: {}",
            here.display(),
            errno.desc()
        ))
    })
}

fn own(kind: Kind) -> Result<u64> {
    let path = format!("/proc/self/ns/{kind}");
    File::open(&path).ok().as_ref().and_then(inode).ok_or_else(|| Error::new(format!("{path} cannot be opened")))
}

fn inode(file: impl AsFd) -> Option<u64> {
    fstat(file).ok().map(|stat| stat.st_ino)
}
