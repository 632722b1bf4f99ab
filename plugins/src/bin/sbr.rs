//! The `sbr` plugin; see [`plugins::sbr`].

use std::process::ExitCode;

fn main() -> ExitCode {
    cni::plugin::main(&plugins::sbr::Sbr)
}
