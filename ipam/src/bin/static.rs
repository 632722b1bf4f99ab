//! The `static` plugin.

use std::process::ExitCode;

fn main() -> ExitCode {
    ipam::run("static").unwrap_or(ExitCode::FAILURE)
}
