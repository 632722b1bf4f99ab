//! The suites of plugin binaries: ours, and Debian's builds of the Go suite.

use std::path::{Path, PathBuf};

/// Whose binaries are run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suite {
    /// The binaries under test.
    Ours,
    /// The Go suite, from Debian's `containernetworking-plugins`.
    Go,
    /// A newer release of it, from where `make newer-go` has put it; not there on every machine.
    Newer,
}

impl Suite {
    /// The directory of the binaries, checked to exist.
    #[must_use]
    pub fn dir(self) -> PathBuf {
        let (dir, advice) = match self {
            Self::Ours => (ours(), "run make build first"),
            Self::Go => (PathBuf::from("/usr/lib/cni"), "install containernetworking-plugins"),
            Self::Newer => (newer(), "run make newer-go"),
        };
        assert!(dir.join("bridge").is_file(), "no plugins in {}: {advice}", dir.display());
        dir
    }

    /// Whether the newer Go suite is on this machine.
    #[must_use]
    pub fn has_newer() -> bool {
        newer().join("bridge").is_file()
    }

    /// Whether both suites are the same binaries, as when the tests themselves are tested.
    #[must_use]
    pub fn are_same() -> bool {
        Self::Ours.dir() == Self::Go.dir()
    }
}

fn newer() -> PathBuf {
    std::env::var_os("XNET_NEWER_GO_DIR").map(PathBuf::from).unwrap_or_default()
}

fn ours() -> PathBuf {
    std::env::var_os("XNET_BIN_DIR")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("bin"), PathBuf::from)
}
