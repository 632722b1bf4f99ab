//! What can be had of another process by its descriptor: its exit status, even afterwards, and what it has open.

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::libc;

use super::owned;

/// `struct pidfd_info` of linux/pidfd.h in its first size, 64 bytes.
#[repr(C)]
#[derive(Default)]
struct PidfdInfo {
    mask: u64,
    cgroup: u64,
    /// pid, tgid, ppid, and the real, effective, saved and file system uid and gid.
    ids: [u32; 11],
    exit_code: i32,
}

/// `_IOWR(0xFF, 11, struct pidfd_info)`.
const PIDFD_GET_INFO: libc::Ioctl = 0xC040_FF0B;
/// Asks for the exit status, since Linux 6.15; answered once the process has been reaped, by whomever.
const PIDFD_INFO_EXIT: u64 = 1 << 3;

/// The exit status of the process behind `pidfd`, whoever has reaped it: its own, or 128 and the number of the signal that
/// it died of. None as long as it has not been reaped.
pub(crate) fn exit_status(pidfd: BorrowedFd<'_>) -> nix::Result<Option<u8>> {
    let mut info = PidfdInfo { mask: PIDFD_INFO_EXIT, ..PidfdInfo::default() };
    // SAFETY: `info` has the size that the request's number says, and outlives the call.
    Errno::result(unsafe { libc::ioctl(pidfd.as_raw_fd(), PIDFD_GET_INFO, &raw mut info) })?;
    if info.mask & PIDFD_INFO_EXIT == 0 {
        return Ok(None);
    }
    Ok(Some(code(info.exit_code)))
}

/// A duplicate of what the process behind `pidfd` has open as `number`; closed on exec. Since Linux 5.6. Asks for the right to
/// trace that process.
pub(crate) fn get_fd(pidfd: BorrowedFd<'_>, number: RawFd) -> nix::Result<OwnedFd> {
    // SAFETY: numbers only.
    owned(unsafe { libc::syscall(libc::SYS_pidfd_getfd, pidfd.as_raw_fd(), number, 0) })
}

/// What a shell would say for the status that wait(2) gives.
pub(crate) fn code(status: i32) -> u8 {
    let code = if libc::WIFEXITED(status) { libc::WEXITSTATUS(status) } else { 128 + libc::WTERMSIG(status) };
    u8::try_from(code).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::process::Command;

    use nix::unistd::Pid;

    use super::*;
    use crate::sys::signal::pidfd_open;

    #[test]
    fn a_descriptor_tells_the_status_of_a_process_that_was_reaped() {
        let mut child =
            Command::new("sh").args(["-c", "read x; exit 42"]).stdin(std::process::Stdio::piped()).spawn().unwrap();
        let pidfd = pidfd_open(Pid::from_raw(child.id().cast_signed())).unwrap();
        assert_eq!(exit_status(pidfd.as_fd()).unwrap_or_default(), None);
        assert_eq!(child.wait().unwrap().code(), Some(42));
        match exit_status(pidfd.as_fd()) {
            // A kernel before 6.15.
            Err(Errno::ENOTTY | Errno::EINVAL | Errno::ESRCH) => {}
            answer => assert_eq!(answer, Ok(Some(42))),
        }
        assert_eq!(code(libc::SIGTERM), 143);
    }
}
