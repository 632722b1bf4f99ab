//! The whole container as a value, checked before anything is touched.
//!
//! A part for each side of it, made from the flags of that side (`cli::flags`). It is written down when the container is
//! made and never changes afterwards, so that a later start means what the first one meant.

mod capabilities;
mod health;
mod io;
mod life;
mod limits;
mod log;
pub(crate) mod mount;
mod namespaces;
mod net;
mod process;
mod rlimit;
mod root;
mod security;
mod user;
mod users;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::cgroup::systemd::Unit;
use crate::id::Name;

pub use crate::binfmt::Emulator;
pub use capabilities::{Capabilities, Capability, CapabilitySet, default_set};
pub use health::Health;
pub use io::{Attach, Io, Size, Stdin};
pub use life::{Life, Restart, STOP_TIMEOUT, Signal};
pub use limits::{
    Device, Limits, Throttle, ThrottleKind, Total, parse_bytes, parse_cpus, parse_memory, parse_set, parse_throttle,
};
pub(crate) use log::field_name;
pub use log::{Driver, Log};
pub use mount::{Flags, FsOption, Mount, Propagation, Source};
pub use namespaces::{NamespaceMode, Namespaces, TimeOffsets};
pub use net::{
    Carrier, Dns, Domain, Expose, ExtraHost, HostAddress, HostPort, Hostname, Mac, Net, NetDevice, NetMode, Protocol,
    Publish,
};
pub use process::{Process, Rights};
pub use rlimit::{Rlimit, UNLIMITED};
pub use root::{HostDevice, Root, Rootfs, SHM_BYTES, Storage};
pub use security::{Seccomp, Security, Sysctl, SysctlScope};
pub use user::{User, Who};
pub use users::{IdMap, Users};

/// Where xnet keeps what it knows, and where it exposes network namespaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dirs {
    /// What outlives a reboot: containers, their writable layers, images, volumes, networks: `/var/lib/xnet`.
    pub data: PathBuf,
    /// What does not: a directory per container, on a tmpfs as a rule: `/run/xnet`.
    pub state: PathBuf,
    /// Where network namespaces are pinned, so that `ip netns exec` finds them: `/run/netns`.
    pub netns: PathBuf,
    /// Where the engines of this host describe their CNI networks: `/etc/cni/net.d`.
    pub conf: PathBuf,
}

impl Dirs {
    /// The directory of what outlives a run of container `id`.
    #[must_use]
    pub fn container(&self, id: &Name) -> PathBuf {
        self.data.join("containers").join(id.as_str())
    }
}

/// One container, as asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spec {
    /// 64 random hexadecimal digits.
    pub id: Name,
    /// `--name`.
    pub name: Option<Name>,
    /// How it begins and ends.
    pub life: Life,
    /// What is executed, and with which rights.
    pub process: Process,
    /// Which namespaces it has to itself.
    pub namespaces: Namespaces,
    /// What it is kept from.
    pub security: Security,
    /// What it sees as `/`.
    pub root: Root,
    /// How its standard streams are connected.
    #[serde(default)]
    pub io: Io,
    /// How it is connected.
    pub net: Net,
    /// What it may use.
    pub limits: Limits,
    /// `--cgroup-parent`: the group that the container's group is made in, if not at the top.
    pub cgroup_parent: Option<Name>,
    /// `--cgroup-manager systemd`: the scope that is the container's group.
    #[serde(default)]
    pub scope: Option<Unit>,
}
