//! A plugin never attaches its own network namespace.
//!
//! A runtime that leaves `CNI_NETNS` pointing at the host's namespace would have the plugin rename, address or remove the
//! host's own interfaces. Two paths lead to one namespace if device and inode agree, which a plain `stat` tells: nothing
//! needs to be opened or entered. A path that leads nowhere is no concern of the guard: DEL must work without a namespace,
//! and ADD's own error says more.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use crate::error::{Code, Error, reason};

const OWN: &str = "/proc/thread-self/ns/net";

/// Fails if `netns` is the namespace of this thread.
pub(super) fn refuse_own_netns(netns: &str) -> Result<(), Error> {
    refuse_same(Path::new(netns), Path::new(OWN))
}

fn refuse_same(netns: &Path, own: &Path) -> Result<(), Error> {
    let invalid = |msg: &str| Error::new(Code::INVALID_NETNS, msg);
    let Ok(target) = identity(netns) else { return Ok(()) };
    let own = identity(own).map_err(|error| {
        invalid("get plugin's netns failed").with_details(format!("{}: {}", own.display(), reason(&error)))
    })?;
    if target == own {
        return Err(invalid("plugin's netns and netns from CNI_NETNS should not be the same"));
    }
    Ok(())
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let metadata = fs::metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_namespace_is_refused_by_any_path() {
        let text = "plugin's netns and netns from CNI_NETNS should not be the same";
        let by_pid = format!("/proc/{}/ns/net", std::process::id());
        for path in ["/proc/self/ns/net", "/proc/thread-self/ns/net", &by_pid] {
            assert_eq!(refuse_own_netns(path).unwrap_err(), Error::new(Code(8), text), "{path}");
        }
    }

    #[test]
    fn what_is_no_namespace_is_left_to_the_plugin() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let file = file.path().to_str().unwrap();
        for path in ["", "/nonexistent/ns", "relative", "/proc", "/proc/self/ns/mnt", file] {
            assert_eq!(refuse_own_netns(path), Ok(()), "{path}");
        }
    }

    #[test]
    fn an_unknown_own_namespace_is_an_error() {
        let error = refuse_same(Path::new("/proc/self/ns/net"), Path::new("/nonexistent")).unwrap_err();
        assert_eq!((error.code, error.msg.as_str()), (Code(8), "get plugin's netns failed"));
    }
}
