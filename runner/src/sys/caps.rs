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

/// Cuts the permitted and effective sets down to `keep` (a bit per capability) and empties the inheritable one.
pub(crate) fn restrict(keep: u64) -> nix::Result<()> {
    let header = Header { version: VERSION_3, pid: 0 };
    let mut data = [Data::default(); 2];
    // SAFETY: header and data have the layout of version 3 and outlive the call.
    Errno::result(unsafe { libc::syscall(libc::SYS_capget, &raw const header, data.as_mut_ptr()) })?;
    #[expect(clippy::cast_possible_truncation, reason = "the two halves of one word are meant")]
    let halves = [keep as u32, (keep >> 32) as u32];
    for (set, keep) in data.iter_mut().zip(halves) {
        set.permitted &= keep;
        set.effective = set.permitted;
        set.inheritable = 0;
    }
    // SAFETY: as above.
    Errno::result(unsafe { libc::syscall(libc::SYS_capset, &raw const header, data.as_ptr()) }).map(drop)
}
