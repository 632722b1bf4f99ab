//! Who the command runs as: what was asked for, before the container's own files say what it means.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result};
use crate::written::written_as_text;

/// A user or a group: a number, or a name that the container's files know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Who {
    /// A number, which needs no entry anywhere.
    Id(u32),
    /// A name of the container's `/etc/passwd` or `/etc/group`.
    Name(String),
}

/// The kernel takes the largest number for "no change".
const NOBODY_AT_ALL: u32 = u32::MAX;

impl FromStr for Who {
    type Err = Error;

    /// Either decimal digits and nothing else, or a name that begins with none: what looks like a number but is
    /// none (`1x`, `0x0`, `-1`, `4294967296`) has made others run as somebody else, and is refused.
    fn from_str(text: &str) -> Result<Self> {
        let invalid = |why: &str| Error::new(format!("invalid user or group {text:?}: {why}"));
        if text.bytes().next().is_none_or(|b| b.is_ascii_digit()) {
            let number = if text.bytes().all(|b| b.is_ascii_digit()) { text.parse().ok() } else { None };
            let number = number.filter(|id| *id != NOBODY_AT_ALL);
            return number.map(Self::Id).ok_or_else(|| invalid("expected a name, or a number from 0 to 4294967294"));
        }
        let fits = |b: u8| b.is_ascii_alphanumeric() || b"_.-$@".contains(&b) || !b.is_ascii();
        match text.bytes().all(fits) && !text.starts_with('-') && text.len() <= 256 {
            true => Ok(Self::Name(text.to_owned())),
            false => Err(invalid("a name has letters, digits, '_', '.', '-' and does not begin with '-'")),
        }
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => write!(f, "{id}"),
            Self::Name(name) => f.write_str(name),
        }
    }
}

/// `--user USER[:GROUP]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The user.
    pub user: Who,
    /// The primary group; without it, what `/etc/passwd` says.
    pub group: Option<Who>,
}

impl Default for User {
    /// Root, with root's groups.
    fn default() -> Self {
        Self { user: Who::Id(0), group: None }
    }
}

impl FromStr for User {
    type Err = Error;

    /// The empty text, which images use, is root.
    fn from_str(text: &str) -> Result<Self> {
        match text.split_once(':') {
            None if text.is_empty() => Ok(Self::default()),
            None => Ok(Self { user: text.parse()?, group: None }),
            Some((user, group)) => Ok(Self { user: user.parse()?, group: Some(group.parse()?) }),
        }
    }
}

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.group {
            None => write!(f, "{}", self.user),
            Some(group) => write!(f, "{}:{group}", self.user),
        }
    }
}

written_as_text!(Who, User);

#[cfg(test)]
mod tests {
    use super::*;

    /// Requirement: P-31.
    #[test]
    fn numbers_are_decimal_and_whole_and_nothing_is_guessed() {
        for good in ["0", "101", "4294967294", "www-data", "101:101", "nobody:4", "0:adm", "user.name", "_apt"] {
            assert_eq!(good.parse::<User>().unwrap().to_string(), good);
        }
        assert_eq!("".parse::<User>().unwrap(), User::default());
        let bad = [
            "1x",
            ":",
            "1:",
            ":1",
            "4294967295",
            "4294967296",
            "-1",
            "+1",
            "0x0",
            " 1",
            "1 ",
            "1\n",
            "a b",
            "-a",
            "a:b:c",
            "99999999999999999999999",
            "1:-1",
            "root:",
            "a/b",
            "a\0",
        ];
        for bad in bad {
            assert!(bad.parse::<User>().is_err(), "{bad:?}");
        }
    }
}
