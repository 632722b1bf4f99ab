//! The whole container as a value, checked before anything is touched.

use std::ffi::CString;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::error::{Error, Result};
use crate::id::Name;

/// Where xnet keeps what it knows, and where it exposes network namespaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dirs {
    /// A directory per container, on a tmpfs as a rule: `/run/xnet`.
    pub state: PathBuf,
    /// Where network namespaces are pinned, so that `ip netns exec` finds them: `/run/netns`.
    pub netns: PathBuf,
}

/// One container, as asked for.
#[derive(Debug, Clone)]
pub struct Spec {
    /// 64 random hexadecimal digits.
    pub id: Name,
    /// `--name`.
    pub name: Option<Name>,
    /// The command and its arguments; never empty.
    pub argv: Vec<CString>,
    /// `KEY=VALUE`, complete: defaults and `-e`.
    pub env: Vec<CString>,
    /// Where the command starts, absolute.
    pub workdir: PathBuf,
    /// `--hostname`; without it the id's first twelve digits, or what the network mode says.
    pub hostname: Option<Hostname>,
    /// What the container sees as `/`.
    pub rootfs: Rootfs,
    /// Which network it gets.
    pub net: NetMode,
    /// What its cgroups allow.
    pub limits: Limits,
    /// `--cgroup-parent`: the group that the container's group is made in.
    pub cgroup_parent: Name,
    /// All capabilities, nothing masked.
    pub privileged: bool,
    /// A reaping pid 1 in front of the command.
    pub init: bool,
}

/// The lower layer of the root file system. It is never written to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rootfs {
    /// The host's own root, with only the system directories showing.
    Host,
    /// A directory, as it is.
    Dir(PathBuf),
}

/// `--net`.
#[derive(Debug, Clone, PartialEq, Eq)]
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
#[derive(Debug, Clone, PartialEq, Eq)]
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

/// What the container's cgroups allow. Nothing is limited by default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of memory.
    pub memory: Option<u64>,
    /// Thousandths of a CPU.
    pub millicpus: Option<u64>,
    /// Processes and threads.
    pub pids: Option<u64>,
}

/// A number of bytes with an optional suffix b, k, m, g or t (powers of 1024).
pub fn parse_bytes(text: &str) -> Result<u64> {
    let invalid = || Error::new(format!("invalid size {text:?}: expected a number with an optional b, k, m, g or t"));
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match text[digits.len()..].to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        _ => return Err(invalid()),
    };
    let number: u64 = digits.parse().map_err(|_| invalid())?;
    let bytes = number.checked_mul(1 << shift).ok_or_else(invalid)?;
    // Less than this, and the container's own set-up would be killed.
    if bytes < SMALLEST_MEMORY {
        return Err(Error::new(format!("memory limit {text:?} is too small: the least is 6m")));
    }
    Ok(bytes)
}

const SMALLEST_MEMORY: u64 = 6 << 20;

/// A number of CPUs such as `0.5` or `2`, as thousandths.
pub fn parse_cpus(text: &str) -> Result<u64> {
    let invalid = || Error::new(format!("invalid number of CPUs {text:?}: expected for example 0.5 or 2"));
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    if part.len() > 3 || !part.bytes().all(|b| b.is_ascii_digit()) {
        return Err(invalid());
    }
    let whole: u64 = whole.parse().map_err(|_| invalid())?;
    let part: u64 = format!("{part:0<3}").parse().map_err(|_| invalid())?;
    match whole.checked_mul(1000).and_then(|n| n.checked_add(part)) {
        // The kernel's least quota is 1 ms in a period of 100 ms.
        Some(millis) if (10..=1_000_000).contains(&millis) => Ok(millis),
        _ => Err(invalid()),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        assert_eq!(parse_bytes("32m"), Ok(32 << 20));
        assert_eq!(parse_bytes("1G"), Ok(1 << 30));
        assert_eq!(parse_bytes("8388608"), Ok(8 << 20));
        for bad in ["", "m", "-1", "1x", "1.5g", "1k", "99999999999t"] {
            assert!(parse_bytes(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn cpus() {
        assert_eq!(parse_cpus("0.5"), Ok(500));
        assert_eq!(parse_cpus("2"), Ok(2000));
        assert_eq!(parse_cpus("1.25"), Ok(1250));
        for bad in ["", ".", "0", "0.001", "-1", "1.2345", "x", "1.-5", "99999999999999999999"] {
            assert!(parse_cpus(bad).is_err(), "{bad:?}");
        }
    }

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
