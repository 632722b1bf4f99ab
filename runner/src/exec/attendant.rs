//! A process that attends a command in its caller's place: one with a terminal, from which the caller can detach, or one in the
//! background.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};

use nix::fcntl::OFlag;
use nix::unistd::pipe2;

use crate::error::{Context, Error, Result};
use crate::io::attach;
use crate::io::session::Session;
use crate::io::streams::Stdio;
use crate::process::leave::leave;
use crate::process::signals::Signals;
use crate::spec::Process;
use crate::sys;
use crate::sys::clone::{Cloned, fork};
use crate::trace;

use super::{Exec, Target};

/// Starts `process` in `target` with a process that attends it. Comes back when the command is executed, with the caller's end
/// of the line to it if the command has a terminal and `attached` says that the caller wants to see it.
///
/// # Errors
///
/// What kept the command from being executed.
pub(crate) fn spawn(target: Target, process: Process, stdio: Stdio, attached: bool) -> Result<Option<OwnedFd>> {
    let (ours, theirs) = pipe2(OFlag::O_CLOEXEC).context(|| "make a pipe")?;
    let (client, caller) = if attached { Some(attach::pair()?) } else { None }.unzip();
    match fork().context(|| "start a process to attend the command")? {
        Cloned::Child => {
            drop((ours, caller));
            Attendant { target, process, stdio, client, report: Some(File::from(theirs)) }.live()
        }
        Cloned::Parent { .. } => {
            drop((theirs, client));
            let mut text = Vec::new();
            File::from(ours).read_to_end(&mut text).context(|| "listen to the process that attends the command")?;
            let killed = |_| Error::new("the process that attends the command was killed");
            let (answer, record): (Result<()>, _) = serde_json::from_slice(&text).map_err(killed)?;
            trace::take_over(record);
            trace::tell(answer.as_ref().err());
            answer?;
            Ok(caller)
        }
    }
}

struct Attendant {
    target: Target,
    process: Process,
    stdio: Stdio,
    client: Option<OwnedFd>,
    report: Option<File>,
}

impl Attendant {
    fn live(mut self) -> ! {
        let answer = self.isolate().and_then(|()| self.attend());
        if let Err(error) = answer {
            tell(&mut self.report, &Err(error));
        }
        sys::exit_now(0)
    }

    fn attend(&mut self) -> Result<()> {
        let signals = Signals::block()?;
        let stdio = std::mem::replace(&mut self.stdio, Stdio::Empty);
        let mut session = Session::beside(&stdio, self.client.take());
        let exec = Exec { target: &self.target, process: self.process.clone(), stdio };
        let report = &mut self.report;
        let code = exec.run(&signals, &mut session, false, &mut || {
            tell(report, &Ok(()));
            Ok(())
        })?;
        session.drain();
        session.farewell(code);
        Ok(())
    }

    /// Leaves the caller's session, its directory, and everything that it has left open.
    fn isolate(&mut self) -> Result<()> {
        let mut kept = vec![self.target.pidfd.as_raw_fd()];
        kept.extend(self.client.as_ref().map(AsRawFd::as_raw_fd));
        kept.extend(self.report.as_ref().map(AsRawFd::as_raw_fd));
        leave(kept)
    }
}

fn tell(report: &mut Option<File>, answer: &Result<()>) {
    if let Some(mut pipe) = report.take() {
        // The caller may be gone; then nobody wants to know.
        let _ = pipe.write_all(&serde_json::to_vec(&(answer, trace::take())).unwrap_or_default());
    }
}
