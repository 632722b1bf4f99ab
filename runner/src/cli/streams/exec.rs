//! `xnet exec`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;
use nix::unistd::Pid;

use crate::cli::complain;
use crate::cli::flags::{EnvFlags, Tracing, text};
use crate::container;
use crate::error::{Error, Result};
use crate::exec::{self, Exec, Target};
use crate::io::attach::{self, Options};
use crate::io::keys::DetachKeys;
use crate::io::session::Session;
use crate::io::streams::Stdio;
use crate::process::signals::Signals;
use crate::spec::{Capabilities, CapabilitySet, Dirs, Process, Seccomp, User};
use crate::trace;

use super::{check_terminal, running, status};

/// What to execute, and how.
#[derive(Debug, Args)]
pub(in crate::cli) struct ExecFlags {
    /// Do not wait for the command
    #[arg(short, long)]
    detach: bool,
    /// Connect standard input
    #[arg(short, long)]
    interactive: bool,
    /// Give the command a terminal of its own
    #[arg(short, long)]
    tty: bool,
    /// Run as this user, with this group; by default as the container's command
    #[arg(short, long, value_name = "USER[:GROUP]")]
    user: Option<User>,
    /// The working directory inside; by default that of the container's command
    #[arg(short, long, value_name = "DIR")]
    workdir: Option<PathBuf>,
    /// All capabilities, and no filter of system calls
    #[arg(long)]
    privileged: bool,
    /// The keys that leave a command with a terminal running
    #[arg(long, value_name = "KEYS")]
    detach_keys: Option<DetachKeys>,
    #[command(flatten)]
    env: EnvFlags,
    #[command(flatten)]
    tracing: Tracing,
    /// An id, a name, or the beginning of an id
    #[arg(value_name = "CONTAINER")]
    container: String,
    /// The command and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "CMD")]
    command: Vec<OsString>,
}

impl ExecFlags {
    /// Runs the command; answers its status, or 0 at once if it is not waited for.
    pub(in crate::cli) fn run(&self, dirs: &Dirs) -> Result<u8> {
        check_terminal(self.interactive && !self.detach, self.tty)?;
        trace::during(self.tracing.wanted(), || self.enter(dirs))
    }

    fn enter(&self, dirs: &Dirs) -> Result<u8> {
        let mut target = self.target(dirs)?;
        let process = self.process(&mut target)?;
        if !self.tty && !self.detach {
            let stdio = Stdio::Inherit { stdin: self.interactive };
            let (signals, mut session) = (Signals::block()?, Session::beside(&stdio, None));
            let exec = Exec { target: &target, process, stdio };
            return exec.run(&signals, &mut session, true, &mut || {
                trace::tell(None);
                Ok(())
            });
        }
        let stdio = if self.tty { Stdio::Terminal } else { Stdio::Empty };
        // From before the command is there, so that none is lost.
        let signals = Signals::block()?;
        match exec::spawn(target, process, stdio, !self.detach)? {
            Some(line) => attach::run(line, &self.options(), &signals).map(status),
            None => Ok(0),
        }
    }

    fn options(&self) -> Options {
        Options {
            stdin: self.interactive,
            stdout: true,
            stderr: true,
            tty: true,
            sig_proxy: true,
            keys: self.detach_keys.clone().unwrap_or_default(),
        }
    }

    fn target(&self, dirs: &Dirs) -> Result<Target> {
        let store = container::open(dirs, &mut complain)?;
        let view = running(&store, &self.container)?;
        let gone = || Error::new(format!("container {} has just ended", view.called()));
        let task = view.run.as_ref().ok_or_else(gone)?.task();
        let pidfd = task.open().ok_or_else(gone)?;
        let pid = Pid::from_raw(task.pid);
        Ok(Target { pidfd, pid, groups: view.cgroups.clone(), state: view.state.clone(), spec: view.spec })
    }

    /// The container's own process, but for what was asked for.
    fn process(&self, target: &mut Target) -> Result<Process> {
        let mut process = target.spec.process.clone();
        process.argv = self.command.iter().map(|word| text(word)).collect::<Result<_>>()?;
        if self.tty && !process.env.iter().any(|entry| entry.starts_with("TERM=")) {
            process.env.push("TERM=xterm".to_owned());
        }
        process.env = self.env.over(process.env)?;
        process.init = false;
        if let Some(workdir) = &self.workdir {
            if !workdir.is_absolute() {
                return Err(Error::new(format!("the working directory {} is not absolute", workdir.display())));
            }
            process.workdir.clone_from(workdir);
        }
        if let Some(user) = &self.user {
            // Its groups are its own, and HOME, too.
            process.user = user.clone();
        }
        if self.privileged {
            process.capabilities = Capabilities::from_flags(CapabilitySet::ALL, &[], &[])?;
            process.no_new_privileges = false;
            target.spec.security.seccomp = Seccomp::Unconfined;
            target.spec.security.user_namespaces = true;
        }
        Ok(process)
    }
}
