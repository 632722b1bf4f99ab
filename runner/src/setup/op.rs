//! The operations and their order.

use std::fmt;
use std::path::PathBuf;

use crate::spec::{Rootfs, Spec};

/// One step of the set-up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// Leave the caller's session: a terminal shared with it must not be a way into it.
    Session,
    /// Move this process into its version 1 groups (version 2's was joined at birth).
    JoinCgroups,
    /// Make these groups the root of what the container sees.
    CgroupNamespace,
    /// Enter the network namespace of another container.
    JoinNet(PathBuf),
    /// Set `lo` up.
    Loopback,
    /// Set the host name.
    Hostname(String),
    /// Cut mount propagation towards the host.
    SlaveMounts,
    /// A tmpfs that only this mount namespace knows, for the writable layer.
    Staging,
    /// Hide everything of the host's root but the system directories.
    HostView,
    /// Stack the writable layer above the root file system.
    Overlay(Rootfs),
    /// Show system directories of the host that are mounts of their own.
    HostMounts,
    /// Mount a procfs of the new pid namespace.
    Proc,
    /// Mount a sysfs of the network namespace.
    Sys {
        /// Whether it can be written to.
        writable: bool,
    },
    /// Mount the cgroup hierarchies.
    Cgroups {
        /// Whether they can be written to.
        writable: bool,
    },
    /// Build `/dev`.
    Dev,
    /// Make a path unreadable by mounting something empty over it.
    Mask(&'static str),
    /// Make a path read-only by mounting it over itself.
    ReadOnly(&'static str),
    /// Wait until the parent has wired the network.
    AwaitNetwork,
    /// Write `/etc/hostname`, `/etc/hosts` and `/etc/resolv.conf`.
    Files,
    /// Make the new root the root, and let go of the old one.
    Pivot,
    /// Change to the working directory.
    Workdir(PathBuf),
    /// Drop the capabilities that a container does not need.
    Capabilities,
}

/// What /proc and /sys show that a container must not read: kernel memory, keys, timing of others, firmware.
const MASKED: [&str; 13] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
    "/sys/fs/selinux",
];

/// What /proc lets root change for the whole host.
const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// The set-up of `spec`, in order. `joined` is the namespace file that `--net container:` stands for, and
/// `hostname` the name that the container gets, if it gets one.
#[must_use]
pub fn plan(spec: &Spec, joined: Option<PathBuf>, hostname: Option<String>) -> Vec<Op> {
    let mut ops = vec![Op::Session, Op::JoinCgroups, Op::CgroupNamespace];
    ops.extend(joined.map(Op::JoinNet));
    if spec.net.mode.is_private() {
        ops.push(Op::Loopback);
    }
    ops.extend(hostname.map(Op::Hostname));
    ops.extend([Op::SlaveMounts, Op::Staging]);
    if spec.root.rootfs == Rootfs::Host {
        ops.push(Op::HostView);
    }
    ops.push(Op::Overlay(spec.root.rootfs.clone()));
    if spec.root.rootfs == Rootfs::Host {
        ops.push(Op::HostMounts);
    }
    let writable = spec.process.privileged;
    ops.extend([Op::Proc, Op::Sys { writable }, Op::Cgroups { writable }, Op::Dev]);
    if !spec.process.privileged {
        ops.extend(MASKED.map(Op::Mask));
        ops.extend(READ_ONLY.map(Op::ReadOnly));
    }
    ops.extend([Op::AwaitNetwork, Op::Files, Op::Pivot, Op::Workdir(spec.process.workdir.clone())]);
    if !spec.process.privileged {
        ops.push(Op::Capabilities);
    }
    ops
}

impl Op {
    /// A short name, unique per kind, for fault injection.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::JoinCgroups => "join-cgroups",
            Self::CgroupNamespace => "cgroup-namespace",
            Self::JoinNet(_) => "join-net",
            Self::Loopback => "loopback",
            Self::Hostname(_) => "hostname",
            Self::SlaveMounts => "slave-mounts",
            Self::Staging => "staging",
            Self::HostView => "host-view",
            Self::Overlay(_) => "overlay",
            Self::HostMounts => "host-mounts",
            Self::Proc => "proc",
            Self::Sys { .. } => "sys",
            Self::Cgroups { .. } => "cgroups",
            Self::Dev => "dev",
            Self::Mask(_) => "mask",
            Self::ReadOnly(_) => "read-only",
            Self::AwaitNetwork => "await-network",
            Self::Files => "files",
            Self::Pivot => "pivot",
            Self::Workdir(_) => "workdir",
            Self::Capabilities => "capabilities",
        }
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mode = |writable: &bool| if *writable { "rw" } else { "ro" };
        match self {
            Self::Session => f.write_str("setsid"),
            Self::JoinCgroups => f.write_str("echo 0 > /sys/fs/cgroup/*/xnet/ID/tasks"),
            Self::CgroupNamespace => f.write_str("unshare --cgroup"),
            Self::JoinNet(path) => write!(f, "nsenter --net={}", path.display()),
            Self::Loopback => f.write_str("ip link set lo up"),
            Self::Hostname(name) => write!(f, "hostname {name}"),
            Self::SlaveMounts => f.write_str("mount --make-rslave /"),
            Self::Staging => f.write_str("mount -t tmpfs xnet STAGING"),
            Self::HostView => f.write_str("hide what is not a system directory of the host's root"),
            Self::Overlay(rootfs) => write!(f, "mount -t overlay -o lowerdir={rootfs} overlay ROOT"),
            Self::HostMounts => f.write_str("mount --rbind -o ro the host's system directories ROOT"),
            Self::Proc => f.write_str("mount -t proc -o nosuid,nodev,noexec proc /proc"),
            Self::Sys { writable } => {
                write!(f, "mount -t sysfs -o nosuid,nodev,noexec,{} sysfs /sys", mode(writable))
            }
            Self::Cgroups { writable } => write!(f, "mount -t cgroup -o {} cgroup /sys/fs/cgroup", mode(writable)),
            Self::Dev => f.write_str("mount -t tmpfs -o nosuid,noexec,mode=755 tmpfs /dev, with its nodes and mounts"),
            Self::Mask(path) => write!(f, "mount an empty {path}"),
            Self::ReadOnly(path) => write!(f, "mount --rbind -o ro {path} {path}"),
            Self::AwaitNetwork => f.write_str("wait for the network"),
            Self::Files => f.write_str("write /etc/hostname /etc/hosts /etc/resolv.conf"),
            Self::Pivot => f.write_str("pivot_root . . && umount -l ."),
            Self::Workdir(path) => write!(f, "mkdir -p {0} && cd {0}", path.display()),
            Self::Capabilities => f.write_str("drop capabilities"),
        }
    }
}
