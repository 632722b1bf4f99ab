//! A container as its bundle describes it, in the runner's own terms, checked before anything is touched.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::cgroup::devices::{DeviceKind, Rule};
use crate::cgroup::systemd::Unit;
use crate::spec::{Limits, Mount, NetDevice, Process, Security, Size, TimeOffsets};

/// The whole container.
#[derive(Debug)]
pub(super) struct Plan {
    /// What is executed, and with which rights.
    pub(super) process: Process,
    /// What it gets as standard input and output.
    pub(super) terminal: Option<Terminal>,
    /// The directory that becomes `/`.
    pub(super) rootfs: PathBuf,
    /// It is moved over the host's root, which stays below it, instead of taking its place.
    pub(super) no_pivot: bool,
    /// Nothing can be written to that directory.
    pub(super) readonly: bool,
    /// What becomes of mounts that are made in it later; the kernel's `MS_*`.
    pub(super) propagation: Option<u64>,
    /// What is mounted into it, in this order.
    pub(super) mounts: Vec<MountStep>,
    /// Nodes in `/dev` beside the usual ones.
    pub(super) devices: Vec<Node>,
    /// Masks, read-only paths, sysctls and the filter of system calls.
    pub(super) security: Security,
    /// The namespaces that it has to itself, or that it joins.
    pub(super) namespaces: Namespaces,
    /// Its group, relative to the root of every hierarchy.
    pub(super) group: PathBuf,
    /// The scope that this group is, if systemd is to make it.
    pub(super) scope: Option<Unit>,
    /// What it may use.
    pub(super) limits: Limits,
    /// Which devices it may use.
    pub(super) rules: Vec<Rule>,
    /// Its host name.
    pub(super) hostname: Option<String>,
    /// Its domain name.
    pub(super) domainname: Option<String>,
    /// Programs of the engine's that are run on the way.
    pub(super) hooks: Hooks,
    /// Network devices of the host that move into its namespace.
    pub(super) net_devices: Vec<NetDevice>,
    /// Words of the engine's, passed on.
    pub(super) annotations: BTreeMap<String, String>,
}

/// A pseudo terminal, with its size if the engine has one in mind.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Terminal {
    pub(super) size: Option<Size>,
}

/// One entry of the list of mounts.
#[derive(Debug)]
pub(super) enum MountStep {
    /// The processes of the container's pid namespace.
    Proc,
    /// The devices of its network namespace.
    Sys {
        /// Whether it can be written to.
        writable: bool,
    },
    /// All hierarchies of groups.
    Cgroups {
        /// Whether they can be written to.
        writable: bool,
    },
    /// Anything else.
    Other(Mount),
}

/// A device node to be made.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) path: PathBuf,
    pub(super) kind: DeviceKind,
    pub(super) major: u64,
    pub(super) minor: u64,
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
}

/// Where a namespace comes from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum Origin {
    /// The runtime's own.
    #[default]
    Shared,
    /// A new one.
    New,
    /// A file.
    Path(PathBuf),
}

/// The namespaces, beside that of mounts, which is always new.
#[derive(Debug, Default)]
pub(super) struct Namespaces {
    pub(super) pid: Origin,
    pub(super) ipc: Origin,
    pub(super) uts: Origin,
    pub(super) net: Origin,
    pub(super) cgroup: Origin,
    /// A new time namespace, with its clocks.
    pub(super) time: Option<TimeOffsets>,
}

/// A program of the engine's.
#[derive(Debug, Clone)]
pub(super) struct Hook {
    pub(super) path: PathBuf,
    /// With the name of the program first.
    pub(super) args: Vec<String>,
    pub(super) env: Vec<String>,
    pub(super) timeout: Option<Duration>,
}

/// The hooks by the moment at which they are run.
#[derive(Debug, Default)]
pub(super) struct Hooks {
    pub(super) prestart: Vec<Hook>,
    pub(super) create_runtime: Vec<Hook>,
    pub(super) create_container: Vec<Hook>,
    pub(super) start_container: Vec<Hook>,
    pub(super) poststart: Vec<Hook>,
    pub(super) poststop: Vec<Hook>,
}
