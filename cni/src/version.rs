//! The versions of the specification, and the order between arbitrary version strings.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use crate::error::{Code, Error};
use crate::quote::quote;

/// A version of the CNI specification that this crate speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// 0.1.0, which a configuration without a version means.
    V0_1_0,
    /// 0.2.0: the VERSION command.
    V0_2_0,
    /// 0.3.0: results with interfaces.
    V0_3_0,
    /// 0.3.1: lists of plugins.
    V0_3_1,
    /// 0.4.0: CHECK, and prevResult on DEL.
    V0_4_0,
    /// 1.0.0: no more `version` in an address.
    V1_0_0,
    /// 1.1.0: GC and STATUS.
    V1_1_0,
}

/// Versions share a result format in three groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// One address a family: 0.1.0 and 0.2.0.
    Families,
    /// Interfaces and addresses, each with its `version`: 0.3.0 to 0.4.0.
    Tagged,
    /// Interfaces and addresses: 1.0.0 and 1.1.0.
    Plain,
}

impl Version {
    /// Every version, oldest first.
    pub const ALL: &'static [Version] = &[
        Version::V0_1_0,
        Version::V0_2_0,
        Version::V0_3_0,
        Version::V0_3_1,
        Version::V0_4_0,
        Version::V1_0_0,
        Version::V1_1_0,
    ];

    /// The version that this crate implements in full; VERSION reports it as the protocol's.
    pub const CURRENT: Version = Version::V1_1_0;

    /// As configurations and results spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Version::V0_1_0 => "0.1.0",
            Version::V0_2_0 => "0.2.0",
            Version::V0_3_0 => "0.3.0",
            Version::V0_3_1 => "0.3.1",
            Version::V0_4_0 => "0.4.0",
            Version::V1_0_0 => "1.0.0",
            Version::V1_1_0 => "1.1.0",
        }
    }

    pub(crate) const fn format(self) -> Format {
        match self {
            Version::V0_1_0 | Version::V0_2_0 => Format::Families,
            Version::V0_3_0 | Version::V0_3_1 | Version::V0_4_0 => Format::Tagged,
            Version::V1_0_0 | Version::V1_1_0 => Format::Plain,
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Serialize for Version {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// Exact spelling only: `1.0` is not `1.0.0`, and the empty string is for the caller to read as 0.1.0.
impl FromStr for Version {
    type Err = Error;

    fn from_str(text: &str) -> Result<Version, Error> {
        let known = Version::ALL.iter().find(|version| version.as_str() == text);
        known.copied().ok_or_else(|| {
            let known = Version::ALL.iter().map(|version| version.as_str());
            Error::new(Code::INCOMPATIBLE_VERSION, format!("unknown CNI version {}", quote(text)))
                .with_details(format!("known are {}", known.collect::<Vec<_>>().join(", ")))
        })
    }
}

/// A version string as a number of three parts, for ordering strings that may name a version of the future. Missing parts
/// are 0; the empty string is 0.1.0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Number([i64; 3]);

impl FromStr for Number {
    type Err = String;

    fn from_str(text: &str) -> Result<Number, String> {
        if text.is_empty() {
            return Ok(Version::V0_1_0.into());
        }
        let parts: Vec<&str> = text.split('.').collect();
        if parts.len() > 3 {
            return Err(format!("invalid version {}: too many parts", quote(text)));
        }
        let mut number = [0; 3];
        for ((slot, name), part) in number.iter_mut().zip(["major", "minor", "micro"]).zip(parts) {
            *slot = parse_part(part).map_err(|reason| {
                let part = quote(part);
                format!("failed to convert {name} version part {part}: strconv.Atoi: parsing {part}: {reason}")
            })?;
        }
        Ok(Number(number))
    }
}

/// The two ways in which Go's number parser fails, with its words.
fn parse_part(part: &str) -> Result<i64, &'static str> {
    let digits = part.strip_prefix(['+', '-']).unwrap_or(part);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err("invalid syntax");
    }
    part.parse().map_err(|_| "value out of range")
}

impl From<Version> for Number {
    fn from(version: Version) -> Number {
        match version {
            Version::V0_1_0 => Number([0, 1, 0]),
            Version::V0_2_0 => Number([0, 2, 0]),
            Version::V0_3_0 => Number([0, 3, 0]),
            Version::V0_3_1 => Number([0, 3, 1]),
            Version::V0_4_0 => Number([0, 4, 0]),
            Version::V1_0_0 => Number([1, 0, 0]),
            Version::V1_1_0 => Number([1, 1, 0]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_round_trip_and_order() {
        for version in Version::ALL {
            assert_eq!(version.as_str().parse::<Version>().unwrap(), *version);
            assert_eq!(version.as_str().parse::<Number>().unwrap(), Number::from(*version));
        }
        assert!(Version::ALL.is_sorted());
        assert!(Version::ALL.iter().map(|&version| Number::from(version)).is_sorted());
    }

    #[test]
    fn only_exact_spellings_are_versions() {
        for text in ["", "1.0", "v1.0.0", "1.0.0 ", "01.0.0", "9.1.0"] {
            assert_eq!(text.parse::<Version>().unwrap_err().code, Code::INCOMPATIBLE_VERSION, "{text}");
        }
    }

    #[test]
    fn numbers_default_their_tail() {
        assert_eq!("1".parse::<Number>().unwrap(), Version::V1_0_0.into());
        assert_eq!("".parse::<Number>().unwrap(), Version::V0_1_0.into());
        assert!("0.10".parse::<Number>().unwrap() > "0.4.0".parse::<Number>().unwrap());
    }

    #[test]
    fn bad_numbers_have_the_known_texts() {
        let text = |version: &str| version.parse::<Number>().unwrap_err();
        assert_eq!(text("1.2.3.4"), r#"invalid version "1.2.3.4": too many parts"#);
        assert_eq!(
            text("x.1"),
            r#"failed to convert major version part "x": strconv.Atoi: parsing "x": invalid syntax"#
        );
        assert_eq!(text("1."), r#"failed to convert minor version part "": strconv.Atoi: parsing "": invalid syntax"#);
        assert_eq!(
            text("1.1.99999999999999999999"),
            concat!(
                r#"failed to convert micro version part "99999999999999999999": "#,
                r#"strconv.Atoi: parsing "99999999999999999999": value out of range"#
            )
        );
    }
}
