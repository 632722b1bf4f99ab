//! Calling another plugin for a part of the work: the IPAM plugin.
//!
//! The delegate gets what the caller got: the same document, byte for byte, and the same environment but for the verb. Its
//! answer is read like a runtime would read it. Its failure is passed on with its own code and words, for it knows better
//! than its caller what is wrong. Its stderr, which is for people, is passed on too.
//!
//! A delegate that hangs would hang the caller, and with it the runtime's lock on the container. So it has a limit of time.

use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::time::Duration;

use crate::error::Error;
use crate::exec::{self, Command, Output, Running};
use crate::plugin::{Call, Verb};
use crate::quote::quote;
use crate::result::AddResult;

/// Longer than the slowest delegate that works: a DHCP client that retries with back-off gives up after 208 s.
const TIMEOUT: Duration = Duration::from_secs(220);
/// How long a DEL may take that undoes an ADD without an answer.
const UNDO_TIMEOUT: Duration = Duration::from_secs(10);
/// The variable that sets another limit, in seconds.
const TIMEOUT_VARIABLE: &str = "XNET_DELEGATE_TIMEOUT";

/// A plugin that serves a part of a call.
#[derive(Debug)]
pub struct Delegate<'a> {
    call: &'a Call,
    program: PathBuf,
    timeout: Duration,
}

impl<'a> Delegate<'a> {
    /// Looks for the plugin of type `kind` in the directories of `CNI_PATH`. The first regular file of that name counts,
    /// executable or not.
    pub fn find(call: &'a Call, kind: &str) -> Result<Delegate<'a>, Error> {
        let timeout = timeout(call);
        let program = search(kind, &call.path)?;
        Ok(Delegate { call, program, timeout })
    }

    /// The file that will be executed.
    pub fn program(&self) -> &std::path::Path {
        &self.program
    }

    /// ADD: the delegate's result. Should the delegate succeed with an answer that makes no sense, it is told to DEL,
    /// because it may have reserved something that nobody knows of.
    pub fn add(&self) -> Result<AddResult, Error> {
        self.begin_add()?.finish()
    }

    /// Starts ADD, whose result is asked for later.
    pub fn begin_add(&self) -> Result<Pending<'_>, Error> {
        Ok(Pending { delegate: self, work: self.begin(Verb::Add)? })
    }

    /// DEL.
    pub fn del(&self) -> Result<(), Error> {
        self.run(Verb::Del).map(drop)
    }

    /// CHECK.
    pub fn check(&self) -> Result<(), Error> {
        self.run(Verb::Check).map(drop)
    }

    /// GC, with the list of valid attachments that the caller got.
    pub fn gc(&self) -> Result<(), Error> {
        self.run(Verb::Gc).map(drop)
    }

    /// STATUS.
    pub fn status(&self) -> Result<(), Error> {
        self.run(Verb::Status).map(drop)
    }

    fn run(&self, verb: Verb) -> Result<Output, Error> {
        let work = self.begin(verb)?;
        self.judge(verb, work.finish())
    }

    fn begin(&self, verb: Verb) -> Result<Work<'_>, Error> {
        let command = Command {
            program: &self.program,
            arg0: None,
            env: &environment(self.call, verb),
            stdin: &self.call.stdin,
            timeout: self.timeout,
            with_descendants: false,
        };
        let begun = match self.call.start {
            None => exec::begin(&command, &self.call.stdin).map(Work::Running),
            Some(start) => match start(&command) {
                Err(error @ exec::Error::Start { .. }) => Err(error),
                done => Ok(Work::Done(done)),
            },
        };
        begun.map_err(|error| self.explain(verb, error))
    }

    /// DEL after an ADD of which nobody knows what it has done. What hung once may hang again, so it gets little time.
    fn undo_add(&self) {
        let hurried =
            Delegate { call: self.call, program: self.program.clone(), timeout: self.timeout.min(UNDO_TIMEOUT) };
        if let Err(error) = hurried.del() {
            self.call.warn(format_args!("cannot undo the ADD of {}: {error}", self.program.display()));
        }
    }

    fn judge(&self, verb: Verb, outcome: Result<Output, exec::Error>) -> Result<Output, Error> {
        let output = outcome.map_err(|error| self.explain(verb, error))?;
        // Where stderr is all that a failed plugin has said, the error holds it.
        if output.status.success() || !output.stdout.is_empty() {
            self.call.stderr().write(&output.stderr);
        }
        output.into_success()
    }

    fn explain(&self, verb: Verb, error: exec::Error) -> Error {
        let timed_out = matches!(error, exec::Error::TimedOut { .. });
        let error = Error::from(error);
        if timed_out {
            return error
                .context(format_args!("delegating {verb}"))
                .with_details(format!("{TIMEOUT_VARIABLE} sets the limit in seconds"));
        }
        error
    }
}

/// A call of a delegate.
#[derive(Debug)]
enum Work<'a> {
    /// By a process.
    Running(Running<'a>),
    /// By the caller's own code, which has come to its end.
    Done(Result<Output, exec::Error>),
}

impl Work<'_> {
    fn finish(self) -> Result<Output, exec::Error> {
        match self {
            Work::Running(running) => running.finish(),
            Work::Done(outcome) => outcome,
        }
    }
}

/// An ADD under way.
#[derive(Debug)]
pub struct Pending<'a> {
    delegate: &'a Delegate<'a>,
    work: Work<'a>,
}

impl Pending<'_> {
    /// The delegate's result; see [`Delegate::add`].
    pub fn finish(self) -> Result<AddResult, Error> {
        let Pending { delegate, work } = self;
        let outcome = work.finish();
        // A refusal is to be believed: nothing was reserved. An end without an answer is not.
        let answered = outcome.as_ref().is_ok_and(|output| output.status.signal().is_none());
        let output = match delegate.judge(Verb::Add, outcome) {
            Err(error) if answered => return Err(error),
            judged => judged,
        };
        let result = output.and_then(|output| AddResult::parse_answer(&output.stdout, delegate.call.version));
        result.inspect_err(|_| delegate.undo_add())
    }
}

/// The caller's environment with another verb.
fn environment(call: &Call, verb: Verb) -> Vec<(OsString, OsString)> {
    let others = call.env.iter().filter(|(name, _)| name != "CNI_COMMAND").cloned();
    others.chain([("CNI_COMMAND".into(), verb.as_str().into())]).collect()
}

/// The first regular file called `kind` in the directories of `path`.
pub(crate) fn search(kind: &str, path: &[PathBuf]) -> Result<PathBuf, Error> {
    if kind.is_empty() {
        return Err(Error::internal("no plugin name provided"));
    }
    if kind.contains('/') {
        return Err(Error::internal(format!("invalid plugin name: {kind}")));
    }
    if path.is_empty() {
        return Err(Error::internal("no paths provided"));
    }
    path.iter().map(|dir| dir.join(kind)).find(|file| file.is_file()).ok_or_else(|| {
        let dirs: Vec<String> = path.iter().map(|dir| dir.display().to_string()).collect();
        Error::internal(format!("failed to find plugin {} in path [{}]", quote(kind), dirs.join(" ")))
    })
}

fn timeout(call: &Call) -> Duration {
    let Some(text) = call.env(TIMEOUT_VARIABLE) else { return TIMEOUT };
    let seconds = text.to_str().and_then(|text| text.parse::<u64>().ok()).filter(|&seconds| seconds > 0);
    seconds.map(Duration::from_secs).unwrap_or_else(|| {
        call.warn(format_args!("{TIMEOUT_VARIABLE}={} is no number of seconds; it is ignored", text.display()));
        TIMEOUT
    })
}

#[cfg(test)]
mod tests;
