//! What a plugin's failure is called. The texts are those that callers of the existing suite know.

use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;

use serde::Deserialize;

use crate::decode;
use crate::error::{Code, Error};
use crate::exec::{self, Output};
use crate::quote::quote;

/// The names of the signals 1 to 15 as Go prints them.
const SIGNALS: [&str; 15] = [
    "hangup",
    "interrupt",
    "quit",
    "illegal instruction",
    "trace/breakpoint trap",
    "aborted",
    "bus error",
    "floating point exception",
    "killed",
    "user defined signal 1",
    "segmentation fault",
    "user defined signal 2",
    "broken pipe",
    "alarm clock",
    "terminated",
];

/// `exit status 1`, `signal: killed`, `signal: segmentation fault (core dumped)`.
pub fn describe_status(status: ExitStatus) -> String {
    let Some(signal) = status.signal() else {
        return format!("exit status {}", status.code().unwrap_or_default());
    };
    let name = usize::try_from(signal).ok().and_then(|signal| SIGNALS.get(signal.wrapping_sub(1)));
    let name = name.map_or_else(|| format!("signal {signal}"), |name| (*name).to_owned());
    let core = if status.core_dumped() { " (core dumped)" } else { "" };
    format!("signal: {name}{core}")
}

impl Output {
    /// The output of a plugin that succeeded; for one that failed, the error that it reported, or one that says how it
    /// ended. What is only the plugin's own log stays in `stderr`.
    pub fn into_success(self) -> Result<Output, Error> {
        if self.status.success() { Ok(self) } else { Err(self.failure()) }
    }

    fn failure(&self) -> Error {
        let status = describe_status(self.status);
        if self.stdout.is_empty() && self.stderr.is_empty() {
            return Error::new(Code::UNKNOWN, format!("netplugin failed with no error message: {status}"));
        }
        if self.stdout.is_empty() {
            let said = quote(&self.stderr);
            return Error::new(Code::UNKNOWN, format!("netplugin failed: {said}")).with_details(status);
        }
        match decode::from_slice::<Reported>(&self.stdout) {
            Ok(Reported { code, msg, details }) if msg.is_empty() => {
                Error { code, msg: format!("netplugin failed with no error message: {status}"), details }
            }
            Ok(Reported { code, msg, details }) => Error { code, msg, details },
            Err(error) => {
                let said = quote(&self.stdout);
                let msg = format!("netplugin failed but error parsing its diagnostic message {said}: {error}");
                Error::new(Code::UNKNOWN, msg).with_details(status)
            }
        }
    }
}

/// A plugin that could not be started counts as one that failed without a word.
impl From<exec::Error> for Error {
    fn from(error: exec::Error) -> Error {
        match error {
            exec::Error::Start { .. } => {
                Error::new(Code::UNKNOWN, format!("netplugin failed with no error message: {error}"))
            }
            other => Error::internal(other.to_string()),
        }
    }
}

/// The error document as others print it; every member may be missing.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Reported {
    code: Code,
    msg: String,
    details: String,
}
