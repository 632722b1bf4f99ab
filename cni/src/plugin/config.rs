//! The configuration on stdin, as far as every plugin looks at it.

use serde::Deserialize;
use serde_json::Value;

use crate::decode;
use crate::error::{Code, Error};
use crate::name::NetName;
use crate::plugin::Verb;
use crate::quote::{quote, quote_all};
use crate::version::{Number, Version};

/// A configuration with a valid name.
#[derive(Clone, Debug)]
pub(super) struct Config {
    pub(super) stdin: Vec<u8>,
    pub(super) document: Value,
    pub(super) name: NetName,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Named {
    name: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Versioned {
    cni_version: String,
}

impl Config {
    pub(super) fn read(stdin: Vec<u8>) -> Result<Config, Error> {
        let undecodable = |error: decode::Error| {
            Error::new(Code::DECODING_FAILURE, format!("error unmarshall network config: {error}"))
        };
        let document = decode::document(&stdin).map_err(undecodable)?;
        let Named { name } = decode::from_value(&document).map_err(undecodable)?;
        Ok(Config { name: name.try_into()?, stdin, document })
    }

    /// The version as the configuration states it; empty when it states none.
    pub(super) fn stated_version(&self) -> Result<String, Error> {
        let versioned: Result<Versioned, _> = decode::from_value(&self.document);
        Ok(versioned
            .map_err(|error| {
                Error::new(Code::DECODING_FAILURE, format!("decoding version from network config: {error}"))
            })?
            .cni_version)
    }
}

/// The version that a verb is served in, or why it is not. The verb's own minimum is looked at first.
pub(super) fn negotiate(verb: Verb, stated: &str, supported: &[Version]) -> Result<Version, Error> {
    let stated = if stated.is_empty() { Version::V0_1_0.as_str() } else { stated };
    if let Some(minimum) = verb.minimum() {
        check_minimum(verb, minimum, stated, supported)?;
    }
    supported.iter().copied().find(|version| version.as_str() == stated).ok_or_else(|| {
        let supported = quote_all(supported.iter().map(|version| version.as_str()));
        Error::new(Code::INCOMPATIBLE_VERSION, "incompatible CNI versions")
            .with_details(format!("config is {}, plugin supports {supported}", quote(stated)))
    })
}

fn check_minimum(verb: Verb, minimum: Version, stated: &str, supported: &[Version]) -> Result<(), Error> {
    let number: Number = stated.parse().map_err(|text: String| Error::new(Code::DECODING_FAILURE, text))?;
    let refuse = |who: &str| {
        Err(Error::new(Code::INCOMPATIBLE_VERSION, format!("{who} version does not allow {}", verb.as_str())))
    };
    if number < minimum.into() {
        return refuse("config");
    }
    if supported.iter().all(|&version| Number::from(version) < number) {
        return refuse("plugin");
    }
    Ok(())
}
