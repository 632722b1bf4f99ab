//! `--ulimit`: limits of a process, kept by the kernel and inherited by its children.

use std::fmt;
use std::str::FromStr;

use nix::sys::resource::Resource;

use crate::error::{Error, Result};
use crate::written::written_as_text;

/// What is limited, by the names of `ulimit` options elsewhere.
const NAMES: [(&str, Resource); 16] = [
    ("as", Resource::RLIMIT_AS),
    ("core", Resource::RLIMIT_CORE),
    ("cpu", Resource::RLIMIT_CPU),
    ("data", Resource::RLIMIT_DATA),
    ("fsize", Resource::RLIMIT_FSIZE),
    ("locks", Resource::RLIMIT_LOCKS),
    ("memlock", Resource::RLIMIT_MEMLOCK),
    ("msgqueue", Resource::RLIMIT_MSGQUEUE),
    ("nice", Resource::RLIMIT_NICE),
    ("nofile", Resource::RLIMIT_NOFILE),
    ("nproc", Resource::RLIMIT_NPROC),
    ("rss", Resource::RLIMIT_RSS),
    ("rtprio", Resource::RLIMIT_RTPRIO),
    ("rttime", Resource::RLIMIT_RTTIME),
    ("sigpending", Resource::RLIMIT_SIGPENDING),
    ("stack", Resource::RLIMIT_STACK),
];

/// No limit, as the kernel writes it.
pub const UNLIMITED: u64 = u64::MAX;

/// One limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rlimit {
    resource: Resource,
    /// What counts.
    pub soft: u64,
    /// How far the container may raise `soft`.
    pub hard: u64,
}

impl Rlimit {
    /// The limit on `name`, with or without the kernel's prefix `RLIMIT_`.
    ///
    /// # Errors
    ///
    /// An unknown name, or a soft limit beyond the hard one.
    pub fn new(name: &str, soft: u64, hard: u64) -> Result<Self> {
        let lower = name.to_ascii_lowercase();
        let known = lower.strip_prefix("rlimit_").unwrap_or(&lower);
        let Some((_, resource)) = NAMES.iter().find(|(name, _)| *name == known) else {
            let names: Vec<_> = NAMES.iter().map(|(name, _)| *name).collect();
            return Err(Error::new(format!("unknown limit {name:?}: expected one of {}", names.join(", "))));
        };
        if soft > hard {
            return Err(Error::new(format!("limit {name}: the soft limit is larger than the hard one")));
        }
        Ok(Self { resource: *resource, soft, hard })
    }

    /// The kernel's name for what is limited.
    #[must_use]
    pub fn resource(&self) -> Resource {
        self.resource
    }

    /// The name that the option has for it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        NAMES.iter().find(|(_, resource)| *resource == self.resource).map_or("", |(name, _)| name)
    }
}

impl FromStr for Rlimit {
    type Err = Error;

    /// `NAME=SOFT[:HARD]`, where `-1` and `unlimited` are no limit.
    fn from_str(text: &str) -> Result<Self> {
        let invalid =
            || Error::new(format!("invalid limit {text:?}: expected NAME=SOFT[:HARD], as in nofile=1024:2048"));
        let number = |part: &str| match part {
            "-1" | "unlimited" => Ok(UNLIMITED),
            digits if digits.bytes().all(|b| b.is_ascii_digit()) => digits.parse().map_err(|_| invalid()),
            _ => Err(invalid()),
        };
        let (name, values) = text.split_once('=').ok_or_else(invalid)?;
        let (soft, hard) = values.split_once(':').unwrap_or((values, values));
        Self::new(name, number(soft)?, number(hard)?)
    }
}

impl fmt::Display for Rlimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = |limit: u64| if limit == UNLIMITED { "unlimited".to_owned() } else { limit.to_string() };
        write!(f, "{}={}:{}", self.name(), value(self.soft), value(self.hard))
    }
}

written_as_text!(Rlimit);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_as_others_write_them() {
        for (text, meant) in [
            ("nofile=1024", "nofile=1024:1024"),
            ("nofile=1024:2048", "nofile=1024:2048"),
            ("core=-1", "core=unlimited:unlimited"),
            ("core=0:unlimited", "core=0:unlimited"),
            ("RLIMIT_NPROC=5", "nproc=5:5"),
        ] {
            assert_eq!(text.parse::<Rlimit>().unwrap().to_string(), meant);
        }
        for bad in
            ["", "nofile", "nofile=", "nofile=x", "nofile=2:1", "nofile=-2", "nosuch=1", "nofile=1:", "nofile=+1"]
        {
            assert!(bad.parse::<Rlimit>().is_err(), "{bad:?}");
        }
    }
}
