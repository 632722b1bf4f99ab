//! Connecting a running container to another network, and disconnecting it.
//!
//! The container belongs to another process, its runner. What is done here is written into the same log, so that the
//! runner undoes it in the end. A lock keeps the two apart: it is held here while plugins work, and by the runner from
//! before it reads the log until the container is gone.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::error::{Context, Result};

/// Keeps everybody else from changing what the container of the state directory `dir` is connected to.
///
/// # Errors
/// The directory is gone.
pub(crate) fn lock(dir: &Path) -> Result<File> {
    let path = dir.join("net.lock");
    let mut options = OpenOptions::new();
    options.write(true).create(true).mode(0o600).custom_flags(nix::libc::O_NOFOLLOW | nix::libc::O_CLOEXEC);
    let file = options.open(&path).context(|| format!("open {}", path.display()))?;
    file.lock().context(|| format!("lock {}", path.display()))?;
    Ok(file)
}
