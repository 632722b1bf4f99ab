//! The `firewall` plugin; see [`plugins::firewall`].

use std::process::ExitCode;

fn main() -> ExitCode {
    cni::plugin::main(&plugins::firewall::Firewall)
}
