//! What is executed in a container, and with which rights.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Capabilities, Rlimit, User, Who};

/// The command and its surroundings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// The command and its arguments; never empty.
    pub argv: Vec<String>,
    /// `KEY=VALUE`: defaults and `-e`. `HOME`, when it is not among them, is what the container's `/etc/passwd` says.
    pub env: Vec<String>,
    /// Where the command starts, absolute.
    pub workdir: PathBuf,
    /// Who it runs as.
    pub user: User,
    /// Supplementary groups beside those that the container's files give the user.
    pub groups: Vec<Who>,
    /// The file mode creation mask.
    pub umask: u32,
    /// What root may do in the container.
    pub capabilities: Capabilities,
    /// Limits of the process; what is not named is inherited from the caller.
    pub rlimits: Vec<Rlimit>,
    /// How willingly the kernel kills the container when memory is short, from -1000 to 1000.
    pub oom_score_adj: Option<i16>,
    /// Whether set-user-id bits and file capabilities mean nothing in the container.
    pub no_new_privileges: bool,
    /// All capabilities, nothing masked.
    pub privileged: bool,
    /// A reaping pid 1 in front of the command.
    pub init: bool,
}

/// The rights of a process that is about to be executed: of the container's first one, or of one that joins it.
#[derive(Debug, Clone, Copy)]
pub struct Rights<'a> {
    /// Who it runs as.
    pub user: &'a User,
    /// Supplementary groups beside those of the container's files.
    pub groups: &'a [Who],
    /// The five sets.
    pub capabilities: &'a Capabilities,
    /// Whether it can never get more.
    pub no_new_privileges: bool,
}

impl Process {
    /// What the command may do.
    #[must_use]
    pub fn rights(&self) -> Rights<'_> {
        Rights {
            user: &self.user,
            groups: &self.groups,
            capabilities: &self.capabilities,
            no_new_privileges: self.no_new_privileges,
        }
    }
}
