//! The interpreter of the set-up operations.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, umount2};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::{chdir, fchdir, getcwd, pivot_root, sethostname, setsid};

use crate::cgroup::Hierarchy;
use crate::error::{Context, Error, Result};
use crate::fault;
use crate::process::channel::ChildEnd;
use crate::seccomp::Filter;
use crate::spec::{Process, Rootfs};
use crate::sys;
use crate::sys::mount::attr;

use super::files::Files;
use super::namespace::SharedMemory;
use super::op::Op;
use super::path::Root;
use super::privilege::{self, Account};
use super::{dev, hostview, kernel, namespace};

/// The state of a set-up that is under way.
#[derive(Debug)]
pub(crate) struct Setup<'a> {
    /// An empty directory of the host, to mount the staging tmpfs on.
    pub(crate) staging: PathBuf,
    /// Directories of the version 1 groups to join.
    pub(crate) groups: Vec<PathBuf>,
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
    /// The line to the parent.
    pub(crate) channel: &'a ChildEnd,
    /// What the parent has sent over it.
    pub(crate) files: Files,
    /// The new root, once it is mounted.
    pub(crate) root: Option<Root>,
    /// The real /dev/null, once it is made.
    pub(crate) null: Option<OwnedFd>,
}

impl Setup<'_> {
    /// Performs `ops` in order, up to the first that fails.
    pub(crate) fn run(&mut self, ops: &[Op]) -> Result<()> {
        for op in ops {
            fault::point(op.name())?;
            self.apply(op).context(|| format!("set up the container: {op}"))?;
        }
        Ok(())
    }

    fn apply(&mut self, op: &Op) -> Result<()> {
        match op {
            Op::Session => setsid().map(drop).context(|| "setsid"),
            Op::JoinCgroups => self.join_cgroups(),
            Op::CgroupNamespace => unshare(CloneFlags::CLONE_NEWCGROUP).context(|| "unshare"),
            Op::JoinNet(path) => join_net(path),
            Op::Loopback => sys::link::loopback_up().context(|| "SIOCSIFFLAGS"),
            Op::Hostname(name) => sethostname(name).context(|| "sethostname"),
            Op::Domainname(name) => sys::set_domainname(name).context(|| "setdomainname"),
            Op::Pivot => self.pivot(),
            Op::Workdir(path) => enter(path),
            Op::Time(offsets) => namespace::shift_clocks(offsets),
            Op::Join(joined) => namespace::join(joined),
            Op::Sysctl(sysctl) => kernel::set(sysctl),
            Op::OomScore(score) => kernel::set_oom_score(*score),
            Op::Keyring => kernel::leave_keyring(),
            Op::Limit(limit) => kernel::limit(limit),
            Op::Privileges => {
                self.account = Some(privilege::become_user(self.process, self.filters)?);
                Ok(())
            }
            Op::AwaitNetwork => {
                self.files = self.channel.await_network()?;
                Ok(())
            }
            Op::Files => self.files.attach(self.root()?),
            _ => self.mount(op),
        }
    }

    fn mount(&mut self, op: &Op) -> Result<()> {
        let quiet = attr::NOSUID | attr::NODEV | attr::NOEXEC;
        match op {
            Op::SlaveMounts => mount_flags("/", MsFlags::MS_SLAVE | MsFlags::MS_REC),
            Op::Staging => self.mount_staging(),
            Op::HostView => hostview::hide(self.staging("upper")?.as_fd()),
            Op::Overlay(rootfs) => self.mount_overlay(rootfs),
            Op::HostMounts => hostview::attach_mounts(self.root()?),
            Op::Proc => self.attach_new(c"proc", &[("source", Some("proc"))], quiet, "proc"),
            Op::Sys { writable } => {
                let readonly = if *writable { 0 } else { attr::RDONLY };
                self.attach_new(c"sysfs", &[("source", Some("sysfs"))], quiet | readonly, "sys")
            }
            Op::Cgroups { writable } => crate::cgroup::mount::attach(self.root()?, self.hierarchies, *writable),
            Op::Dev => {
                self.null = Some(dev::build(self.root()?)?);
                Ok(())
            }
            Op::SharedMemory => self.shm.as_ref().map_or(Ok(()), |shm| shm.attach(self.root()?)),
            Op::Mask(path) => self.mask(path),
            Op::ReadOnly(path) => self.read_only(path),
            other => Err(Error::new(format!("{} is no mount", other.name()))),
        }
    }

    fn root(&self) -> Result<&Root> {
        self.root.as_ref().ok_or_else(|| Error::new("the root file system is not mounted yet"))
    }

    fn staging(&self, name: &str) -> Result<Root> {
        let path = self.staging.join(name);
        nix::fcntl::open(&path, nix::fcntl::OFlag::O_RDONLY | nix::fcntl::OFlag::O_CLOEXEC, Mode::empty())
            .map(Root::from)
            .context(|| format!("open {}", path.display()))
    }

    /// A single thread that moves itself by the `tasks` file takes no lock that would wait for an RCU grace period,
    /// unlike every other way into a version 1 group.
    fn join_cgroups(&self) -> Result<()> {
        for group in &self.groups {
            fs::write(group.join("tasks"), "0").context(|| format!("join {}", group.display()))?;
        }
        Ok(())
    }

    fn mount_staging(&self) -> Result<()> {
        let options = [("source", Some("xnet")), ("mode", Some("700"))];
        let tree = sys::mount::new(c"tmpfs", &options, attr::NOSUID | attr::NODEV).context(|| "make a tmpfs")?;
        for name in ["upper", "work", "root", "empty"] {
            mkdirat(&tree, name, Mode::from_bits_truncate(0o755)).context(|| format!("mkdir {name}"))?;
        }
        let target = Root::open(&self.staging).context(|| format!("open {}", self.staging.display()))?;
        sys::mount::attach(tree.as_fd(), target.as_fd()).context(|| "attach it")
    }

    /// The layers are named by descriptor, which leaves no path to be escaped in the options and none to be read in
    /// the container's mount table.
    fn mount_overlay(&mut self, rootfs: &Rootfs) -> Result<()> {
        let lower = match rootfs {
            Rootfs::Host => Root::open(Path::new("/")),
            Rootfs::Dir(path) => Root::open(path),
        }
        .context(|| format!("open {rootfs}"))?;
        let (upper, work) = (self.staging("upper")?, self.staging("work")?);
        let options = format!(
            "lowerdir=/proc/self/fd/{},upperdir=/proc/self/fd/{},workdir=/proc/self/fd/{}",
            lower.number(),
            upper.number(),
            work.number()
        );
        // Until a device controller says which devices may be opened, those of the root file system may not.
        let flags = if self.process.privileged { MsFlags::empty() } else { MsFlags::MS_NODEV };
        let target = self.staging.join("root");
        nix::mount::mount(Some("overlay"), &target, Some("overlay"), flags, Some(options.as_str())).map_err(
            |errno| {
                let hint = match errno {
                    Errno::EINVAL => " (the kernel stacks no more than two overlays; is the lower layer one already?)",
                    Errno::ENODEV => " (this kernel has no overlay file system)",
                    _ => "",
                };
                Error::new(format!("{}{hint}", errno.desc()))
            },
        )?;
        self.root = Some(Root::open(&target).context(|| "open the new root")?);
        Ok(())
    }

    fn attach_new(
        &self,
        kind: &std::ffi::CStr,
        options: &[(&str, Option<&str>)],
        attrs: u64,
        path: &str,
    ) -> Result<()> {
        let tree = sys::mount::new(kind, options, attrs).context(|| "make the file system")?;
        let target = self.root()?.mount_point(path)?;
        sys::mount::attach(tree.as_fd(), target.as_fd()).context(|| "attach it")
    }

    fn mask(&self, path: &Path) -> Result<()> {
        let Some(target) = self.find(path)? else { return Ok(()) };
        let is_dir =
            nix::sys::stat::fstat(&target).context(|| "stat")?.st_mode & nix::libc::S_IFMT == nix::libc::S_IFDIR;
        let empty = self.staging("empty")?;
        let source = match &self.null {
            Some(null) if !is_dir => null.as_fd(),
            _ => empty.as_fd(),
        };
        let tree = sys::mount::copy_tree(source).context(|| "copy the empty mount")?;
        let flags = attr::RDONLY | attr::NOSUID | attr::NOEXEC;
        sys::mount::set_flags(tree.as_fd(), flags).context(|| "make it read-only")?;
        sys::mount::attach(tree.as_fd(), target.as_fd()).context(|| "attach it")
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
                "pivot_root: Invalid argument (the host's root is an initial ramfs, or the new root is a shared mount)",
            ),
            errno => Error::new(format!("pivot_root: {}", errno.desc())),
        })?;
        umount2(".", MntFlags::MNT_DETACH).context(|| "let go of the old root")?;
        chdir("/").context(|| "chdir /")?;
        (self.root, self.null) = (None, None);
        Ok(())
    }
}

fn mount_flags(path: &str, flags: MsFlags) -> Result<()> {
    nix::mount::mount(None::<&str>, path, None::<&str>, flags, None::<&str>).context(|| "mount")
}

/// Enters a namespace file, after making sure that it is one: it may have been replaced since it was looked up.
fn join_net(path: &Path) -> Result<()> {
    let file = fs::File::open(path).context(|| format!("open {}", path.display()))?;
    if !sys::ns::is_net(file.as_fd()).context(|| "look at it")? {
        return Err(Error::new(format!("{} is not a network namespace", path.display())));
    }
    setns(file, CloneFlags::CLONE_NEWNET).context(|| "setns")
}

/// Changes to `path` of the new root. A directory reached through an inherited descriptor could be one of the host's:
/// such links are refused, and the kernel must say afterwards that we are inside.
fn enter(path: &Path) -> Result<()> {
    let root = Root::open(Path::new("/")).context(|| "open /")?;
    let dir = root.make_all(path).map_err(|errno| match errno {
        Errno::ELOOP => Error::new("it leads through a link to an open file or through too many links"),
        errno => Error::new(errno.desc()),
    })?;
    fchdir(&dir).context(|| "chdir")?;
    match getcwd() {
        Ok(cwd) if cwd.starts_with("/") => Ok(()),
        _ => Err(Error::new("it is outside of the container's root")),
    }
}
