//! The mount API of Linux 5.2 and 5.12: file systems and trees are made detached, get their flags, and only
//! then are attached, onto a descriptor. No path is looked up twice, and there is no moment in which a
//! mount is visible without its flags.

use std::ffi::{CStr, CString};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::NixPath;
use nix::errno::Errno;
use nix::libc;

use super::owned;

/// Flags of a mount, as in linux/mount.h.
pub(crate) mod attr {
    /// Read-only.
    pub(crate) const RDONLY: u64 = 0x1;
    /// Set-user-id bits mean nothing.
    pub(crate) const NOSUID: u64 = 0x2;
    /// Device nodes cannot be opened.
    pub(crate) const NODEV: u64 = 0x4;
    /// Nothing can be executed.
    pub(crate) const NOEXEC: u64 = 0x8;
    /// Owners are translated.
    pub(crate) const IDMAP: u64 = 0x10_0000;
}

const FSOPEN_CLOEXEC: libc::c_uint = 1;
const FSMOUNT_CLOEXEC: libc::c_uint = 1;
const FSCONFIG_SET_FLAG: libc::c_uint = 0;
const FSCONFIG_SET_STRING: libc::c_uint = 1;
const FSCONFIG_SET_FD: libc::c_uint = 5;
const FSCONFIG_CMD_CREATE: libc::c_uint = 6;
const MOVE_MOUNT_F_EMPTY_PATH: libc::c_uint = 0x4;
const MOVE_MOUNT_T_EMPTY_PATH: libc::c_uint = 0x40;
const OPEN_TREE_CLONE: libc::c_uint = 1;

/// A file system that is being configured.
#[derive(Debug)]
pub(crate) struct Context(OwnedFd);

impl Context {
    /// Begins a file system of type `kind`.
    pub(crate) fn open(kind: &CStr) -> nix::Result<Self> {
        // SAFETY: `kind` is a C string, the rest are numbers.
        owned(unsafe { libc::syscall(libc::SYS_fsopen, kind.as_ptr(), FSOPEN_CLOEXEC) }).map(Self)
    }

    /// Sets an option to a text; without a value it is a switch. The kernel takes up to 255 bytes.
    pub(crate) fn set(&self, key: &str, value: Option<&str>) -> nix::Result<()> {
        let key = CString::new(key).map_err(|_| Errno::EINVAL)?;
        let value = value.map(CString::new).transpose().map_err(|_| Errno::EINVAL)?;
        let command = if value.is_some() { FSCONFIG_SET_STRING } else { FSCONFIG_SET_FLAG };
        self.configure(command, Some(&key), value.as_deref(), 0)
    }

    /// Sets an option to what a descriptor refers to.
    pub(crate) fn set_fd(&self, key: &CStr, fd: BorrowedFd<'_>) -> nix::Result<()> {
        self.configure(FSCONFIG_SET_FD, Some(key), None, fd.as_raw_fd())
    }

    /// Makes the file system, as a detached mount with the flags `attrs`.
    pub(crate) fn mount(&self, attrs: u64) -> nix::Result<OwnedFd> {
        self.configure(FSCONFIG_CMD_CREATE, None, None, 0)?;
        // SAFETY: numbers only.
        owned(unsafe { libc::syscall(libc::SYS_fsmount, self.0.as_raw_fd(), FSMOUNT_CLOEXEC, attrs) })
    }

    /// What the kernel has to say about the last failure, if it has anything to say.
    pub(crate) fn complaint(&self) -> Option<String> {
        let mut line = [0_u8; 512];
        let length = nix::unistd::read(&self.0, &mut line).ok()?;
        let text = String::from_utf8_lossy(line.get(..length)?).trim().to_owned();
        // "e overlay: ..." for an error.
        Some(text.trim_start_matches("e ").to_owned()).filter(|text| !text.is_empty())
    }

    fn configure(
        &self,
        command: libc::c_uint,
        key: Option<&CStr>,
        value: Option<&CStr>,
        aux: libc::c_int,
    ) -> nix::Result<()> {
        let pointer = |text: Option<&CStr>| text.map_or(std::ptr::null(), CStr::as_ptr);
        // SAFETY: both pointers are null or C strings which outlive the call.
        let answer = unsafe {
            libc::syscall(libc::SYS_fsconfig, self.0.as_raw_fd(), command, pointer(key), pointer(value), aux)
        };
        Errno::result(answer).map(drop)
    }
}

/// A new file system of type `kind`, configured by `options` (an option without a value is a flag), as a
/// detached mount with the flags `attrs`.
pub(crate) fn new(kind: &CStr, options: &[(&str, Option<&str>)], attrs: u64) -> nix::Result<OwnedFd> {
    let context = Context::open(kind)?;
    for (key, value) in options {
        context.set(key, *value)?;
    }
    context.mount(attrs)
}

/// A detached copy of the mount tree at `at`, sub-mounts included, to be attached elsewhere.
pub(crate) fn copy_tree(at: BorrowedFd<'_>) -> nix::Result<OwnedFd> {
    open_tree(at, libc::AT_RECURSIVE)
}

/// A detached copy of the mount at `at` alone. In a user namespace the kernel refuses it where it would uncover something.
pub(crate) fn copy_one(at: BorrowedFd<'_>) -> nix::Result<OwnedFd> {
    open_tree(at, 0)
}

/// A detached copy of the mount that `path` is on, beginning there, without what is mounted below.
pub(crate) fn copy_at(path: &Path) -> nix::Result<OwnedFd> {
    let cloexec = libc::O_CLOEXEC.cast_unsigned();
    let copy = |path: &CStr| {
        // SAFETY: the path is a C string, the rest are numbers.
        unsafe { libc::syscall(libc::SYS_open_tree, libc::AT_FDCWD, path.as_ptr(), OPEN_TREE_CLONE | cloexec) }
    };
    owned(path.with_nix_path(copy)?)
}

fn open_tree(at: BorrowedFd<'_>, recursive: libc::c_int) -> nix::Result<OwnedFd> {
    let cloexec = libc::O_CLOEXEC.cast_unsigned();
    let flags = OPEN_TREE_CLONE | cloexec | (libc::AT_EMPTY_PATH | recursive).cast_unsigned();
    // SAFETY: the path is an empty C string, the rest are numbers.
    owned(unsafe { libc::syscall(libc::SYS_open_tree, at.as_raw_fd(), c"".as_ptr(), flags) })
}

/// What `mount_setattr` is to change.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Change {
    /// Flags to set.
    pub(crate) set: u64,
    /// Flags to clear.
    pub(crate) clear: u64,
    /// `MS_PRIVATE` and its like; 0 leaves it.
    pub(crate) propagation: u64,
    /// With [`attr::IDMAP`]: the descriptor of a user namespace.
    pub(crate) userns: u64,
}

/// Changes the mount `tree`, and if asked for all below it.
pub(crate) fn change(tree: BorrowedFd<'_>, change: &Change, recursive: bool) -> nix::Result<()> {
    let flags = (libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 }).cast_unsigned();
    // SAFETY: `change` has the layout of `struct mount_attr` and is valid for the size given, the path is an empty C string.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_raw_fd(),
            c"".as_ptr(),
            flags,
            std::ptr::from_ref(change),
            size_of::<Change>(),
        )
    };
    Errno::result(answer).map(drop)
}

/// Adds the flags `set` to the mount `tree` and to all below it.
pub(crate) fn set_flags(tree: BorrowedFd<'_>, set: u64) -> nix::Result<()> {
    change(tree, &Change { set, ..Change::default() }, true)
}

/// Lets the detached mount `tree` show its owners as the user namespace `userns` translates them.
pub(crate) fn map_ids(tree: BorrowedFd<'_>, userns: BorrowedFd<'_>, recursive: bool) -> nix::Result<()> {
    let userns = u64::from(userns.as_raw_fd().cast_unsigned());
    change(tree, &Change { set: attr::IDMAP, userns, ..Change::default() }, recursive)
}

/// Attaches the detached mount `tree` onto the very file or directory which `target` refers to.
pub(crate) fn attach(tree: BorrowedFd<'_>, target: BorrowedFd<'_>) -> nix::Result<()> {
    let flags = MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH;
    // SAFETY: both paths are empty C strings, the rest are numbers.
    let answer = unsafe {
        libc::syscall(libc::SYS_move_mount, tree.as_raw_fd(), c"".as_ptr(), target.as_raw_fd(), c"".as_ptr(), flags)
    };
    Errno::result(answer).map(drop)
}

/// Attaches the detached mount `tree` onto `name`, an entry of the directory `dir` that is no link.
pub(crate) fn attach_in(tree: BorrowedFd<'_>, dir: BorrowedFd<'_>, name: &str) -> nix::Result<()> {
    let name = CString::new(name).map_err(|_| Errno::EINVAL)?;
    let flags = MOVE_MOUNT_F_EMPTY_PATH;
    // SAFETY: both paths are C strings which outlive the call, the rest are numbers.
    let answer = unsafe {
        libc::syscall(libc::SYS_move_mount, tree.as_raw_fd(), c"".as_ptr(), dir.as_raw_fd(), name.as_ptr(), flags)
    };
    Errno::result(answer).map(drop)
}
