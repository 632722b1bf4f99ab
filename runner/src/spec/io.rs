//! How a container's standard streams are connected.

use serde::{Deserialize, Serialize};

use super::Log;

/// The input and output part of a container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Io {
    /// `-t`: a terminal of its own instead of three streams.
    pub tty: bool,
    /// How large the terminal is at first; none when nobody is there to see it.
    pub size: Option<Size>,
    /// `-i`: what becomes of its standard input.
    pub stdin: Stdin,
    /// `-a`, or what the command line means without it: which streams the caller is connected to.
    pub attach: Attach,
    /// What is kept of the output.
    pub log: Log,
}

/// The size of a terminal, in characters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Size {
    /// Lines.
    pub rows: u16,
    /// Columns.
    pub cols: u16,
}

/// A container's standard input.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stdin {
    /// Empty: the container's own `/dev/null`.
    #[default]
    Closed,
    /// Open for everybody who attaches, and never at its end: `-i` with `-d`.
    Open,
    /// That of the first who attaches, and at its end with it: `-i` in the foreground.
    Once,
}

/// The streams to which the one who starts a container is connected.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attach {
    /// Standard input.
    pub stdin: bool,
    /// Standard output.
    pub stdout: bool,
    /// Standard error.
    pub stderr: bool,
}
