//! The `dummy` plugin; see [`plugins::dummy`].

use std::process::ExitCode;

fn main() -> ExitCode {
    cni::plugin::main(&plugins::dummy::Dummy)
}
