//! `--init`: this program as a pid 1 that reaps orphans and passes signals on.

use std::convert::Infallible;

use nix::libc;
use nix::sys::prctl;
use nix::sys::signal::SigSet;
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::Pid;

use crate::error::{Context, Result};
use crate::seccomp;
use crate::sys;
use crate::sys::clone::{Cloned, fork};

use super::channel::ChildEnd;
use super::exec::Command;
use super::{exec, signals};

/// Starts the command as a child and stays. Ends the process with the command's status.
///
/// The signals are still blocked, as the parent has left them; here they are taken one at a time.
pub(crate) fn run(command: &Command<'_>, channel: &ChildEnd) -> Result<Infallible> {
    // Where there is no pid namespace of its own, orphans would go to somebody else.
    prctl::set_child_subreaper(true).context(|| "become the reaper of orphans")?;
    let pid = match fork().context(|| "fork")? {
        Cloned::Child => {
            signals::reset()?;
            return exec::exec(command, channel);
        }
        Cloned::Parent { pid, .. } => pid,
    };
    // The line must end when the command is executed, so nobody else may hold it.
    sys::close_from(3).context(|| "close the line to the parent")?;
    // Nobody who gets hold of this process shall have more calls than the command.
    if command.process.no_new_privileges {
        seccomp::install(command.filters)?;
    }
    let code = attend(pid)?;
    sys::exit_now(code)
}

fn attend(command: Pid) -> Result<u8> {
    let queue = SignalFd::with_flags(&SigSet::all(), SfdFlags::SFD_CLOEXEC).context(|| "open a signal queue")?;
    loop {
        let Some(info) = queue.read_signal().context(|| "wait for a signal")? else { continue };
        match i32::try_from(info.ssi_signo) {
            Ok(libc::SIGCHLD) => {
                if let Some(code) = reap(command) {
                    return Ok(code);
                }
            }
            // The command may just have ended, and then needs no signal.
            Ok(number) => drop(sys::signal::kill_child(command, number)),
            Err(_) => {}
        }
    }
}

/// Reaps every child that has ended, orphans included. Answers the command's status once it is among them.
fn reap(command: Pid) -> Option<u8> {
    let mut code = None;
    // The end of the list, or no children at all.
    while let Ok(Some((pid, status))) = sys::signal::reap(None) {
        if pid == command {
            code = Some(status);
        }
    }
    code
}
