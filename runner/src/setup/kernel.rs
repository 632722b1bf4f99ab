//! Settings of the kernel for this process and its namespaces, made through files that are known to be the kernel's.
//!
//! `/proc` is a path like any other: a volume or a link may be at its place. So what is to be written is found under a
//! procfs that was just made, is attached nowhere, and is entered in one step without links (CVE-2025-52881 and its
//! older relatives).

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag};
use nix::sys::prctl;
use nix::sys::resource::setrlimit;
use nix::sys::statfs::{PROC_SUPER_MAGIC, fstatfs};
use nix::unistd::getpid;

use crate::error::{Context, Error, Result};
use crate::spec::{Rlimit, Sysctl};
use crate::sys;
use crate::sys::mount::attr;
use crate::within::open_within;

use super::path::Root;

/// Opens `path` of a procfs of our own for writing.
pub(super) fn open(path: &str) -> Result<File> {
    let flags = attr::NOSUID | attr::NODEV | attr::NOEXEC;
    let tree = match sys::mount::new(c"proc", &[("source", Some("proc"))], flags) {
        // In a user namespace, with the host's processes: only the host may make a procfs that shows them.
        Err(Errno::EPERM) => copy_of_hosts("/proc")?,
        made => made.context(|| "make a procfs")?,
    };
    let safe = ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS | ResolveFlag::RESOLVE_NO_XDEV;
    let how = OpenHow::new().flags(OFlag::O_WRONLY | OFlag::O_CLOEXEC).resolve(safe);
    let open = || open_within(&tree, path, how);
    // Files about a process that nobody may look into belong to the host's root. In a user namespace that is somebody
    // else, so for this moment this process can be looked into; there is nobody yet who would.
    let file = match open() {
        Err(Errno::EACCES) => {
            prctl::set_dumpable(true).context(|| "open the process")?;
            let again = open();
            prctl::set_dumpable(false).context(|| "make the process private")?;
            again
        }
        opened => opened,
    }
    .context(|| format!("open /proc/{path}"))?;
    let kind = fstatfs(&file).context(|| format!("look at /proc/{path}"))?.filesystem_type();
    if kind != PROC_SUPER_MAGIC {
        return Err(Error::new(format!("/proc/{path} is not a file of the kernel")));
    }
    Ok(file.into())
}

/// The mounts at `path` of the host, before they are left behind.
pub(super) fn copy_of_hosts(path: &str) -> Result<OwnedFd> {
    let source = Root::open(Path::new(path)).context(|| format!("open {path}"))?;
    sys::mount::copy_tree(source.as_fd()).context(|| format!("copy the host's {path}"))
}

fn write(path: &str, text: &str) -> Result<()> {
    open(path)?.write_all(text.as_bytes()).context(|| format!("write {text:?} to /proc/{path}"))
}

/// Makes a setting. Which namespace it lands in is up to this process.
pub(super) fn set(sysctl: &Sysctl) -> Result<()> {
    write(&sysctl.file(), sysctl.value())
}

/// Sets the score that the kernel adds to this process' own when it looks for something to kill.
pub(crate) fn set_oom_score(score: i16) -> Result<()> {
    write(&format!("{}/oom_score_adj", getpid()), &score.to_string())
}

/// Limits what this process may use.
pub(crate) fn limit(limit: &Rlimit) -> Result<()> {
    setrlimit(limit.resource(), limit.soft, limit.hard).map_err(|errno| match errno {
        Errno::EPERM => {
            Error::new("the hard limit of xnet itself is lower, and it may not raise it (CAP_SYS_RESOURCE)")
        }
        errno => Error::new(errno.desc()),
    })
}

/// Gives the container a session keyring of its own. A kernel without keyrings has none to be shared.
pub(crate) fn leave_keyring() -> Result<()> {
    match sys::keyring::join_new_session() {
        Err(Errno::ENOSYS) => Ok(()),
        answer => answer.context(|| "make a session keyring"),
    }
}
