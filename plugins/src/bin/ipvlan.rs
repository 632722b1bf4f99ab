//! The `ipvlan` plugin; see [`plugins::ipvlan`].

use std::process::ExitCode;

fn main() -> ExitCode {
    cni::plugin::main(&plugins::ipvlan::Ipvlan)
}
