//! `exec`: one more process in a container that runs.
//!
//! The process is born in the container's pid namespace, into which its parent goes for that moment; all other namespaces it
//! enters itself, by the descriptor of the container's first process. By then it has let go of every descriptor of the
//! host's and cannot be looked into from inside (CVE-2016-9962).

use std::convert::Infallible;
use std::fs::{self, File};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};

use nix::sched::{CloneFlags, setns};
use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::sys::stat::{Mode, umask};
use nix::unistd::{Pid, setsid};
use oci_spec::runtime as oci;

use crate::cgroup::{Kind as Version, of_host};
use crate::error::{Context, Error, Result};
use crate::io::streams::Stdio;
use crate::namespaces::Joins;
use crate::process::channel::{self, ChildEnd};
use crate::process::exec::{self, Command};
use crate::process::signals::{self, Signals};
use crate::seccomp::{self, Filter};
use crate::service::Sockets;
use crate::setup::{apply, kernel, privilege};
use crate::spec::{Process, User, Who};
use crate::sys;
use crate::sys::clone::{Cloned, clone3};
use crate::sys::ns::Kind;

use super::bundle::{self, Bundle};
use super::plan::{Plan, Terminal};
use super::state::{Home, Record, Status};
use super::{control, convert, create, init, terminal};

/// What was asked for.
#[derive(Debug, Default)]
pub(crate) struct Request {
    /// `--process`: the whole process, as JSON.
    pub(crate) file: Option<PathBuf>,
    /// The command, without `--process`; the rest is as for the container's first process, but for what follows.
    pub(crate) argv: Vec<String>,
    pub(crate) env: Vec<String>,
    pub(crate) cwd: Option<PathBuf>,
    pub(crate) user: Option<(u32, u32)>,
    pub(crate) groups: Vec<u32>,
    pub(crate) capabilities: Vec<String>,
    pub(crate) no_new_privileges: bool,
    pub(crate) tty: bool,
    /// Come back when the command is executed.
    pub(crate) detach: bool,
    pub(crate) pid_file: Option<PathBuf>,
    pub(crate) console_socket: Option<PathBuf>,
    pub(crate) preserve_fds: u32,
    pub(crate) ignore_paused: bool,
}

impl Request {
    /// The process that is meant, in the container that `plan` describes.
    fn process(&self, plan: &Plan) -> Result<(Process, Option<Terminal>)> {
        let Some(path) = &self.file else { return self.by_words(plan) };
        let given: oci::Process = bundle::decode(&bundle::read(path)?, path)?;
        let (mut process, terminal) = convert::process(&given).context(|| path.display().to_string())?;
        if given.capabilities().is_none() {
            process.capabilities = plan.process.capabilities;
        }
        if given.rlimits().is_none() {
            process.rlimits.clone_from(&plan.process.rlimits);
        }
        Ok((process, terminal))
    }

    fn by_words(&self, plan: &Plan) -> Result<(Process, Option<Terminal>)> {
        if self.argv.is_empty() {
            return Err(Error::new("no command given"));
        }
        let mut process = plan.process.clone();
        process.argv.clone_from(&self.argv);
        process.env.extend(self.env.iter().cloned());
        process.no_new_privileges |= self.no_new_privileges;
        if let Some(cwd) = &self.cwd {
            process.workdir.clone_from(cwd);
        }
        if let Some((uid, gid)) = self.user {
            process.user = User { user: Who::Id(uid), group: Some(Who::Id(gid)) };
        }
        process.groups.extend(self.groups.iter().copied().map(Who::Id));
        for name in &self.capabilities {
            let capability = name.parse()?;
            let sets = &mut process.capabilities;
            for set in [&mut sets.bounding, &mut sets.permitted, &mut sets.effective] {
                *set = set.with(capability);
            }
        }
        Ok((process, self.tty.then(Terminal::default)))
    }
}

/// Runs one more process. Answers its exit status, or 0 at once if it is to be left alone.
pub(crate) fn exec(home: &Home, id: &str, request: &Request) -> Result<u8> {
    let (dir, record) = home.read(id)?;
    match record.status(&dir) {
        Status::Running | Status::Created => {}
        Status::Paused if request.ignore_paused => {}
        status => return Err(Error::new(format!("cannot exec in a container that is {status}"))),
    }
    let plan = convert::plan(&Bundle::kept(&dir, &record.bundle)?, id, record.systemd)?;
    let (process, terminal) = request.process(&plan)?;
    terminal::check(terminal.is_some(), request.console_socket.as_deref())?;
    let console = request.console_socket.as_deref().map(terminal::connect).transpose()?;
    let signals = if request.detach { None } else { Some(Signals::block()?) };
    let gone = || Error::new("container not running: its first process has ended");
    let target = record.init.open().ok_or_else(gone)?;
    let entered = Entering { plan: &plan, process, terminal, console, target, preserved: request.preserve_fds };
    let (pid, pidfd) = entered.begin(&record)?;
    if let Some(path) = &request.pid_file {
        create::put_pid(path, pid.as_raw())?;
    }
    match signals {
        Some(signals) => control::wait(&pidfd, pid, &signals, None),
        None => Ok(0),
    }
}

/// The new process, before and after its birth.
struct Entering<'a> {
    plan: &'a Plan,
    process: Process,
    terminal: Option<Terminal>,
    console: Option<OwnedFd>,
    /// The container's first process.
    target: OwnedFd,
    preserved: u32,
}

impl Entering<'_> {
    /// Starts it, and comes back when its command is executed.
    fn begin(self, record: &Record) -> Result<(Pid, OwnedFd)> {
        let (ones, two) = groups(record)?;
        let unified = two.map(|dir| File::open(&dir).context(|| format!("open {}", dir.display()))).transpose()?;
        let init = Pid::from_raw(record.init.pid);
        let pids = sys::ns::of_process(self.target.as_fd(), init, Kind::Pid).context(|| "open its pid namespace")?;
        let joins = Joins::default().and_open(Kind::Pid, pids);
        let (ours, theirs) = channel::pair()?;
        let clone = || clone3(0, unified.as_ref().map(AsFd::as_fd)).context(|| "make a process");
        match joins.around(clone, |born| matches!(born, Cloned::Parent { .. }))? {
            Cloned::Child => {
                drop(ours);
                let error = match self.become_command(&theirs, &ones) {
                    Ok(never) => match never {},
                    Err(error) => error,
                };
                let code = error.status.code();
                theirs.failed(error);
                sys::exit_now(code)
            }
            Cloned::Parent { pid, pidfd } => {
                drop(theirs);
                match ours.await_execution("the process") {
                    Ok(()) => Ok((pid, pidfd)),
                    Err(error) => {
                        sys::signal::end(pidfd.as_fd());
                        Err(error)
                    }
                }
            }
        }
    }

    fn become_command(&self, channel: &ChildEnd, groups: &[PathBuf]) -> Result<Infallible> {
        prctl::set_pdeathsig(Signal::SIGKILL).context(|| "tie this process' life to its parent's")?;
        prctl::set_dumpable(false).context(|| "make the process private")?;
        umask(Mode::from_bits_truncate(0o022));
        let filters = seccomp::filters(&self.plan.security, self.process.capabilities.bounding)?;
        for group in groups {
            fs::write(group.join("tasks"), "0").context(|| format!("join {}", group.display()))?;
        }
        if let Some(score) = self.process.oom_score_adj {
            kernel::set_oom_score(score).context(|| "set the OOM score")?;
        }
        self.close_others(channel)?;
        setsid().context(|| "setsid")?;
        let time = if self.plan.namespaces.time.is_some() { TIME } else { 0 };
        let kinds = CloneFlags::CLONE_NEWIPC
            | CloneFlags::CLONE_NEWUTS
            | CloneFlags::CLONE_NEWNET
            | CloneFlags::CLONE_NEWCGROUP
            | CloneFlags::CLONE_NEWNS
            | CloneFlags::from_bits_retain(time);
        setns(&self.target, kinds).context(|| "enter the container")?;
        self.inside(channel, &filters)
    }

    /// What remains to be done in the container.
    fn inside(&self, channel: &ChildEnd, filters: &[Filter]) -> Result<Infallible> {
        let process = &self.process;
        apply::enter(&process.workdir).context(|| format!("cd {}", process.workdir.display()))?;
        if let (Some(terminal), Some(socket)) = (self.terminal, &self.console) {
            terminal::make(terminal, socket, init::uid(process), false)?;
        }
        for limit in &process.rlimits {
            kernel::limit(limit).context(|| format!("prlimit --{limit}"))?;
        }
        prctl::set_pdeathsig(None).context(|| "untie this process' life from its parent's")?;
        let account = privilege::become_user(process, filters, &Stdio::Inherit { stdin: true })?;
        signals::reset()?;
        exec::exec(&Command { process, home: Some(account.home), filters, sockets: Sockets::default() }, channel)
    }

    fn close_others(&self, channel: &ChildEnd) -> Result<()> {
        let mut kept: Vec<RawFd> = (0..self.preserved).map(|n| 3 + n.cast_signed()).collect();
        kept.extend([channel.as_fd().as_raw_fd(), self.target.as_raw_fd()]);
        kept.extend(self.console.as_ref().map(AsRawFd::as_raw_fd));
        sys::close_all_but(kept).context(|| "close inherited descriptors")
    }
}

/// `CLONE_NEWTIME` of linux/sched.h, which the wrapper has no name for.
const TIME: i32 = 0x80;

/// The container's groups that exist: of version 1, and of version 2.
fn groups(record: &Record) -> Result<(Vec<PathBuf>, Option<PathBuf>)> {
    let (mut ones, mut two) = (Vec::new(), None);
    for hierarchy in of_host()? {
        let dir = hierarchy.top().join(&record.group);
        match hierarchy.kind {
            _ if !is_group(&dir) => {}
            Version::V2 => two = Some(dir),
            Version::V1 { .. } => ones.push(dir),
        }
    }
    Ok((ones, two))
}

fn is_group(dir: &Path) -> bool {
    dir.join("cgroup.procs").exists()
}
