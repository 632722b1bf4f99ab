//! The `macvlan` plugin; see [`plugins::macvlan`].

use std::process::ExitCode;

fn main() -> ExitCode {
    cni::plugin::main(&plugins::macvlan::Macvlan)
}
