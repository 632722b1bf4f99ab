//! The process that asks a container whether it works.
//!
//! It belongs to the container's parent, which ends it before it takes the container away; if that was killed, it sees the end of
//! the container itself. Each run of the command is attended by a process of its own. A command ends with the one that
//! attends it, so that is the one to be killed when an answer takes too long.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use nix::sys::memfd::{MFdFlags, memfd_create};

use crate::cgroup::freeze;
use crate::error::{Context, Result};
use crate::exec::{Exec, Target};
use crate::io::session::Session;
use crate::io::streams::Stdio;
use crate::moment::Moment;
use crate::process::leave::leave;
use crate::process::signals::Signals;
use crate::spec::Health;
use crate::state::info::has_ended_within;
use crate::state::{Store, events};
use crate::sys;
use crate::sys::clone::{Cloned, fork};

use super::{Outcome, Record, Status};

/// How much of what a command says is kept, in bytes.
const OUTPUT: usize = 4096;

/// The process, which ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Checker(OwnedFd);

impl Checker {
    /// Starts asking the container `target`, which has just begun to run.
    pub(crate) fn start(health: &Health, target: Target, store: &Store) -> Result<Self> {
        Record::new().write(&target.state)?;
        match fork().context(|| "start the process that checks the container's health")? {
            Cloned::Child => {
                if leave(vec![target.pidfd.as_raw_fd()]).is_ok() {
                    let _ = Checking { health, target: &target, store, begun: Instant::now() }.go_on();
                }
                sys::exit_now(0)
            }
            Cloned::Parent { pidfd, .. } => Ok(Self(pidfd)),
        }
    }
}

impl Drop for Checker {
    fn drop(&mut self) {
        sys::signal::end(self.0.as_fd());
    }
}

struct Checking<'a> {
    health: &'a Health,
    target: &'a Target,
    store: &'a Store,
    begun: Instant,
}

impl Checking<'_> {
    /// Until the container ends.
    fn go_on(&self) -> Result<()> {
        let mut record = Record::new();
        loop {
            let starts = record.status == Status::Starting && self.begun.elapsed() < self.health.start_period;
            let pause = if starts { self.health.start_interval } else { self.health.interval };
            if has_ended_within(&self.target.pidfd, pause) {
                return Ok(());
            }
            // Who is frozen cannot answer.
            if freeze::is_frozen(&self.target.groups) {
                continue;
            }
            let outcome = self.ask()?;
            // An end is no answer.
            if has_ended_within(&self.target.pidfd, Duration::ZERO) {
                return Ok(());
            }
            let changed = record.add(outcome, self.begun.elapsed(), self.health);
            record.write(&self.target.state)?;
            if changed {
                let action = format!("health_status: {}", record.status.name());
                events::append(self.store, &self.target.spec, &action, &[]);
            }
        }
    }

    /// Runs the command once.
    fn ask(&self) -> Result<Outcome> {
        let start = Moment::now();
        let said = memfd_create(c"health", MFdFlags::MFD_CLOEXEC).context(|| "make a place for its output")?;
        let pidfd = match fork().context(|| "fork")? {
            Cloned::Child => sys::exit_now(self.answer(&said)),
            Cloned::Parent { pidfd, .. } => pidfd,
        };
        let (exit_code, output) = if has_ended_within(&pidfd, self.health.timeout) {
            let code = sys::signal::reap(Some(pidfd.as_fd())).context(|| "wait for its end")?;
            (code.map_or(-1, |(_, code)| i32::from(code)), text(&File::from(said)))
        } else {
            sys::signal::end(pidfd.as_fd());
            (-1, format!("Health check exceeded timeout ({:?})", self.health.timeout))
        };
        Ok(Outcome { start, end: Moment::now(), exit_code, output })
    }

    /// Attends the command, and answers its status.
    fn answer(&self, said: &OwnedFd) -> u8 {
        let mut process = self.target.spec.process.clone();
        process.argv = self.health.argv();
        process.init = false;
        let stdio = Stdio::Inherit { stdin: false };
        let mut session = Session::beside(&stdio, None);
        let exec = Exec { target: self.target, process, stdio };
        let ran = sys::replace_stdio(said.as_fd())
            .context(|| "collect its output")
            .and_then(|()| Signals::block())
            .and_then(|signals| exec.run(&signals, &mut session, false, &mut || Ok(())));
        ran.unwrap_or_else(|error| {
            // To where the command's own words would have gone.
            eprintln!("{error}");
            error.status.code()
        })
    }
}

/// The beginning of what was said.
fn text(said: &File) -> String {
    let mut bytes = vec![0; OUTPUT];
    let length = said.read_at(&mut bytes, 0).unwrap_or_default();
    bytes.truncate(length);
    String::from_utf8_lossy(&bytes).into_owned()
}
