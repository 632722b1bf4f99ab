//! The one place where this project executes a plugin.
//!
//! A plugin is a process with an environment, a document on stdin and an answer on stdout. It may be slow, dead, chatty,
//! deaf to its stdin or simply somebody else's; none of that may hang the caller or cost it memory without bound. So one
//! thread serves all three pipes with `poll`, against a deadline:
//!
//! * stdin is written as fast as the plugin reads it; a plugin that closes it early is none of our concern;
//! * stdout is kept, up to [`STDOUT_MAX`]; a plugin that prints more is stopped;
//! * stderr is kept up to [`STDERR_MAX`] and read on beyond that, because it is only for people;
//! * a plugin that has exited while a descendant still holds its pipes gets a short grace for what is left in them;
//! * at the deadline the plugin is killed. It is always reaped.

mod failure;
mod pipes;

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::error::reason;
pub use failure::describe_status;

/// How much of a plugin's stdout is kept, in bytes. A result of a thousand addresses has about 100 kB.
pub const STDOUT_MAX: usize = 16 << 20;
/// How much of a plugin's stderr is kept, in bytes.
pub const STDERR_MAX: usize = 1 << 20;

/// A plugin that is just being written can not be executed; this often it is tried in all...
const BUSY_ATTEMPTS: u32 = 6;
/// ... with this pause in between.
const BUSY_PAUSE: Duration = Duration::from_secs(1);

/// What a time beyond the clock's range is cut to.
const FOREVER: Duration = Duration::from_secs(365 * 24 * 3600);

/// What to start, and with what.
#[derive(Clone, Debug)]
pub struct Command<'a> {
    /// The file to execute.
    pub program: &'a Path,
    /// Its `argv[0]`, when that is not the program: a binary that holds several plugins chooses by it.
    pub arg0: Option<&'a OsStr>,
    /// Its complete environment; nothing is inherited.
    pub env: &'a [(OsString, OsString)],
    /// What it can read from stdin.
    pub stdin: &'a [u8],
    /// How long it may take before it is killed.
    pub timeout: Duration,
    /// Whether it is killed with all that it has started. A plugin that another plugin has called belongs to that one, and goes
    /// when that one does.
    pub with_descendants: bool,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Output {
    /// How it ended.
    pub status: ExitStatus,
    /// All that it printed on stdout.
    pub stdout: Vec<u8>,
    /// What it printed on stderr, up to [`STDERR_MAX`].
    pub stderr: Vec<u8>,
}

/// Why there is no output.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The kernel would not execute it.
    #[error("fork/exec {}: {}", program.display(), reason(source))]
    Start {
        /// The file.
        program: PathBuf,
        /// The kernel's reason.
        source: io::Error,
    },
    /// It did not end in time and was killed.
    #[error("plugin {} did not finish within {} s and was killed", program.display(), seconds(*timeout))]
    TimedOut {
        /// The file.
        program: PathBuf,
        /// The time that it had.
        timeout: Duration,
    },
    /// It printed more than [`STDOUT_MAX`] and was killed.
    #[error("plugin {} printed more than {} MiB on stdout and was killed", program.display(), STDOUT_MAX >> 20)]
    TooMuchOutput {
        /// The file.
        program: PathBuf,
    },
    /// Talking to it failed.
    #[error("cannot talk to plugin {}: {}", program.display(), reason(source))]
    Pipe {
        /// The file.
        program: PathBuf,
        /// The kernel's reason.
        source: io::Error,
    },
}

/// How plugins are started by somebody who may have some of them inside: [`run`], or what comes to the same.
pub type Start = fn(&Command<'_>) -> Result<Output, Error>;

/// Starts a plugin and waits for its end.
pub fn run(command: &Command<'_>) -> Result<Output, Error> {
    begin(command, command.stdin)?.finish()
}

/// Starts a plugin and gives it its document. Whoever has something else to do meanwhile does it before
/// [`Running::finish`].
///
/// The document comes apart from the command, because it has to last until then and the rest has not.
pub fn begin<'a>(command: &Command<'_>, document: &'a [u8]) -> Result<Running<'a>, Error> {
    let now = Instant::now();
    let deadline = now.checked_add(command.timeout).unwrap_or(now + FOREVER);
    let mut child = start(command, || thread::sleep(BUSY_PAUSE))?;
    let pipes = pipes::Pipes::of(&mut child, document);
    let (program, timeout, leads) = (command.program.to_owned(), command.timeout, command.with_descendants);
    Ok(Running { program, timeout, deadline, child, leads, pipes: Some(pipes) })
}

/// A plugin at work. Dropped without [`Running::finish`] it is killed; in either case it is reaped.
pub struct Running<'a> {
    program: PathBuf,
    timeout: Duration,
    deadline: Instant,
    child: Child,
    /// Whether it leads a process group of its own.
    leads: bool,
    /// None once the conversation is over.
    pipes: Option<io::Result<pipes::Pipes<'a>>>,
}

impl Running<'_> {
    /// Waits for its end.
    pub fn finish(mut self) -> Result<Output, Error> {
        let pipes = self.pipes.take().unwrap_or_else(|| Err(io::ErrorKind::BrokenPipe.into()));
        let served = pipes.and_then(|pipes| pipes.serve(&mut self.child, self.deadline));
        // Whatever happened, no process and no zombie stays. Killing one that has exited does nothing.
        if !matches!(served, Ok(pipes::Served { end: pipes::End::Exited, .. })) {
            self.kill();
        }
        let program = || self.program.clone();
        let status = self.child.wait().map_err(|source| Error::Pipe { program: program(), source })?;
        let served = served.map_err(|source| Error::Pipe { program: program(), source })?;
        match served.end {
            pipes::End::Exited => Ok(Output { status, stdout: served.stdout, stderr: served.stderr }),
            pipes::End::Deadline => Err(Error::TimedOut { program: program(), timeout: self.timeout }),
            pipes::End::TooMuch => Err(Error::TooMuchOutput { program: program() }),
        }
    }
}

impl Running<'_> {
    /// Kills it, and what it has started. It has not been reaped yet, so its number is no other process's.
    fn kill(&mut self) {
        if self.leads {
            let _ = killpg(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGKILL);
        }
        let _ = self.child.kill();
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if self.pipes.take().is_some() {
            self.kill();
            let _ = self.child.wait();
        }
    }
}

impl fmt::Debug for Running<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Running {{ program: {:?}, pid: {} }}", self.program, self.child.id())
    }
}

fn start(command: &Command<'_>, mut pause: impl FnMut()) -> Result<Child, Error> {
    for _ in 1..BUSY_ATTEMPTS {
        match spawn(command) {
            Err(error) if error.kind() == io::ErrorKind::ExecutableFileBusy => pause(),
            done => return done.map_err(|source| Error::Start { program: command.program.to_owned(), source }),
        }
    }
    spawn(command).map_err(|source| Error::Start { program: command.program.to_owned(), source })
}

fn spawn(command: &Command<'_>) -> io::Result<Child> {
    let mut process = std::process::Command::new(command.program);
    if let Some(arg0) = command.arg0 {
        process.arg0(arg0);
    }
    process.env_clear();
    // The first of several variables of one name is the one that a process sees.
    process.envs(command.env.iter().rev().map(|(name, value)| (name, value)));
    if command.with_descendants {
        process.process_group(0);
    }
    process.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()
}

/// `30` or `0.3`: the number that std prints for the same time as an `f64`, without all the code that it needs for that.
fn seconds(time: Duration) -> String {
    let digits = format!("{}.{:09}", time.as_secs(), time.subsec_nanos());
    digits.trim_end_matches('0').trim_end_matches('.').to_owned()
}

impl Output {
    /// Whether it exited with status 0.
    pub fn success(&self) -> bool {
        self.status.success()
    }
}

#[cfg(test)]
mod tests;
