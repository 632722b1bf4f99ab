//! The `host-device` plugin; see [`plugins::host_device`].

use std::process::ExitCode;

fn main() -> ExitCode {
    cni::plugin::main(&plugins::host_device::HostDevice)
}
