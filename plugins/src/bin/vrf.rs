//! The `vrf` plugin; see [`plugins::vrf`].

use std::process::ExitCode;

fn main() -> ExitCode {
    cni::plugin::main(&plugins::vrf::Vrf)
}
