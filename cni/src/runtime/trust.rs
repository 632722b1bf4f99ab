//! Who may change what will be executed.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::unistd::geteuid;

/// Group's and others' right to write.
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// Why `dir`, a directory of plugins or of configurations, is not to be relied on: somebody else than root and the
/// caller can put a file there, and so decide what runs with the caller's rights. A sentence for a warning; `None` if
/// all is well, or there is no such directory.
pub fn distrusted(dir: &Path) -> Option<String> {
    let meta = fs::metadata(dir).ok()?;
    let owned = [0, geteuid().as_raw()].contains(&meta.uid());
    let reason = match meta.mode() & WRITABLE_BY_OTHERS {
        _ if !owned => format!("is owned by uid {}", meta.uid()),
        0 => return None,
        mode => format!("is writable by {}", if mode & 0o002 == 0 { "its group" } else { "everybody" }),
    };
    Some(format!("{} {reason}; whoever can write there decides what is executed", dir.display()))
}
