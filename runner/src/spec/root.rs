//! What a container sees as `/`.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The file system of a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Root {
    /// The lower layer.
    pub rootfs: Rootfs,
}

/// The lower layer of the root file system. It is never written to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Rootfs {
    /// The host's own root, with only the system directories showing.
    Host,
    /// A directory, as it is.
    Dir(PathBuf),
}

impl fmt::Display for Rootfs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host => f.write_str("/"),
            Self::Dir(path) => write!(f, "{}", path.display()),
        }
    }
}
