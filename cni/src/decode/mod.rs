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

use std::fmt::{self, Display};

use serde::de::{self, DeserializeOwned, Expected, Unexpected};
use serde_json::Value;

use crate::error::Error as CniError;
use fold::Folded;

/// Why a document could not be decoded, and where in it.
///
/// The place is found on the way out: whoever passes an error on from a member or an item puts its key or index in front.
/// A document without errors thus pays nothing for it, and the results in between stay as small as a pointer.
#[derive(Debug)]
pub struct Error(Box<Located>);

#[derive(Debug)]
struct Located {
    /// Every key has a period in front, the outermost too.
    path: String,
    reason: String,
}

impl Error {
    pub(super) fn new(reason: String) -> Error {
        Error(Box::new(Located { path: String::new(), reason }))
    }

    pub(super) fn at_key(mut self, key: &str) -> Error {
        self.0.path.insert_str(0, key);
        self.0.path.insert(0, '.');
        self
    }

    pub(super) fn at_index(mut self, index: usize) -> Error {
        self.0.path.insert_str(0, &format!("[{index}]"));
        self
    }

    /// The place in the document, such as `ipam.ranges[0]`; empty for the document as a whole.
    pub fn path(&self) -> &str {
        let path = &self.0.path;
        path.strip_prefix('.').unwrap_or(path)
    }

    /// `prefix: where: why`, as the error of a plugin.
    pub fn context(self, prefix: impl Display) -> CniError {
        CniError::from(self).context(prefix)
    }
}

impl Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path() {
            "" => f.write_str(&self.0.reason),
            path => write!(f, "{path}: {}", self.0.reason),
        }
    }
}

impl std::error::Error for Error {}

impl de::Error for Error {
    fn custom<T: Display>(reason: T) -> Error {
        Error::new(reason.to_string())
    }

    fn invalid_type(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Error {
        Error::new(format!("invalid type: {}, expected {expected}", described(unexpected)))
    }

    fn invalid_value(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Error {
        Error::new(format!("invalid value: {}, expected {expected}", described(unexpected)))
    }
}

/// In serde's words, but with JSON's `null`. [`Unexpected`] could print itself, if it did not bring along everything that
/// std knows about printing floating point numbers, for which a plugin has no other use.
fn described(unexpected: Unexpected<'_>) -> String {
    let kind = match unexpected {
        Unexpected::Bool(value) => return format!("boolean `{value}`"),
        Unexpected::Unsigned(number) => return format!("integer `{number}`"),
        Unexpected::Signed(number) => return format!("integer `{number}`"),
        Unexpected::Float(number) => return format!("floating point `{}`", Value::from(number)),
        Unexpected::Char(c) => return format!("character `{c}`"),
        Unexpected::Str(text) => return format!("string {text:?}"),
        Unexpected::Unit => "null",
        Unexpected::Bytes(_) => "byte array",
        Unexpected::Option => "Option value",
        Unexpected::NewtypeStruct => "newtype struct",
        Unexpected::Seq => "sequence",
        Unexpected::Map => "map",
        Unexpected::Enum => "enum",
        Unexpected::UnitVariant => "unit variant",
        Unexpected::NewtypeVariant => "newtype variant",
        Unexpected::TupleVariant => "tuple variant",
        Unexpected::StructVariant => "struct variant",
        Unexpected::Other(kind) => kind,
    };
    kind.to_owned()
}

/// Plugins have always reported a configuration that they can not use as an internal error, with their own words in front.
impl From<Error> for CniError {
    fn from(error: Error) -> CniError {
        CniError::internal(error.to_string())
    }
}

/// Decodes a document.
pub fn from_slice<T: DeserializeOwned>(json: &[u8]) -> Result<T, Error> {
    from_value(&document(json)?)
}

/// Decodes a document that was parsed before, or a part of one.
pub fn from_value<T: DeserializeOwned>(value: &Value) -> Result<T, Error> {
    T::deserialize(Folded(value))
}

/// Parses a document without giving it a shape yet.
pub fn document(json: &[u8]) -> Result<Value, Error> {
    let parsed = match std::str::from_utf8(json) {
        Ok(text) => serde_json::from_str(text),
        Err(_) => serde_json::from_str(&String::from_utf8_lossy(json)),
    };
    parsed.map_err(|reason| match reason.is_eof() {
        // The text that callers know for an empty stdin.
        true => Error::new("unexpected end of JSON input".to_owned()),
        false => Error::new(reason.to_string()),
    })
}

#[cfg(test)]
mod tests;
