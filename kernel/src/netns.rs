//! Network namespaces: opened by path, checked, and visited.
//!
//! A visit is a `setns` there and one back, by the calling thread: three microseconds. A thread that goes there and ends
//! would do as well, but starting it takes thirty times as long, and the first one drags 65 KB of the C library into a
//! static binary.

pub(crate) mod number;

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sched::{CloneFlags, setns};
use nix::sys::statfs::{FsType, statfs};

use crate::errno::sentence;

/// `NSFS_MAGIC` of `include/uapi/linux/magic.h`.
const NSFS_MAGIC: FsType = FsType(0x6e73_6673);
/// `PROC_SUPER_MAGIC`: what kernels before 3.19 said of `/proc/PID/ns/net`.
const PROC_MAGIC: FsType = FsType(0x9fa0);

/// The namespace of the calling thread.
const OWN: &str = "/proc/thread-self/ns/net";

/// Why a path is no network namespace that can be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing is there: to a deletion that is as good as done.
    #[error("failed to Statfs \"{}\": {}", .0.display(), sentence(*.1))]
    NotExist(PathBuf, Errno),
    /// The path could not be examined.
    #[error("failed to Statfs \"{}\": {}", .0.display(), sentence(*.1))]
    Statfs(PathBuf, Errno),
    /// Something else than a namespace is there.
    #[error("unknown FS magic on \"{}\": {:x}", .0.display(), .1)]
    NotNamespace(PathBuf, i64),
    /// A namespace of another kind is there.
    #[error("\"{}\" is a {} namespace, not a network namespace", .0.display(), .1)]
    WrongKind(PathBuf, &'static str),
    /// The namespace could not be opened.
    #[error("open \"{}\": {}", .0.display(), .1)]
    Open(PathBuf, io::Error),
    /// The namespace could not be entered.
    #[error("enter network namespace \"{}\": {}", .0.display(), .1)]
    Enter(PathBuf, io::Error),
}

impl Error {
    /// Whether the namespace is simply gone.
    #[must_use]
    pub fn is_not_exist(&self) -> bool {
        matches!(self, Self::NotExist(..))
    }
}

/// Identity of a namespace: device and inode of its nsfs file (`ioctl_ns(2)`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Id {
    /// `st_dev`.
    pub device: u64,
    /// `st_ino`.
    pub inode: u64,
}

/// An open network namespace. As long as the handle lives, so does the namespace.
#[derive(Debug)]
pub struct NetNs {
    file: File,
    path: PathBuf,
}

impl NetNs {
    /// Opens the namespace at `path`: a bind mount such as `/run/netns/x`, or `/proc/PID/ns/net`.
    ///
    /// # Errors
    ///
    /// When there is nothing, something else than a namespace, or a namespace of another kind.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, Error> {
        let path = path.into();
        let magic = match statfs(&path) {
            Ok(found) => found.filesystem_type(),
            Err(errno @ (Errno::ENOENT | Errno::ENOTDIR)) => return Err(Error::NotExist(path, errno)),
            Err(errno) => return Err(Error::Statfs(path, errno)),
        };
        if magic != NSFS_MAGIC && magic != PROC_MAGIC {
            return Err(Error::NotNamespace(path, magic.0));
        }
        let file = File::open(&path).map_err(|error| Error::Open(path.clone(), error))?;
        match namespace_kind(file.as_fd()) {
            Some("network") | None => Ok(Self { file, path }),
            Some(kind) => Err(Error::WrongKind(path, kind)),
        }
    }

    /// The namespace of the calling thread.
    ///
    /// # Errors
    ///
    /// When `/proc` is not mounted or not readable.
    pub fn current() -> Result<Self, Error> {
        Self::open(OWN)
    }

    /// The path by which the namespace was opened.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Device and inode, which tell whether two handles mean one namespace.
    ///
    /// # Errors
    ///
    /// Whatever `fstat(2)` answers.
    pub fn id(&self) -> io::Result<Id> {
        let metadata = self.file.metadata()?;
        Ok(Id { device: metadata.dev(), inode: metadata.ino() })
    }

    /// Runs `work` inside the namespace and returns its value. The calling thread goes there and comes back.
    ///
    /// # Errors
    ///
    /// When the namespace can't be entered.
    pub fn run<T>(&self, work: impl FnOnce() -> T) -> Result<T, Error> {
        let home = File::open(OWN).map_err(|error| Error::Open(OWN.into(), error))?;
        setns(&self.file, CloneFlags::CLONE_NEWNET).map_err(|errno| Error::Enter(self.path.clone(), errno.into()))?;
        let _way_home = WayHome(home);
        Ok(work())
    }
}

/// Brings the thread back to its own namespace, also when the work in the other one panics.
struct WayHome(File);

impl Drop for WayHome {
    fn drop(&mut self) {
        if let Err(errno) = setns(&self.0, CloneFlags::CLONE_NEWNET) {
            // The kernel lets a thread go back where it came from. Should it ever not, going on would mean to change
            // the wrong namespace.
            eprintln!("cannot return to the own network namespace: {}", sentence(errno));
            std::process::abort();
        }
    }
}

impl AsFd for NetNs {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// What kind of namespace `fd` is, where the kernel tells (`NS_GET_NSTYPE`, Linux 4.11).
fn namespace_kind(fd: BorrowedFd<'_>) -> Option<&'static str> {
    /// `_IO(NSIO, 0x3)` of `include/uapi/linux/nsfs.h`.
    const NS_GET_NSTYPE: nix::libc::Ioctl = 0xb703;
    // SAFETY: this request takes no argument and only returns a number; `fd` is borrowed, so it is open.
    #[expect(unsafe_code, reason = "ioctl_ns(2) has no safe wrapper")]
    let kind = unsafe { nix::libc::ioctl(fd.as_raw_fd(), NS_GET_NSTYPE) };
    let kinds = [
        (CloneFlags::CLONE_NEWNET, "network"),
        (CloneFlags::CLONE_NEWPID, "pid"),
        (CloneFlags::CLONE_NEWNS, "mount"),
        (CloneFlags::CLONE_NEWUTS, "uts"),
        (CloneFlags::CLONE_NEWIPC, "ipc"),
        (CloneFlags::CLONE_NEWUSER, "user"),
        (CloneFlags::CLONE_NEWCGROUP, "cgroup"),
    ];
    if kind < 0 {
        return None; // a kernel that can't tell
    }
    let named = kinds.iter().find(|(flag, _)| flag.bits() == kind);
    Some(named.map_or("time", |(_, name)| name))
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn refuses_what_is_no_network_namespace() {
        let gone = NetNs::open("/nonexistent/x").unwrap_err();
        assert!(gone.is_not_exist());
        assert_eq!(gone.to_string(), "failed to Statfs \"/nonexistent/x\": no such file or directory");
        assert_eq!(NetNs::open("").unwrap_err().to_string(), "failed to Statfs \"\": no such file or directory");
        let file = NetNs::open("/etc/passwd").unwrap_err().to_string();
        assert!(file.starts_with("unknown FS magic on \"/etc/passwd\": "), "{file}");
        let pid = NetNs::open("/proc/self/ns/pid").unwrap_err().to_string();
        assert_eq!(pid, "\"/proc/self/ns/pid\" is a pid namespace, not a network namespace");
    }

    #[test]
    fn work_runs_inside_and_the_caller_comes_back() {
        let (private, inside) = thread::spawn(|| {
            nix::sched::unshare(CloneFlags::CLONE_NEWNET).unwrap();
            let private = NetNs::current().unwrap();
            let id = private.id().unwrap();
            (private, id)
        })
        .join()
        .unwrap();
        let before = NetNs::current().unwrap().id().unwrap();
        let seen = private.run(|| NetNs::current().unwrap().id().unwrap()).unwrap();
        assert_eq!(seen, inside);
        assert_ne!(seen, before);
        assert_eq!(NetNs::current().unwrap().id().unwrap(), before);
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| private.run(|| panic!("inside"))));
        assert!(panicked.is_err());
        assert_eq!(NetNs::current().unwrap().id().unwrap(), before);
    }
}
