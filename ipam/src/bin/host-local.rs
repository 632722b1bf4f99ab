//! The host-local binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    ipam::run("host-local").unwrap_or(ExitCode::FAILURE)
}
