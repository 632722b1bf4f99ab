//! Extended attributes of open files.

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::errno::Errno;
use nix::libc;

/// The names, each with a NUL behind it.
pub(crate) fn list(fd: BorrowedFd<'_>) -> nix::Result<Vec<u8>> {
    grown(|buffer| {
        // SAFETY: the kernel writes at most the length given into the buffer, which is ours.
        unsafe { libc::flistxattr(fd.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len()) }
    })
}

/// The value of one.
pub(crate) fn get(fd: BorrowedFd<'_>, name: &CStr) -> nix::Result<Vec<u8>> {
    grown(|buffer| {
        // SAFETY: the name is a C string, and the kernel writes at most the length given into the buffer, which is ours.
        unsafe { libc::fgetxattr(fd.as_raw_fd(), name.as_ptr(), buffer.as_mut_ptr().cast(), buffer.len()) }
    })
}

/// Sets one.
pub(crate) fn set(fd: BorrowedFd<'_>, name: &CStr, value: &[u8]) -> nix::Result<()> {
    // SAFETY: the name is a C string, and the value is valid for the length given.
    let answer = unsafe { libc::fsetxattr(fd.as_raw_fd(), name.as_ptr(), value.as_ptr().cast(), value.len(), 0) };
    Errno::result(answer).map(drop)
}

/// Asks with a larger buffer until the answer fits. The kernel's own limit is 64 KiB.
fn grown(mut ask: impl FnMut(&mut [u8]) -> isize) -> nix::Result<Vec<u8>> {
    let mut buffer = vec![0; 1024];
    loop {
        match Errno::result(ask(&mut buffer)) {
            Err(Errno::ERANGE) if buffer.len() < 1 << 20 => buffer.resize(buffer.len() * 4, 0),
            answer => {
                buffer.truncate(usize::try_from(answer?).unwrap_or(0));
                return Ok(buffer);
            }
        }
    }
}
