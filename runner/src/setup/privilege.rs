//! Capabilities of a container that is not privileged.
//!
//! Root inside is the host's root with most of its powers taken away: the bounding set is cut first, so that no
//! program can get back what is gone, then the process' own sets. The list is the one that other runtimes
//! have settled on, without `CAP_MKNOD`: as long as nothing restricts which devices may be opened, a node
//! made inside would be a door to the host's disks.

use nix::errno::Errno;

use crate::error::{Context, Result};
use crate::sys::caps;

/// Numbers from linux/capability.h.
const KEPT: [u32; 13] = [
    0,  // CAP_CHOWN
    1,  // CAP_DAC_OVERRIDE
    3,  // CAP_FOWNER
    4,  // CAP_FSETID
    5,  // CAP_KILL
    6,  // CAP_SETGID
    7,  // CAP_SETUID
    8,  // CAP_SETPCAP
    10, // CAP_NET_BIND_SERVICE
    13, // CAP_NET_RAW
    18, // CAP_SYS_CHROOT
    29, // CAP_AUDIT_WRITE
    31, // CAP_SETFCAP
];

/// Sets have 64 bits; the kernel says which of them mean something.
const BITS: u32 = 64;

/// Cuts bounding, permitted and effective set down to the kept capabilities, and empties the other two.
pub(crate) fn drop_capabilities() -> Result<()> {
    for number in (0..BITS).filter(|n| !KEPT.contains(n)) {
        match caps::drop_bounding(number) {
            // The first number that the kernel does not know: there are no more.
            Err(Errno::EINVAL) => break,
            answer => answer.context(|| format!("drop capability {number} from the bounding set"))?,
        }
    }
    caps::clear_ambient().context(|| "clear the ambient capabilities")?;
    caps::restrict(KEPT.iter().fold(0, |set, number| set | 1 << number)).context(|| "drop capabilities")
}
