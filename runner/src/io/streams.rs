//! The pipes between a container and the process that attends it.
//!
//! They are FIFOs in the container's state directory, so that they outlive the process that made them, and whoever comes
//! after it opens the same ones. The container has its outputs open for reading, too: a pipe that has a reader gives
//! neither SIGPIPE nor an error. While nobody attends the container it may write as much as the pipe holds, a mebibyte;
//! then it waits for the next `xnet` that looks after it.

use std::fs;
use std::io::stdin;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::fcntl::{FcntlArg, OFlag, fcntl, open};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use crate::error::{Context, Result};
use crate::spec::{Io, Stdin};

/// What a container's first process makes its standard streams of.
#[derive(Debug)]
pub(crate) enum Stdio {
    /// Those of the caller.
    Inherit {
        /// Standard input, too; else it is empty.
        stdin: bool,
    },
    /// Pipes.
    Pipes {
        /// None: it is empty.
        stdin: Option<OwnedFd>,
        /// For writing.
        stdout: OwnedFd,
        /// For writing.
        stderr: OwnedFd,
    },
    /// A terminal, which is made inside.
    Terminal,
    /// Nothing comes in, and what goes out is nobody's.
    Empty,
}

impl Stdio {
    /// The same with the caller's standard input, or none, and no pipe for it.
    ///
    /// # Errors
    ///
    /// When the caller's cannot be duplicated.
    pub(crate) fn with_own_input(self, wanted: bool) -> Result<Self> {
        let own = || stdin().as_fd().try_clone_to_owned().context(|| "duplicate standard input");
        match self {
            Self::Pipes { stdout, stderr, .. } => {
                let stdin = wanted.then(own).transpose()?;
                Ok(Self::Pipes { stdin, stdout, stderr })
            }
            other => Ok(other),
        }
    }
}

/// The other ends.
#[derive(Debug)]
pub(crate) enum Ends {
    /// Of pipes. None of them ever blocks.
    Pipes {
        /// For writing.
        stdin: Option<OwnedFd>,
        /// For reading.
        stdout: OwnedFd,
        /// For reading.
        stderr: OwnedFd,
    },
    /// The master, which has come from inside.
    Terminal(OwnedFd),
}

/// Makes the pipes for `io` in `dir`, and opens both ends.
///
/// # Errors
///
/// When they cannot be made or opened.
pub(crate) fn make(io: &Io, dir: &Path) -> Result<(Ends, Stdio)> {
    for name in ["stdin", "stdout", "stderr"] {
        let path = dir.join(name);
        // Those of an earlier run; what is still in them is nobody's.
        let _ = fs::remove_file(&path);
        mkfifo(&path, Mode::S_IRUSR | Mode::S_IWUSR).context(|| format!("make the pipe {}", path.display()))?;
    }
    let ends = reopen(io, dir)?;
    let theirs = |name: &str, flags| open_pipe(dir, name, flags);
    let stdin = match io.stdin {
        Stdin::Closed => None,
        Stdin::Once => Some(theirs("stdin", OFlag::O_RDONLY)?),
        Stdin::Open => Some(theirs("stdin", OFlag::O_RDWR)?),
    };
    let (stdout, stderr) = (theirs("stdout", OFlag::O_RDWR)?, theirs("stderr", OFlag::O_RDWR)?);
    Ok((ends, Stdio::Pipes { stdin, stdout, stderr }))
}

/// Opens the attending side of pipes that were made before.
///
/// # Errors
///
/// When they are not there.
pub(crate) fn reopen(io: &Io, dir: &Path) -> Result<Ends> {
    let ours = |name: &str, flags| open_pipe(dir, name, flags | OFlag::O_NONBLOCK);
    let stdin = match io.stdin {
        Stdin::Closed => None,
        _ => {
            // Without a reader a FIFO cannot be opened for writing; this one is the reader for a moment.
            let _reader = ours("stdin", OFlag::O_RDWR)?;
            Some(ours("stdin", OFlag::O_WRONLY)?)
        }
    };
    // Open for writing, too: else the end of the last writer would be an event without end.
    let (stdout, stderr) = (ours("stdout", OFlag::O_RDWR)?, ours("stderr", OFlag::O_RDWR)?);
    for pipe in [&stdout, &stderr] {
        // The more it holds, the longer a container can do without us. The limit of the user may forbid it.
        let _ = fcntl(pipe.as_fd(), FcntlArg::F_SETPIPE_SZ(ROOM));
    }
    Ok(Ends::Pipes { stdin, stdout, stderr })
}

/// The most that a pipe may hold without privileges, by default.
const ROOM: i32 = 1 << 20;

fn open_pipe(dir: &Path, name: &str, flags: OFlag) -> Result<OwnedFd> {
    let path = dir.join(name);
    let flags = flags | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
    open(&path, flags, Mode::empty()).context(|| format!("open the pipe {}", path.display()))
}
