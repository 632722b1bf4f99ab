//! What of a layer could not be kept in a user namespace: owners that have no id there, and device nodes.

use std::sync::atomic::{AtomicU64, Ordering};

use nix::errno::Errno;

use crate::sys::ns::in_initial_user;

/// So many files, of all layers that this process has unpacked.
static FILES: AtomicU64 = AtomicU64::new(0);

/// Counts a file.
pub(super) fn add() {
    FILES.fetch_add(1, Ordering::Relaxed);
}

/// Lets pass what a change of owner has answered, if only the id is missing.
pub(super) fn keep(answer: nix::Result<()>) -> nix::Result<()> {
    match answer {
        Err(Errno::EINVAL) if !in_initial_user() => {
            add();
            Ok(())
        }
        answer => answer,
    }
}

/// How many files this process could not make as they are in their archive.
pub(crate) fn count() -> u64 {
    FILES.load(Ordering::Relaxed)
}
