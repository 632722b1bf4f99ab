//! How a container is asked whether it works.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A command that is run in the container again and again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// `CMD` and the words of a command, or `CMD-SHELL` and a line for the shell.
    pub test: Vec<String>,
    /// What runs a line.
    pub shell: Vec<String>,
    /// From the end of one run to the next.
    pub interval: Duration,
    /// How long one may take.
    pub timeout: Duration,
    /// For how long after the start failures do not count, unless it has worked before.
    pub start_period: Duration,
    /// The interval until then.
    pub start_interval: Duration,
    /// How many failures in a row mean that it does not work.
    pub retries: u32,
}

impl Health {
    /// The command.
    #[must_use]
    pub fn argv(&self) -> Vec<String> {
        match self.test.split_first() {
            Some((kind, line)) if kind == "CMD-SHELL" => [self.shell.as_slice(), line].concat(),
            Some((_, words)) => words.to_vec(),
            None => Vec::new(),
        }
    }
}
