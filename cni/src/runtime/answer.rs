//! Results between the in-memory form and the documents that pass from plugin to plugin and into the cache.

use serde_json::{Map, Value, json};

use super::ConfList;
use crate::result::AddResult;
use crate::version::Number;
use crate::{Code, Error, Version, decode};

/// A result as the object that stands as `prevResult` in a request and as `result` in the cache.
pub(super) fn document(result: &AddResult, version: Version) -> Result<Map<String, Value>, Error> {
    let value = if version < Version::V0_3_0 && result.ips.is_empty() {
        // A plugin of such a list may well have answered so; what can not be converted can still be passed on.
        json!({"cniVersion": version.as_str(), "dns": result.dns})
    } else {
        decode::document(result.to_json(version)?.as_bytes())?
    };
    match value {
        Value::Object(members) => Ok(members),
        other => Err(Error::internal(format!("a result is an object, not {other}"))),
    }
}

/// The version in which results of this list are written.
pub(super) fn version(list: &ConfList) -> Result<Version, Error> {
    match list.version() {
        "" => Ok(Version::V0_1_0),
        version => version.parse(),
    }
}

/// Whether the list's version, which need not be one that this library knows, has reached `least`.
pub(super) fn reaches(list: &ConfList, least: Version) -> Result<bool, Error> {
    let number: Number = list.version().parse().map_err(|err: String| Error::new(Code::DECODING_FAILURE, err))?;
    Ok(number >= least.into())
}

/// JSON that did not decode, with the code that the protocol has for it.
pub(super) fn undecodable(err: decode::Error) -> Error {
    Error::new(Code::DECODING_FAILURE, err.to_string())
}
