//! Names of containers. Both kinds end up in paths and in the plugins' environment, so they are
//! checked once, here, and never again.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::str::FromStr;

use crate::error::{Context, Error, Result};
use crate::written::written_as_text;

/// A container's id or its name: `[a-zA-Z0-9][a-zA-Z0-9_.-]*`, at most 128 bytes. The same rule as the
/// CNI specification has for container ids, so that either can be handed to a plugin.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

const LONGEST: usize = 128;

impl Name {
    /// A new id: 256 random bits in hexadecimal.
    pub fn random() -> Result<Self> {
        let mut bytes = [0_u8; 32];
        File::open("/dev/urandom").and_then(|mut f| f.read_exact(&mut bytes)).context(|| "read /dev/urandom")?;
        Ok(Self(bytes.iter().map(|b| format!("{b:02x}")).collect()))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first twelve characters, which serve as host name and in messages.
    #[must_use]
    pub fn short(&self) -> &str {
        self.0.get(..12).unwrap_or(&self.0)
    }
}

impl FromStr for Name {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let mut bytes = text.bytes();
        let head = bytes.next().is_some_and(|b| b.is_ascii_alphanumeric());
        if head && text.len() <= LONGEST && bytes.all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b)) {
            return Ok(Self(text.to_owned()));
        }
        Err(Error::new(format!(
            "invalid name {text:?}: it must begin with a letter or digit, continue with letters, digits, '_', '.' or '-', \
             and have at most {LONGEST} characters"
        )))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

written_as_text!(Name);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_leave_their_directory_are_refused() {
        let long = "a".repeat(129);
        for bad in ["", ".", "..", "a/b", "../x", "-a", "a\n", "a b", "a;IP=1", "é", &long] {
            assert!(bad.parse::<Name>().is_err(), "{bad:?} was taken");
        }
        for good in ["a", "A.b_c-9", &"a".repeat(128)] {
            assert!(good.parse::<Name>().is_ok(), "{good:?} was refused");
        }
    }

    #[test]
    fn random_ids_are_valid_and_differ() {
        let (a, b) = (Name::random().unwrap(), Name::random().unwrap());
        assert_ne!(a, b);
        assert_eq!(a.as_str().len(), 64);
        assert_eq!(a.as_str().parse::<Name>().unwrap(), a);
        assert_eq!(a.short().len(), 12);
    }
}
