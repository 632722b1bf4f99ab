//! The interpreter of the set-up operations.

use std::collections::VecDeque;
use std::fs;
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};
use nix::unistd::{chdir, chroot, fchdir, pivot_root, sethostname, setsid};

use crate::binfmt;
use crate::cgroup::Hierarchy;
use crate::error::{Context, Error, Result};
use crate::fault;
use crate::io::streams::Stdio;
use crate::process::channel::ChildEnd;
use crate::seccomp::Filter;
use crate::spec::Process;
use crate::sys;
use crate::sys::mount::attr;
use crate::trace;
use crate::userns;

use super::files::Files;
use super::namespace::SharedMemory;
use super::op::Op;
use super::path::{Root, go_to};
use super::privilege::{self, Account};
use super::trees::{Maker, RootTree, Tree};
use super::{console, dev, kernel, mounts, namespace};

/// The state of a set-up that is under way.
#[derive(Debug)]
pub(crate) struct Setup<'a> {
    /// Makes the root file system and opens what is mounted into it.
    pub(crate) maker: Maker<'a>,
    /// Directories of the version 1 groups to join.
    pub(crate) groups: Vec<PathBuf>,
    /// Whether they are the roots of this process' cgroup namespace.
    pub(crate) groups_are_roots: bool,
    /// Their `tasks` files, if the parent had to open them.
    pub(crate) tasks: Option<Vec<fs::File>>,
    /// The hierarchies to show under /sys/fs/cgroup.
    pub(crate) hierarchies: &'a [Hierarchy],
    /// The command, its user and its rights.
    pub(crate) process: &'a Process,
    /// The filters of system calls.
    pub(crate) filters: &'a [Filter],
    /// Where `/dev/shm` comes from, if it is not the container's own.
    pub(crate) shm: Option<SharedMemory>,
    /// Who the command is, once its rights are given.
    pub(crate) account: Option<Account>,
    /// The container has a user namespace of its own.
    pub(crate) user_namespace: bool,
    /// The runner is in one already, with or without one of the container's own.
    pub(crate) nested: bool,
    /// The standard streams.
    pub(crate) stdio: &'a Stdio,
    /// The container's terminal, once it is made.
    pub(crate) terminal: Option<OwnedFd>,
    /// The line to the parent.
    pub(crate) channel: &'a ChildEnd,
    /// What the parent has sent over it.
    pub(crate) files: Files,
    /// The files themselves, if the parent had to open them.
    pub(crate) etc: Vec<OwnedFd>,
    /// What was made by this process, or by its parent.
    pub(crate) trees: Trees,
    /// The new root, once it is mounted.
    pub(crate) root: Option<Root>,
    /// The real /dev/null, once it is made.
    pub(crate) null: Option<OwnedFd>,
    /// What was mounted over the first paths that were masked.
    pub(crate) masks: Masks,
}

/// One empty directory and one empty file serve all masks.
#[derive(Debug, Default)]
pub(crate) struct Masks {
    dir: Option<OwnedFd>,
    file: Option<OwnedFd>,
}

/// The flags of what is empty.
const EMPTY: u64 = attr::RDONLY | attr::NOSUID | attr::NOEXEC;

/// What is to be attached.
#[derive(Debug, Default)]
pub(crate) struct Trees {
    pub(crate) root: Option<RootTree>,
    /// The sources of the mounts, in their order.
    pub(crate) mounts: VecDeque<Option<Tree>>,
}

impl Setup<'_> {
    /// Performs `ops` in order, up to the first that fails.
    pub(crate) fn run(&mut self, ops: &[Op]) -> Result<()> {
        for (n, op) in ops.iter().enumerate() {
            // Behind its birth.
            trace::mark(n + 1);
            fault::point(op.name())?;
            self.apply(op).context(|| format!("set up the container: {op}"))?;
        }
        trace::mark(ops.len() + 1);
        Ok(())
    }

    fn apply(&mut self, op: &Op) -> Result<()> {
        match op {
            Op::UserNamespace => {
                let (tasks, trees) = userns::receive(self.channel)?;
                (self.tasks, self.trees) = (Some(tasks), trees);
                Ok(())
            }
            Op::Session => setsid().map(drop).context(|| "setsid"),
            Op::JoinCgroups => self.join_cgroups(),
            Op::CgroupNamespace => {
                self.groups_are_roots = true;
                unshare(CloneFlags::CLONE_NEWCGROUP).context(|| "unshare")
            }
            Op::JoinNet(path) => join_net(path),
            Op::Loopback => sys::link::loopback_up().context(|| "SIOCSIFFLAGS"),
            Op::Hostname(name) => sethostname(name).context(|| "sethostname"),
            Op::Domainname(name) => sys::set_domainname(name).context(|| "setdomainname"),
            Op::Pivot => self.pivot(),
            Op::MoveRoot => self.move_root(),
            Op::Workdir(path) => enter(path),
            Op::Console => self.console(),
            Op::Stdio => self.connect(),
            Op::Time(offsets) => namespace::shift_clocks(offsets),
            Op::Join(joined) => namespace::join(joined),
            Op::Sysctl(sysctl) => kernel::set(sysctl),
            Op::OomScore(score) => kernel::set_oom_score(*score),
            Op::Keyring => kernel::leave_keyring(),
            Op::Limit(limit) => kernel::limit(limit),
            Op::Privileges => {
                self.account = Some(privilege::become_user(self.process, self.filters, self.stdio)?);
                Ok(())
            }
            Op::AwaitNetwork => {
                (self.files, self.etc) = self.channel.await_network()?;
                Ok(())
            }
            Op::Files => self.files.attach(self.root()?, &self.etc),
            Op::ReadOnlyRoot => read_only_root(),
            _ => self.mount(op),
        }
    }

    fn mount(&mut self, op: &Op) -> Result<()> {
        let quiet = attr::NOSUID | attr::NODEV | attr::NOEXEC;
        match op {
            Op::SlaveMounts => mount_flags("/", MsFlags::MS_SLAVE | MsFlags::MS_REC),
            // Made by the parent.
            Op::Root(..) | Op::Source(_) if self.user_namespace => Ok(()),
            Op::Root(..) => {
                self.trees.root = Some(self.maker.root()?);
                Ok(())
            }
            Op::Source(mount) => {
                self.trees.mounts.push_back(self.maker.source(mount)?);
                Ok(())
            }
            Op::Attach => self.attach_root(),
            Op::Mount(mount) => {
                let tree = self.trees.mounts.pop_front().flatten();
                mounts::attach(self.root()?, mount, tree)
            }
            Op::Proc => self.attach_new(c"proc", &[("source", Some("proc"))], quiet, "proc"),
            Op::Emulator(emulator) => {
                let instance = binfmt::instance()?;
                emulator.register(&instance)?;
                // Who unmounts it takes the registration back, so it is shown in its usual place.
                let target = self.root()?.find("proc/sys/fs/binfmt_misc").context(|| "find its place")?;
                sys::mount::attach(instance.as_fd(), target.as_fd()).context(|| "attach it")
            }
            Op::Sys { writable } => {
                let readonly = if *writable { 0 } else { attr::RDONLY };
                self.attach_new(c"sysfs", &[("source", Some("sysfs"))], quiet | readonly, "sys")
            }
            Op::Cgroups { writable } => {
                // A user namespace cannot change the flags of what it has copied.
                let known = self.groups_are_roots && !self.user_namespace;
                let groups = if known { self.groups.as_slice() } else { &[] };
                crate::cgroup::mount::attach(self.root()?, self.hierarchies, groups, *writable)
            }
            Op::Dev => {
                let spec = self.maker.root;
                let wishes = dev::Wishes {
                    shm_bytes: spec.shm_bytes,
                    devices: &spec.devices,
                    all: self.process.privileged,
                    user_namespace: self.user_namespace || self.nested,
                };
                self.null = Some(dev::build(self.root()?, &wishes)?);
                Ok(())
            }
            Op::SharedMemory => self.shm.as_ref().map_or(Ok(()), |shm| shm.attach(self.root()?)),
            Op::Mask(path) => self.mask(path),
            Op::ReadOnly(path) => self.read_only(path),
            other => Err(Error::new(format!("{} is no mount", other.name()))),
        }
    }

    fn console(&mut self) -> Result<()> {
        let (master, terminal) = console::open(self.root()?)?;
        console::attach(self.root()?, &terminal)?;
        self.channel.hand_over(master.as_fd())?;
        self.terminal = Some(terminal);
        Ok(())
    }

    fn connect(&mut self) -> Result<()> {
        let null = || {
            let null = self.null.as_ref().ok_or_else(|| Error::new("there is no /dev yet"))?;
            // The host's procfs, until the new root is the root.
            let path = format!("/proc/self/fd/{}", null.as_raw_fd());
            fs::File::options().read(true).write(true).open(path).map(OwnedFd::from).context(|| "open /dev/null")
        };
        self.stdio.complete(self.terminal.take().as_ref(), &null)?;
        self.stdio.control()
    }

    fn root(&self) -> Result<&Root> {
        self.root.as_ref().ok_or_else(|| Error::new("the root file system is not mounted yet"))
    }

    /// A single thread that moves itself by the `tasks` file takes no lock that would wait for an RCU grace period,
    /// unlike every other way into a version 1 group.
    fn join_cgroups(&self) -> Result<()> {
        for mut tasks in self.tasks.iter().flatten() {
            tasks.write_all(b"0").context(|| "join a group")?;
        }
        if self.tasks.is_some() {
            return Ok(());
        }
        for group in &self.groups {
            fs::write(group.join("tasks"), "0").context(|| format!("join {}", group.display()))?;
        }
        Ok(())
    }

    /// The directory on which the root file system is mounted is the host's, the mount is only ours.
    fn attach_root(&mut self) -> Result<()> {
        let trees = self.trees.root.take().ok_or_else(|| Error::new("the root file system was not made"))?;
        let merged = self.maker.place.merged();
        let target = match self.user_namespace {
            false => Root::open(&merged).context(|| format!("open {}", merged.display()))?,
            true => public_directory()?,
        };
        sys::mount::attach(trees.root.as_fd(), target.as_fd()).context(|| "attach it")?;
        let root = Root::from(trees.root);
        for (name, tree) in &trees.below {
            sys::mount::attach(tree.as_fd(), root.mount_point(name)?.as_fd()).context(|| format!("attach /{name}"))?;
        }
        self.root = Some(root);
        Ok(())
    }

    fn attach_new(
        &self,
        kind: &std::ffi::CStr,
        options: &[(&str, Option<&str>)],
        attrs: u64,
        path: &str,
    ) -> Result<()> {
        let tree = match sys::mount::new(kind, options, attrs) {
            // Of a namespace that is not this user namespace's, only the host's own can be had.
            Err(Errno::EPERM) if self.user_namespace || self.nested => {
                let tree = kernel::copy_of_hosts(&format!("/{path}"))?;
                sys::mount::set_flags(tree.as_fd(), attrs | attr::RDONLY).context(|| "make it read-only")?;
                tree
            }
            made => made.context(|| "make the file system")?,
        };
        let target = self.root()?.mount_point(path)?;
        sys::mount::attach(tree.as_fd(), target.as_fd()).context(|| "attach it")
    }

    fn mask(&mut self, path: &Path) -> Result<()> {
        let Some(target) = self.find(path)? else { return Ok(()) };
        let is_dir =
            nix::sys::stat::fstat(&target).context(|| "stat")?.st_mode & nix::libc::S_IFMT == nix::libc::S_IFDIR;
        let first = if is_dir { &self.masks.dir } else { &self.masks.file };
        let tree = match (first, &self.null) {
            // With the flags that it has. It is attached; before Linux 6.15 nothing else could be copied.
            (Some(first), _) => sys::mount::copy_one(first.as_fd()).context(|| "copy the empty mount")?,
            (None, Some(null)) if !is_dir => {
                let tree = sys::mount::copy_one(null.as_fd()).context(|| "copy /dev/null")?;
                sys::mount::set_flags(tree.as_fd(), EMPTY).context(|| "make it read-only")?;
                tree
            }
            (None, _) => new_empty().context(|| "make an empty file system")?,
        };
        sys::mount::attach(tree.as_fd(), target.as_fd()).context(|| "attach it")?;
        let first = if is_dir { &mut self.masks.dir } else { &mut self.masks.file };
        first.get_or_insert(tree);
        Ok(())
    }

    fn read_only(&self, path: &Path) -> Result<()> {
        let Some(target) = self.find(path)? else { return Ok(()) };
        let tree = sys::mount::copy_tree(target.as_fd()).context(|| "copy the mount")?;
        sys::mount::set_flags(tree.as_fd(), attr::RDONLY).context(|| "make it read-only")?;
        sys::mount::attach(tree.as_fd(), target.as_fd()).context(|| "attach it")
    }

    /// A file of /proc or /sys, unless this kernel does not have it.
    fn find(&self, path: &Path) -> Result<Option<OwnedFd>> {
        let path = path.to_str().ok_or_else(|| Error::new("the path is not UTF-8"))?;
        match self.root()?.find(path.trim_start_matches('/')) {
            Ok(fd) => Ok(Some(fd)),
            Err(Errno::ENOENT | Errno::ENOTDIR) => Ok(None),
            Err(errno) => Err(errno).context(|| "open"),
        }
    }

    /// Both roots are stacked on the same directory, so the old one needs no place inside the new.
    fn pivot(&mut self) -> Result<()> {
        let root = self.root()?;
        fchdir(root).context(|| "enter the new root")?;
        pivot_root(".", ".").map_err(|errno| match errno {
            Errno::EINVAL => Error::new(
                "pivot_root: Invalid argument (the host's root is an initial ramfs, for which `xnet oci` has --no-pivot, or the new \
                 root is a shared mount)",
            ),
            errno => Error::new(format!("pivot_root: {}", errno.desc())),
        })?;
        umount2(".", MntFlags::MNT_DETACH).context(|| "let go of the old root")?;
        self.arrive()
    }

    /// The old root is below the new one then, where no path leads: who leaves a root by `..` comes to what is on top.
    fn move_root(&mut self) -> Result<()> {
        fchdir(self.root()?).context(|| "enter the new root")?;
        mount(Some("."), "/", None::<&str>, MsFlags::MS_MOVE, None::<&str>).context(|| "move the new root to /")?;
        chroot(".").context(|| "make it the root")?;
        self.arrive()
    }

    /// What was known of places before is nothing to the new root.
    fn arrive(&mut self) -> Result<()> {
        chdir("/").context(|| "chdir /")?;
        (self.root, self.null, self.masks) = (None, None, Masks::default());
        Ok(())
    }
}

/// A directory to mount the root on for the moment before it becomes the root. The data directory is closed to the root of
/// a user namespace; which directory it is does not matter, as nobody else sees the mount.
fn public_directory() -> Result<Root> {
    let found = ["/tmp", "/mnt", "/run", "/usr"].iter().find_map(|dir| Root::open(Path::new(dir)).ok());
    found.ok_or_else(|| Error::new("no directory of the host can be opened to mount on"))
}

fn new_empty() -> nix::Result<OwnedFd> {
    let options = [("source", Some("tmpfs")), ("mode", Some("755")), ("size", Some("4k"))];
    sys::mount::new(c"tmpfs", &options, EMPTY)
}

fn mount_flags(path: &str, flags: MsFlags) -> Result<()> {
    nix::mount::mount(None::<&str>, path, None::<&str>, flags, None::<&str>).context(|| "mount")
}

/// The mounts below stay as they are.
fn read_only_root() -> Result<()> {
    let root = Root::open(Path::new("/")).context(|| "open /")?;
    let change = sys::mount::Change { set: attr::RDONLY, ..Default::default() };
    sys::mount::change(root.as_fd(), &change, false).context(|| "mount_setattr")
}

/// Enters a namespace file, after making sure that it is one: it may have been replaced since it was looked up.
fn join_net(path: &Path) -> Result<()> {
    let file = fs::File::open(path).context(|| format!("open {}", path.display()))?;
    if !sys::ns::is_net(file.as_fd()).context(|| "look at it")? {
        return Err(Error::new(format!("{} is not a network namespace", path.display())));
    }
    setns(file, CloneFlags::CLONE_NEWNET).context(|| "setns")
}

/// Changes to `path` of the new root, which is made if it is missing.
pub(crate) fn enter(path: &Path) -> Result<()> {
    let root = Root::open(Path::new("/")).context(|| "open /")?;
    go_to(root.make_all(path))
}
