//! Session keyrings.

use nix::errno::Errno;
use nix::libc;

/// Replaces the session keyring, which is inherited, by a new one without a name.
pub(crate) fn join_new_session() -> nix::Result<()> {
    let anonymous = std::ptr::null::<libc::c_char>();
    // SAFETY: a null name asks for a keyring without one.
    let answer = unsafe { libc::syscall(libc::SYS_keyctl, libc::KEYCTL_JOIN_SESSION_KEYRING, anonymous) };
    Errno::result(answer).map(drop)
}
