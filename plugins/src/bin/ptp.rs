//! The `ptp` plugin; see [`plugins::ptp`].

use std::process::ExitCode;

fn main() -> ExitCode {
    cni::plugin::main(&plugins::ptp::Ptp)
}
