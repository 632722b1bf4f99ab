//! The whole container as a value, checked before anything is touched.
//!
//! A part for each side of it, made from the flags of that side (`cli::flags`). It is written down when the container is
//! made and never changes afterwards, so that a later start means what the first one meant.

mod limits;
mod net;
mod process;
mod root;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::id::Name;

pub use limits::{
    Device, Limits, Throttle, ThrottleKind, Total, parse_bytes, parse_cpus, parse_memory, parse_set, parse_throttle,
};
pub use net::{Hostname, Net, NetMode};
pub use process::Process;
pub use root::{Root, Rootfs};

/// Where xnet keeps what it knows, and where it exposes network namespaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dirs {
    /// What outlives a reboot: containers, their writable layers, images, volumes, networks: `/var/lib/xnet`.
    pub data: PathBuf,
    /// What does not: a directory per container, on a tmpfs as a rule: `/run/xnet`.
    pub state: PathBuf,
    /// Where network namespaces are pinned, so that `ip netns exec` finds them: `/run/netns`.
    pub netns: PathBuf,
}

/// One container, as asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spec {
    /// 64 random hexadecimal digits.
    pub id: Name,
    /// `--name`.
    pub name: Option<Name>,
    /// What is executed, and with which rights.
    pub process: Process,
    /// What it sees as `/`.
    pub root: Root,
    /// How it is connected.
    pub net: Net,
    /// What it may use.
    pub limits: Limits,
    /// `--cgroup-parent`: the group that the container's group is made in.
    pub cgroup_parent: Name,
}
