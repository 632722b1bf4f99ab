//! The `tuning` plugin; see [`plugins::tuning`].

use std::process::ExitCode;

fn main() -> ExitCode {
    cni::plugin::main(&plugins::tuning::Tuning)
}
