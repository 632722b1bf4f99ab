//! The `bandwidth` plugin; see [`plugins::bandwidth`].

use std::process::ExitCode;

fn main() -> ExitCode {
    cni::plugin::main(&plugins::bandwidth::Bandwidth)
}
