//! What is executed in a container, and with which rights.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The command and its surroundings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// The command and its arguments; never empty.
    pub argv: Vec<String>,
    /// `KEY=VALUE`, complete: defaults and `-e`.
    pub env: Vec<String>,
    /// Where the command starts, absolute.
    pub workdir: PathBuf,
    /// All capabilities, nothing masked.
    pub privileged: bool,
    /// A reaping pid 1 in front of the command.
    pub init: bool,
}
