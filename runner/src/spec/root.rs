//! What a container sees as `/`.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::mount::Mount;

/// The file system of a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Root {
    /// What is below the container's own changes.
    pub rootfs: Rootfs,
    /// How the changes are kept apart from it.
    pub storage: Storage,
    /// `--rm`: nobody will want the changes after the container's end, so they need not be safe on the disk before.
    pub discard: bool,
    /// `--read-only`: the root file system itself cannot be written to; mounts in it can.
    pub readonly: bool,
    /// What is mounted into it beside the system's own, in this order.
    pub mounts: Vec<Mount>,
    /// `--device`.
    pub devices: Vec<HostDevice>,
    /// `--shm-size`: what `/dev/shm` holds at most, in bytes.
    pub shm_bytes: u64,
}

/// What is below a container's own changes. It is never written to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Rootfs {
    /// The host's own root, with only the system directories showing.
    Host,
    /// A directory, as it is.
    Dir(PathBuf),
    /// An image.
    Image {
        /// `sha256:` and the digest of its configuration.
        id: String,
        /// What it was called by.
        name: String,
        /// The directories of its layers, the lowest first.
        layers: Vec<PathBuf>,
    },
}

/// How a container's changes are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Storage {
    /// A layer of its own above the image's, stacked by the kernel.
    #[default]
    Overlay,
    /// A copy of everything, for places where the kernel cannot stack.
    Vfs,
}

/// `--device`: a device node of the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostDevice {
    /// The node on the host.
    pub host: PathBuf,
    /// Where it is inside, absolute.
    pub inside: PathBuf,
    /// What may be done with it: `r`ead, `w`rite, `m`knod.
    pub access: String,
}

/// What `/dev/shm` holds unless something else is asked for, as elsewhere.
pub const SHM_BYTES: u64 = 64 << 20;

impl Root {
    /// A root file system without anything special.
    #[must_use]
    pub fn new(rootfs: Rootfs) -> Self {
        Self {
            rootfs,
            storage: Storage::default(),
            discard: false,
            readonly: false,
            mounts: Vec::new(),
            devices: Vec::new(),
            shm_bytes: SHM_BYTES,
        }
    }
}

impl Storage {
    /// The name of the driver, as `--storage` takes it and `inspect` shows it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Overlay => "overlay",
            Self::Vfs => "vfs",
        }
    }
}

impl fmt::Display for Rootfs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host => f.write_str("HOSTVIEW"),
            Self::Dir(path) => write!(f, "{}", path.display()),
            Self::Image { name, .. } => f.write_str(name),
        }
    }
}
