//! The one error of the runner: a line for people and the exit status that goes with it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What the shell sees when a container could not be started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Status {
    /// 125: `xnet` itself failed, nothing of the user's was run.
    Setup,
    /// 126: the command exists but cannot be executed.
    NotExecutable,
    /// 127: there is no such command.
    NotFound,
}

impl Status {
    /// The process exit status.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Setup => 125,
            Self::NotExecutable => 126,
            Self::NotFound => 127,
        }
    }
}

/// A failure, told in one line: what was attempted, on which object, and why it was refused.
///
/// It crosses the socket between the container's first process and its parent, hence serde.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// The exit status that this failure asks for.
    pub status: Status,
    /// The line for people, without a trailing newline.
    pub message: String,
}

impl Error {
    /// A failure of `xnet` itself (125).
    pub fn new(message: impl Into<String>) -> Self {
        Self { status: Status::Setup, message: message.into() }
    }

    /// The command is there but cannot be executed (126).
    pub fn not_executable(message: impl Into<String>) -> Self {
        Self { status: Status::NotExecutable, message: message.into() }
    }

    /// The command is not there (127).
    pub fn not_found(message: impl Into<String>) -> Self {
        Self { status: Status::NotFound, message: message.into() }
    }
}

/// The result of everything in the runner that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Puts what was attempted in front of a cause.
pub trait Context<T> {
    /// `what: cause`, as a failure of `xnet` itself; an [`Error`] keeps its status.
    fn context<S: fmt::Display>(self, what: impl FnOnce() -> S) -> Result<T>;
}

impl<T, E: Into<Cause>> Context<T> for std::result::Result<T, E> {
    fn context<S: fmt::Display>(self, what: impl FnOnce() -> S) -> Result<T> {
        self.map_err(|cause| {
            let Cause { status, message } = cause.into();
            Error { status, message: format!("{}: {message}", what()) }
        })
    }
}

/// A cause on its way into an [`Error`]. Errors of the kernel become its own sentence, without numbers.
#[derive(Debug)]
pub struct Cause {
    status: Status,
    message: String,
}

impl From<nix::Error> for Cause {
    fn from(errno: nix::Error) -> Self {
        Self { status: Status::Setup, message: errno.desc().to_owned() }
    }
}

impl From<std::io::Error> for Cause {
    fn from(error: std::io::Error) -> Self {
        let message = match error.raw_os_error() {
            Some(number) => nix::Error::from_raw(number).desc().to_owned(),
            None => error.to_string(),
        };
        Self { status: Status::Setup, message }
    }
}

impl From<serde_json::Error> for Cause {
    fn from(error: serde_json::Error) -> Self {
        Self { status: Status::Setup, message: error.to_string() }
    }
}

impl From<cni::Error> for Cause {
    fn from(error: cni::Error) -> Self {
        // The protocol's error on one line: code, message and details.
        let message = format!("{error} (code {})", error.code).replace('\n', "; ");
        Self { status: Status::Setup, message }
    }
}

impl From<Error> for Cause {
    fn from(error: Error) -> Self {
        Self { status: error.status, message: error.message }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn context_keeps_the_status_and_drops_errno_numbers() {
        let refused: Result<()> = Err(std::io::Error::from_raw_os_error(13)).context(|| "open /x");
        assert_eq!(refused, Err(Error::new("open /x: Permission denied")));
        let inner: Result<()> = Err(Error::not_found("no such command"));
        assert_eq!(inner.context(|| "exec").map_err(|e| e.status.code()), Err(127));
    }
}
