//! Capabilities: the bounding set and the process' own sets.

use nix::errno::Errno;
use nix::libc;

/// Takes capability `number` out of the bounding set. `EINVAL` means that the kernel has no such capability.
pub(crate) fn drop_bounding(number: u32) -> nix::Result<()> {
    // SAFETY: numbers only.
    Errno::result(unsafe { libc::prctl(libc::PR_CAPBSET_DROP, libc::c_ulong::from(number), 0, 0, 0) }).map(drop)
}

/// Empties the ambient set.
pub(crate) fn clear_ambient() -> nix::Result<()> {
    // SAFETY: numbers only.
    let answer = unsafe { libc::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) };
    Errno::result(answer).map(drop)
}

#[repr(C)]
struct Header {
    version: u32,
    pid: libc::c_int,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Data {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// `_LINUX_CAPABILITY_VERSION_3`: two words of 32 bits per set.
const VERSION_3: u32 = 0x2008_0522;

/// Makes a capability ambient, which must be permitted and inheritable.
pub(crate) fn raise_ambient(number: u32) -> nix::Result<()> {
    let number = libc::c_ulong::from(number);
    // SAFETY: numbers only.
    let answer = unsafe { libc::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_RAISE, number, 0, 0) };
    Errno::result(answer).map(drop)
}

/// Whether the bounding set has capability `number`.
pub(crate) fn in_bounding(number: u32) -> bool {
    // SAFETY: numbers only.
    unsafe { libc::prctl(libc::PR_CAPBSET_READ, libc::c_ulong::from(number), 0, 0, 0) == 1 }
}

/// The permitted set, a bit per capability.
pub(crate) fn permitted() -> nix::Result<u64> {
    let header = Header { version: VERSION_3, pid: 0 };
    let mut data = [Data::default(); 2];
    // SAFETY: header and data have the layout of version 3 and outlive the call.
    Errno::result(unsafe { libc::syscall(libc::SYS_capget, &raw const header, data.as_mut_ptr()) })?;
    let [low, high] = data.map(|half| u64::from(half.permitted));
    Ok(low | high << 32)
}

/// Sets the process' own three sets, a bit per capability.
pub(crate) fn set(permitted: u64, effective: u64, inheritable: u64) -> nix::Result<()> {
    let header = Header { version: VERSION_3, pid: 0 };
    #[expect(clippy::cast_possible_truncation, reason = "the two halves of one word are meant")]
    let half = |shift: u32| Data {
        effective: (effective >> shift) as u32,
        permitted: (permitted >> shift) as u32,
        inheritable: (inheritable >> shift) as u32,
    };
    let data = [half(0), half(32)];
    // SAFETY: as above.
    Errno::result(unsafe { libc::syscall(libc::SYS_capset, &raw const header, data.as_ptr()) }).map(drop)
}
