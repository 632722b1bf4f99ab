//! The `bridge` plugin; see [`plugins::bridge`].

use std::process::ExitCode;

fn main() -> ExitCode {
    cni::plugin::main(&plugins::bridge::Bridge)
}
