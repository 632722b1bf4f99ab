//! The `vlan` plugin; see [`plugins::vlan`].

use std::process::ExitCode;

fn main() -> ExitCode {
    cni::plugin::main(&plugins::vlan::Vlan)
}
