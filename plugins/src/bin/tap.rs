//! The `tap` plugin; see [`plugins::tap`].

use std::process::ExitCode;

fn main() -> ExitCode {
    plugins::tap::main()
}
