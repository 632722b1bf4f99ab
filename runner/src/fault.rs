//! Named points at which a test can make `xnet` fail or die. They exist in debug builds only.
//!
//! `XNET_FAIL_AT=NAME` makes the step return an error, `XNET_CRASH_AT=NAME` kills the process as `kill -9`
//! would. The tests walk through every name and look at what is left.

use crate::error::Result;

/// Passes, fails or dies here, as the environment asks.
#[cfg(debug_assertions)]
pub(crate) fn point(name: &str) -> Result<()> {
    let asked = |variable: &str| std::env::var_os(variable).is_some_and(|value| value == name);
    if asked("XNET_CRASH_AT") {
        let _ = nix::sys::signal::kill(nix::unistd::Pid::this(), nix::sys::signal::Signal::SIGKILL);
    }
    if asked("XNET_FAIL_AT") {
        return Err(crate::error::Error::new(format!("{name}: failed as XNET_FAIL_AT asks")));
    }
    Ok(())
}

/// Nothing, in a release build.
#[cfg(not(debug_assertions))]
#[expect(clippy::unnecessary_wraps, reason = "the debug build of the same function can fail")]
pub(crate) fn point(_name: &str) -> Result<()> {
    Ok(())
}
