//! The operations and their order.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::spec::{Emulator, Mount, NamespaceMode, Rlimit, Rootfs, Spec, Storage, Sysctl, TimeOffsets};

/// One step of the set-up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// Wait for the parent to map the ids of this user namespace, and for what it alone can open.
    UserNamespace,
    /// Leave the caller's session: a terminal shared with it must not be a way into it.
    Session,
    /// Move this process into its version 1 groups (version 2's was joined at birth).
    JoinCgroups,
    /// Make these groups the root of what the container sees.
    CgroupNamespace,
    /// Enter the network namespace of another container.
    JoinNet(PathBuf),
    /// Enter a namespace of the IPC, UTS or cgroup kind.
    Join(Joined),
    /// Make a time namespace, set its clocks and enter it.
    Time(TimeOffsets),
    /// Set `lo` up.
    Loopback,
    /// Set the host name.
    Hostname(String),
    /// Set the domain name.
    Domainname(String),
    /// Cut mount propagation towards the host.
    SlaveMounts,
    /// Stack the writable layer above the root file system, or take its copy; attached nowhere yet.
    Root(Rootfs, Storage),
    /// Open what is to be mounted, before the host's mounts are cut off.
    Source(Mount),
    /// Attach the root file system, for this mount namespace only.
    Attach,
    /// Mount a procfs of the new pid namespace.
    Proc,
    /// Register an emulator in the user namespace's binfmt_misc.
    Emulator(Emulator),
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
    /// Share `/dev/shm` with those who share the IPC namespace.
    SharedMemory,
    /// Mount what the user wants mounted.
    Mount(Mount),
    /// Make a terminal, and `/dev/console` of it.
    Console,
    /// Connect standard streams that only exist inside: the terminal, or an empty input.
    Stdio,
    /// Make a path unreadable by mounting something empty over it.
    Mask(PathBuf),
    /// Make a path read-only by mounting it over itself.
    ReadOnly(PathBuf),
    /// Wait until the parent has wired the network.
    AwaitNetwork,
    /// Show the container's own `/etc/hostname`, `/etc/hosts` and `/etc/resolv.conf`.
    Files,
    /// Let nothing more be written to the root file system.
    ReadOnlyRoot,
    /// Make the new root the root, and let go of the old one.
    Pivot,
    /// Make the new root the root by moving it over the old one, which stays below: for a host whose root cannot be let go of.
    MoveRoot,
    /// Change to the working directory.
    Workdir(PathBuf),
    /// Make a setting of the container's namespaces.
    Sysctl(Sysctl),
    /// Tell the kernel how willingly to kill the container.
    OomScore(i16),
    /// Leave the caller's session keyring.
    Keyring,
    /// Limit a resource of the process.
    Limit(Rlimit),
    /// Become the user, with the capabilities that it gets.
    Privileges,
}

/// A namespace to be entered, as a file that the parent has opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joined {
    /// Which kind: `ipc`, `uts`, `cgroup`, as under /proc/PID/ns.
    pub kind: &'static str,
    /// The file.
    pub path: PathBuf,
}

/// The set-up of `spec`, in order. `joined` is the namespace file that `--net container:` or `ns:` stands for; `hostname` and
/// `domainname` are the names that the container gets, if it gets any.
#[must_use]
pub fn plan(spec: &Spec, joined: Option<PathBuf>, hostname: Option<String>, domainname: Option<String>) -> Vec<Op> {
    let mut ops = vec![Op::Session];
    let inside = spec.namespaces.user.is_some();
    if inside {
        ops.push(Op::UserNamespace);
    }
    ops.push(Op::JoinCgroups);
    match &spec.namespaces.cgroup {
        NamespaceMode::Private => ops.push(Op::CgroupNamespace),
        NamespaceMode::Path(path) => ops.push(Op::Join(Joined { kind: "cgroup", path: path.clone() })),
        NamespaceMode::Host | NamespaceMode::Container(_) => {}
    }
    // A user namespace has no rights over another's network; its parent goes there, and it is born there.
    ops.extend(joined.filter(|_| !inside).map(Op::JoinNet));
    if spec.net.mode.is_private() {
        ops.push(Op::Loopback);
    }
    ops.extend(spec.namespaces.time.map(Op::Time));
    if spec.namespaces.uts == NamespaceMode::Private {
        ops.extend(hostname.map(Op::Hostname));
        ops.extend(domainname.map(Op::Domainname));
    }
    ops.extend(spec.security.sysctls.iter().cloned().map(Op::Sysctl));
    ops.extend(spec.process.oom_score_adj.map(Op::OomScore));
    ops.push(Op::Root(spec.root.rootfs.clone(), spec.root.storage));
    let (late, early): (Vec<_>, Vec<_>) = spec.root.mounts.iter().cloned().partition(replaces_file);
    ops.extend(early.iter().chain(&late).cloned().map(Op::Source));
    ops.extend([Op::SlaveMounts, Op::Attach]);
    let writable = spec.process.privileged;
    ops.push(Op::Proc);
    ops.extend(spec.namespaces.emulator.clone().map(Op::Emulator));
    ops.extend([Op::Sys { writable }, Op::Cgroups { writable }, Op::Dev]);
    if let NamespaceMode::Host | NamespaceMode::Container(_) = spec.namespaces.ipc {
        ops.push(Op::SharedMemory);
    }
    if spec.io.tty {
        ops.push(Op::Console);
    }
    let own_etc = early.iter().any(|mount| mount.target == Path::new("/etc"));
    ops.extend(early.into_iter().map(Op::Mount));
    ops.extend(spec.security.masked.iter().cloned().map(Op::Mask));
    ops.extend(spec.security.read_only.iter().cloned().map(Op::ReadOnly));
    ops.push(Op::AwaitNetwork);
    // Whoever brings an /etc of his own has brought these files, too; and nothing is made or replaced in it.
    if !own_etc {
        ops.push(Op::Files);
    }
    ops.extend(late.into_iter().map(Op::Mount));
    ops.extend([Op::Stdio, Op::Pivot, Op::Workdir(spec.process.workdir.clone())]);
    // The working directory may have to be made before.
    if spec.root.readonly {
        ops.push(Op::ReadOnlyRoot);
    }
    if spec.security.new_keyring {
        ops.push(Op::Keyring);
    }
    ops.extend(spec.process.rlimits.iter().cloned().map(Op::Limit));
    ops.push(Op::Privileges);
    ops
}

/// Whether something is mounted in the place of a file that every container gets.
fn replaces_file(mount: &Mount) -> bool {
    ["/etc/hostname", "/etc/hosts", "/etc/resolv.conf"].iter().any(|file| mount.target == Path::new(file))
}

impl Op {
    /// A short name, unique per kind, for fault injection.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::UserNamespace => "user-namespace",
            Self::Session => "session",
            Self::JoinCgroups => "join-cgroups",
            Self::CgroupNamespace => "cgroup-namespace",
            Self::JoinNet(_) => "join-net",
            Self::Loopback => "loopback",
            Self::Hostname(_) => "hostname",
            Self::Domainname(_) => "domainname",
            Self::SlaveMounts => "slave-mounts",
            Self::Root(..) => "root",
            Self::Source(_) => "source",
            Self::Attach => "attach",
            Self::Proc => "proc",
            Self::Emulator(_) => "emulator",
            Self::Sys { .. } => "sys",
            Self::Cgroups { .. } => "cgroups",
            Self::Dev => "dev",
            Self::SharedMemory => "shared-memory",
            Self::Mount(_) => "mount",
            Self::Console => "console",
            Self::Stdio => "stdio",
            Self::Mask(_) => "mask",
            Self::ReadOnly(_) => "read-only",
            Self::AwaitNetwork => "await-network",
            Self::Files => "files",
            Self::ReadOnlyRoot => "read-only-root",
            Self::Pivot => "pivot",
            Self::MoveRoot => "move-root",
            Self::Workdir(_) => "workdir",
            Self::Join(_) => "join-namespace",
            Self::Time(_) => "time-namespace",
            Self::Sysctl(_) => "sysctl",
            Self::OomScore(_) => "oom-score",
            Self::Keyring => "keyring",
            Self::Limit(_) => "limit",
            Self::Privileges => "privileges",
        }
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mode = |writable: &bool| if *writable { "rw" } else { "ro" };
        match self {
            Self::UserNamespace => f.write_str("wait for uid_map and gid_map"),
            Self::Session => f.write_str("setsid"),
            Self::JoinCgroups => f.write_str("echo 0 > /sys/fs/cgroup/*/xnet-ID/tasks"),
            Self::CgroupNamespace => f.write_str("unshare --cgroup"),
            Self::JoinNet(path) => write!(f, "nsenter --net={}", path.display()),
            Self::Loopback => f.write_str("ip link set lo up"),
            Self::Hostname(name) => write!(f, "hostname {name}"),
            Self::Domainname(name) => write!(f, "domainname {name}"),
            Self::SlaveMounts => f.write_str("mount --make-rslave /"),
            Self::Root(rootfs, Storage::Overlay) => {
                write!(f, "stack -t overlay -o lowerdir={rootfs},upperdir=OVERLAY/ID/diff,workdir=OVERLAY/ID/work")
            }
            Self::Root(rootfs, Storage::Vfs) => write!(f, "take OVERLAY/ID/diff, the copy of {rootfs}"),
            Self::Source(mount) => write!(f, "open the source of {}", mount.target.display()),
            Self::Attach => f.write_str("mount the root file system on OVERLAY/ID/merged"),
            Self::Proc => f.write_str("mount -t proc -o nosuid,nodev,noexec proc /proc"),
            Self::Emulator(emulator) => {
                write!(f, "register {} in /proc/sys/fs/binfmt_misc", emulator.interpreter.display())
            }
            Self::Sys { writable } => {
                write!(f, "mount -t sysfs -o nosuid,nodev,noexec,{} sysfs /sys", mode(writable))
            }
            Self::Cgroups { writable } => write!(f, "mount -t cgroup -o {} cgroup /sys/fs/cgroup", mode(writable)),
            Self::Dev => f.write_str("mount -t tmpfs -o nosuid,noexec,mode=755 tmpfs /dev, with its nodes and mounts"),
            Self::SharedMemory => f.write_str("mount --bind the other side's /dev/shm /dev/shm"),
            Self::Console => f.write_str("mount --bind /dev/pts/0 /dev/console"),
            Self::Stdio => f.write_str("connect standard input, output and error"),
            Self::Mask(path) => write!(f, "mount an empty {}", path.display()),
            Self::ReadOnly(path) => write!(f, "mount --rbind -o ro {0} {0}", path.display()),
            Self::Mount(mount) => mount.fmt(f),
            Self::ReadOnlyRoot => f.write_str("mount -o remount,ro /"),
            Self::AwaitNetwork => f.write_str("wait for the network"),
            Self::Files => f.write_str("mount --bind FILE /etc/FILE, for hostname, hosts and resolv.conf"),
            Self::Pivot => f.write_str("pivot_root . . && umount -l ."),
            Self::MoveRoot => f.write_str("mount --move . / && chroot ."),
            Self::Workdir(path) => write!(f, "mkdir -p {0} && cd {0}", path.display()),
            Self::Join(joined) => write!(f, "nsenter --{}={}", joined.kind, joined.path.display()),
            Self::Time(TimeOffsets { boottime, monotonic }) => {
                write!(f, "unshare --time --boottime {boottime} --monotonic {monotonic}")
            }
            Self::Sysctl(sysctl) => write!(f, "sysctl -w {sysctl}"),
            Self::OomScore(score) => write!(f, "echo {score} > /proc/self/oom_score_adj"),
            Self::Keyring => f.write_str("keyctl session"),
            Self::Limit(limit) => write!(f, "prlimit --{limit}"),
            Self::Privileges => f.write_str("drop capabilities, become the user"),
        }
    }
}
