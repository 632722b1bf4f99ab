//! The mount API of Linux 5.2 and 5.12: file systems and trees are made detached, get their flags, and only
//! then are attached, onto a descriptor. No path is looked up twice, and there is no moment in which a
//! mount is visible without its flags.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

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
}

const FSOPEN_CLOEXEC: libc::c_uint = 1;
const FSMOUNT_CLOEXEC: libc::c_uint = 1;
const FSCONFIG_SET_FLAG: libc::c_uint = 0;
const FSCONFIG_SET_STRING: libc::c_uint = 1;
const FSCONFIG_CMD_CREATE: libc::c_uint = 6;
const MOVE_MOUNT_F_EMPTY_PATH: libc::c_uint = 0x4;
const MOVE_MOUNT_T_EMPTY_PATH: libc::c_uint = 0x40;
const OPEN_TREE_CLONE: libc::c_uint = 1;

/// A new file system of type `kind`, configured by `options` (an option without a value is a flag), as a
/// detached mount with the flags `attrs`.
pub(crate) fn new(kind: &CStr, options: &[(&str, Option<&str>)], attrs: u64) -> nix::Result<OwnedFd> {
    // SAFETY: `kind` is a C string, the rest are numbers.
    let context = owned(unsafe { libc::syscall(libc::SYS_fsopen, kind.as_ptr(), FSOPEN_CLOEXEC) })?;
    for (key, value) in options {
        let key = CString::new(*key).map_err(|_| Errno::EINVAL)?;
        let value = value.map(CString::new).transpose().map_err(|_| Errno::EINVAL)?;
        configure(context.as_fd(), Some(&key), value.as_deref())?;
    }
    configure(context.as_fd(), None, None)?;
    // SAFETY: numbers only.
    owned(unsafe { libc::syscall(libc::SYS_fsmount, context.as_raw_fd(), FSMOUNT_CLOEXEC, attrs) })
}

/// One `fsconfig` call: set a key, or create the file system when there is none.
fn configure(context: BorrowedFd<'_>, key: Option<&CStr>, value: Option<&CStr>) -> nix::Result<()> {
    let command = match (key, value) {
        (None, _) => FSCONFIG_CMD_CREATE,
        (Some(_), None) => FSCONFIG_SET_FLAG,
        (Some(_), Some(_)) => FSCONFIG_SET_STRING,
    };
    let pointer = |text: Option<&CStr>| text.map_or(std::ptr::null(), CStr::as_ptr);
    // SAFETY: both pointers are null or C strings which outlive the call.
    let answer =
        unsafe { libc::syscall(libc::SYS_fsconfig, context.as_raw_fd(), command, pointer(key), pointer(value), 0) };
    Errno::result(answer).map(drop)
}

/// A detached copy of the mount tree at `at`, sub-mounts included, to be attached elsewhere.
pub(crate) fn copy_tree(at: BorrowedFd<'_>) -> nix::Result<OwnedFd> {
    let cloexec = libc::O_CLOEXEC.cast_unsigned();
    let flags = OPEN_TREE_CLONE | cloexec | (libc::AT_EMPTY_PATH | libc::AT_RECURSIVE).cast_unsigned();
    // SAFETY: the path is an empty C string, the rest are numbers.
    owned(unsafe { libc::syscall(libc::SYS_open_tree, at.as_raw_fd(), c"".as_ptr(), flags) })
}

#[repr(C)]
struct MountAttr {
    set: u64,
    clear: u64,
    propagation: u64,
    userns: u64,
}

/// Adds the flags `set` to the mount `tree` and to all below it.
pub(crate) fn set_flags(tree: BorrowedFd<'_>, set: u64) -> nix::Result<()> {
    let attr = MountAttr { set, clear: 0, propagation: 0, userns: 0 };
    let flags = (libc::AT_EMPTY_PATH | libc::AT_RECURSIVE).cast_unsigned();
    // SAFETY: `attr` is valid for the size given, the path is an empty C string.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const attr,
            size_of::<MountAttr>(),
        )
    };
    Errno::result(answer).map(drop)
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
