//! The `ptp` plugin.

use std::process::ExitCode;

fn main() -> ExitCode {
    cni::plugin::main(&plugins::ptp::Ptp)
}
