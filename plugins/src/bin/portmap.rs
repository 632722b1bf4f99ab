//! The `portmap` plugin; see [`plugins::portmap`].

use std::process::ExitCode;

fn main() -> ExitCode {
    cni::plugin::main(&plugins::portmap::Portmap)
}
