//! Named points at which a test can make `xnet` fail or die. They exist in debug builds only.
//!
//! `XNET_FAIL_AT=NAME` makes the step return an error, `XNET_CRASH_AT=NAME` kills the process as `kill -9`
//! would. The tests walk through every name and look at what is left.

#[cfg(debug_assertions)]
use std::ffi::OsString;
#[cfg(debug_assertions)]
use std::sync::OnceLock;

use crate::error::Result;

/// What the environment asks for: read once, because a process that enters a container forgets its environment.
#[cfg(debug_assertions)]
static ASKED: OnceLock<[Option<OsString>; 2]> = OnceLock::new();

/// Passes, fails or dies here, as the environment asks.
#[cfg(debug_assertions)]
pub(crate) fn point(name: &str) -> Result<()> {
    let [crash, fail] = ASKED.get_or_init(|| ["XNET_CRASH_AT", "XNET_FAIL_AT"].map(std::env::var_os));
    let is_here = |asked: &Option<OsString>| asked.as_ref().is_some_and(|asked| asked == name);
    if is_here(crash) {
        let _ = nix::sys::signal::kill(nix::unistd::Pid::this(), nix::sys::signal::Signal::SIGKILL);
    }
    if is_here(fail) {
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
