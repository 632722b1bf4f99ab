//! The one error type that crosses the process boundary.

use std::fmt;
use std::io;

use serde::{Deserialize, Serialize};

use crate::json;

/// An error code as the CNI specification numbers them. 1 to 99 are the specification's, 100 and above are a plugin's own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Code(pub u32);

impl Code {
    /// A delegated plugin failed and gave no code.
    pub const UNKNOWN: Code = Code(0);
    /// The configuration's `cniVersion` is not one that the plugin speaks.
    pub const INCOMPATIBLE_VERSION: Code = Code(1);
    /// The configuration holds a field that the plugin does not support.
    pub const UNSUPPORTED_FIELD: Code = Code(2);
    /// The container does not exist; the runtime need not clean up.
    pub const UNKNOWN_CONTAINER: Code = Code(3);
    /// A `CNI_*` variable is missing or invalid.
    pub const INVALID_ENVIRONMENT: Code = Code(4);
    /// Reading stdin or writing stdout failed.
    pub const IO_FAILURE: Code = Code(5);
    /// The configuration is not the JSON that was expected.
    pub const DECODING_FAILURE: Code = Code(6);
    /// The configuration is JSON, but does not make sense.
    pub const INVALID_CONFIG: Code = Code(7);
    /// `CNI_NETNS` is the plugin's own namespace.
    pub const INVALID_NETNS: Code = Code(8);
    /// A transient condition; the runtime may repeat the call.
    pub const TRY_AGAIN_LATER: Code = Code(11);
    /// STATUS: ADD can not be served.
    pub const PLUGIN_NOT_AVAILABLE: Code = Code(50);
    /// STATUS: ADD can not be served, and existing containers may have lost connectivity.
    pub const LIMITED_CONNECTIVITY: Code = Code(51);
    /// Every other failure.
    pub const INTERNAL: Code = Code(999);
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a plugin tells its caller when a call failed: the error document of the specification.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Error {
    /// What kind of failure it is.
    pub code: Code,
    /// One sentence; callers match on some of them.
    pub msg: String,
    /// What else helps; empty when there is nothing to add.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub details: String,
}

impl Error {
    /// An error without details.
    pub fn new(code: Code, msg: impl Into<String>) -> Error {
        Error { code, msg: msg.into(), details: String::new() }
    }

    /// An error of code 999, which most failures of most plugins have.
    pub fn internal(msg: impl Into<String>) -> Error {
        Error::new(Code::INTERNAL, msg)
    }

    /// The same error with these details in place of its own.
    #[must_use]
    pub fn with_details(mut self, details: impl Into<String>) -> Error {
        self.details = details.into();
        self
    }

    /// `prefix: msg`, with code and details kept: a plugin says what it attempted without hiding what a delegate said.
    #[must_use]
    pub fn context(mut self, prefix: impl fmt::Display) -> Error {
        self.msg = format!("{prefix}: {}", self.msg);
        self
    }

    /// The error document: indented by four spaces, no newline at the end.
    pub fn to_json(&self) -> String {
        // Three scalars always serialise.
        json::indented(self).unwrap_or_default()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.msg)?;
        if !self.details.is_empty() {
            write!(f, "; {}", self.details)?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

/// The kernel's reason as Go words it: `permission denied`, where Rust says `Permission denied (os error 13)`.
pub(crate) fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    match error.raw_os_error() {
        Some(errno) => text.strip_suffix(&format!(" (os error {errno})")).unwrap_or(&text).to_ascii_lowercase(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn document_has_go_layout() {
        let error = Error::new(Code(7), "a <b> & \"c\"");
        assert_eq!(error.to_json(), "{\n    \"code\": 7,\n    \"msg\": \"a \\u003cb\\u003e \\u0026 \\\"c\\\"\"\n}");
        insta::assert_snapshot!(error.with_details("x\n").to_json(), @r#"
        {
            "code": 7,
            "msg": "a \u003cb\u003e \u0026 \"c\"",
            "details": "x\n"
        }
        "#);
    }

    #[test]
    fn reasons_are_worded_as_in_go() {
        assert_eq!(reason(&io::Error::from_raw_os_error(13)), "permission denied");
        assert_eq!(reason(&io::Error::from_raw_os_error(5)), "input/output error");
        assert_eq!(reason(&io::Error::other("Own words")), "Own words");
    }

    #[test]
    fn context_keeps_code_and_details() {
        let error = Error::new(Code::TRY_AGAIN_LATER, "pool is locked").with_details("by 12");
        let error = error.context("ADD").context("bridge");
        assert_eq!(error, Error::new(Code(11), "bridge: ADD: pool is locked").with_details("by 12"));
        assert_eq!(error.to_string(), "bridge: ADD: pool is locked; by 12");
    }
}
