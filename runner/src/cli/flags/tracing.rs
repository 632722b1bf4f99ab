//! Options that show how a container is made.

use clap::Args;

use crate::trace::{Format, Wanted};

/// What to print on standard error once the command is executed.
#[derive(Debug, Args)]
#[command(next_help_heading = "Trace")]
pub(in crate::cli) struct Tracing {
    /// Print each step of the start with its time
    #[arg(
        long,
        value_name = "FORMAT",
        value_enum,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "text"
    )]
    trace: Option<Format>,
    /// Print how long the parts of the start took
    #[arg(long)]
    timings: bool,
    /// Print the commands that a person would type to do the same by hand
    #[arg(long)]
    explain: bool,
}

impl Tracing {
    /// What is to be printed.
    pub(in crate::cli) fn wanted(&self) -> Wanted {
        Wanted { steps: self.trace, timings: self.timings, explain: self.explain }
    }
}
