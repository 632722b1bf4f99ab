//! The `loopback` plugin; see [`plugins::loopback`].

use std::process::ExitCode;

fn main() -> ExitCode {
    cni::plugin::main(&plugins::loopback::Loopback)
}
