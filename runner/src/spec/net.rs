//! How a container is connected, and what it is called.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::id::Name;

/// The network part of a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Net {
    /// `--net`: which network it gets.
    pub mode: NetMode,
    /// `--hostname`; without it the id's first twelve digits, or what the mode says.
    pub hostname: Option<Hostname>,
}

/// `--net`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum NetMode {
    /// A namespace of its own, wired by a list of CNI plugins.
    Bridge,
    /// The host's stack.
    Host,
    /// A namespace of its own in which only `lo` is up.
    None,
    /// The namespace of another container, by id, unique prefix of an id, or name.
    Container(Name),
}

impl FromStr for NetMode {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "bridge" | "default" => Ok(Self::Bridge),
            "host" => Ok(Self::Host),
            "none" => Ok(Self::None),
            _ => match text.strip_prefix("container:") {
                Some(target) => Ok(Self::Container(target.parse()?)),
                None => Err(Error::new(format!(
                    "unknown network mode {text:?}: expected bridge, host, none or container:NAME"
                ))),
            },
        }
    }
}

impl NetMode {
    /// Whether the container gets a network namespace of its own.
    #[must_use]
    pub fn is_private(&self) -> bool {
        matches!(self, Self::Bridge | Self::None)
    }
}

/// A host name that the kernel takes: 1 to 64 bytes of letters, digits, `-`, `_` and `.`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Hostname(String);

impl Hostname {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Hostname {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let fits = (1..=64).contains(&text.len()) && !text.starts_with(['-', '.']);
        if fits && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)) {
            return Ok(Self(text.to_owned()));
        }
        Err(Error::new(format!(
            "invalid host name {text:?}: it takes 1 to 64 letters, digits, '-', '_' and '.', and begins with a letter or digit"
        )))
    }
}

impl fmt::Display for NetMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bridge => f.write_str("bridge"),
            Self::Host => f.write_str("host"),
            Self::None => f.write_str("none"),
            Self::Container(target) => write!(f, "container:{target}"),
        }
    }
}

impl TryFrom<String> for NetMode {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<NetMode> for String {
    fn from(mode: NetMode) -> Self {
        mode.to_string()
    }
}

impl TryFrom<String> for Hostname {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<Hostname> for String {
    fn from(name: Hostname) -> Self {
        name.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_names_longer_than_the_kernel_takes_are_refused() {
        assert!("a".repeat(64).parse::<Hostname>().is_ok());
        for bad in ["", &"a".repeat(65), "-a", ".a", "a b", "a/b"] {
            assert!(bad.parse::<Hostname>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn network_modes_read_back_as_printed() {
        for text in ["bridge", "host", "none", "container:web"] {
            assert_eq!(text.parse::<NetMode>().unwrap().to_string(), text);
        }
        assert!("container:".parse::<NetMode>().is_err());
        assert!("container:../x".parse::<NetMode>().is_err());
    }
}
