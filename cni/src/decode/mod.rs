//! JSON with the meaning that Go's decoder gives it, because every CNI configuration in the field was written for that.
//!
//! * Keys of structs match in any letter case; of several that match, the last in the document counts.
//! * `null` for a field means that the field is absent.
//! * Keys that no struct asks for are ignored; keys of maps are taken as they are.
//! * Invalid UTF-8 becomes U+FFFD.
//!
//! Types stay strict: a number in quotes is no number, `1.5` no integer, and nothing but `true` and `false` a boolean. The
//! error says where: `ipam.ranges[0][1].subnet: invalid type: integer `5`, expected a string`.
//!
//! A document may nest 127 levels deep. That is far beyond any configuration, and keeps a hostile one from exhausting the
//! stack here, when it is dropped, or in whatever walks it later.
//!
//! Structs that use `flatten` or untagged enums are decoded by way of serde's own buffer, which knows nothing of letter
//! case; configurations should do without.

mod fold;

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::error::Error as CniError;
use fold::Folded;

/// Why a document could not be decoded, and where in it.
#[derive(Debug, thiserror::Error)]
#[error("{}{reason}", At(path))]
pub struct Error {
    path: String,
    reason: serde_json::Error,
}

impl Error {
    /// The place in the document, such as `ipam.ranges[0]`; empty for the document as a whole.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// `prefix: where: why`, as the error of a plugin.
    pub fn context(self, prefix: impl std::fmt::Display) -> CniError {
        CniError::from(self).context(prefix)
    }
}

/// Plugins have always reported a configuration that they can not use as an internal error, with their own words in front.
impl From<Error> for CniError {
    fn from(error: Error) -> CniError {
        CniError::internal(error.to_string())
    }
}

struct At<'a>(&'a str);

impl std::fmt::Display for At<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, "{}: ", self.0) }
    }
}

/// Decodes a document.
pub fn from_slice<T: DeserializeOwned>(json: &[u8]) -> Result<T, Error> {
    from_value(&document(json)?)
}

/// Decodes a document that was parsed before, or a part of one.
pub fn from_value<T: DeserializeOwned>(value: &Value) -> Result<T, Error> {
    serde_path_to_error::deserialize(Folded(value)).map_err(|error| {
        let path = error.path().to_string();
        Error { path: if path == "." { String::new() } else { path }, reason: error.into_inner() }
    })
}

/// Parses a document without giving it a shape yet.
pub fn document(json: &[u8]) -> Result<Value, Error> {
    let parsed = match std::str::from_utf8(json) {
        Ok(text) => serde_json::from_str(text),
        Err(_) => serde_json::from_str(&String::from_utf8_lossy(json)),
    };
    parsed.map_err(|reason| Error { path: String::new(), reason: ended_early(reason) })
}

/// The text that callers know for an empty stdin.
fn ended_early(reason: serde_json::Error) -> serde_json::Error {
    if reason.is_eof() { serde::de::Error::custom("unexpected end of JSON input") } else { reason }
}

#[cfg(test)]
mod tests;
