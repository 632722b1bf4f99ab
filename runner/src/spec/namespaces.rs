//! Which namespaces of the kernel a container has to itself. The network's is in [`super::NetMode`].

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::binfmt::Emulator;
use crate::error::{Error, Result};
use crate::id::Name;
use crate::written::written_as_text;

use super::Users;

/// The namespaces of a container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Namespaces {
    /// `--pid`: which processes it sees.
    pub pid: NamespaceMode,
    /// `--ipc`: System V objects, message queues and `/dev/shm`.
    pub ipc: NamespaceMode,
    /// `--uts`: host and domain name.
    pub uts: NamespaceMode,
    /// `--cgroupns`: whether its own group looks like the root of all.
    pub cgroup: NamespaceMode,
    /// `--userns`: whose ids it has; the host's without.
    pub user: Option<Users>,
    /// `--platform`: what runs programs for another processor.
    pub emulator: Option<Emulator>,
    /// `--time-offset`: clocks that run ahead of the host's, or behind.
    pub time: Option<TimeOffsets>,
}

/// Where one namespace comes from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum NamespaceMode {
    /// The container's own.
    #[default]
    Private,
    /// The host's.
    Host,
    /// That of another container.
    Container(Name),
    /// A namespace file.
    Path(PathBuf),
}

impl FromStr for NamespaceMode {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text.split_once(':') {
            None if ["private", "shareable", ""].contains(&text) => Ok(Self::Private),
            None if text == "host" => Ok(Self::Host),
            Some(("container", target)) => Ok(Self::Container(target.parse()?)),
            Some(("ns", path)) if path.starts_with('/') => Ok(Self::Path(path.into())),
            _ => Err(Error::new(format!(
                "unknown namespace mode {text:?}: expected private, host, container:NAME or ns:/PATH"
            ))),
        }
    }
}

impl fmt::Display for NamespaceMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Private => f.write_str("private"),
            Self::Host => f.write_str("host"),
            Self::Container(name) => write!(f, "container:{name}"),
            Self::Path(path) => write!(f, "ns:{}", path.display()),
        }
    }
}

/// What the container's clocks show more than the host's, in seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimeOffsets {
    /// The time since boot, which `/proc/uptime` tells.
    pub boottime: i64,
    /// The clock that programs measure durations with.
    pub monotonic: i64,
}

impl TimeOffsets {
    /// Takes one `CLOCK=SECONDS` of the command line in.
    ///
    /// # Errors
    ///
    /// An unknown clock, or a number that is none.
    pub fn set(&mut self, text: &str) -> Result<()> {
        let invalid =
            || Error::new(format!("invalid time offset {text:?}: expected boottime=SECONDS or monotonic=SECONDS"));
        let (clock, seconds) = text.split_once('=').ok_or_else(invalid)?;
        let seconds = seconds.parse().map_err(|_| invalid())?;
        match clock {
            "boottime" => self.boottime = seconds,
            "monotonic" => self.monotonic = seconds,
            _ => return Err(invalid()),
        }
        Ok(())
    }

    /// The text for `/proc/PID/timens_offsets`.
    #[must_use]
    pub fn lines(&self) -> String {
        format!("monotonic {} 0\nboottime {} 0\n", self.monotonic, self.boottime)
    }
}

written_as_text!(NamespaceMode);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_and_offsets_are_read_as_they_are_written() {
        for text in ["private", "host", "container:web", "ns:/run/ipcns/x"] {
            assert_eq!(text.parse::<NamespaceMode>().unwrap().to_string(), text);
        }
        for bad in ["Host", "container:", "container:a/b", "ns:relative", "ns:", "none:x", "0"] {
            assert!(bad.parse::<NamespaceMode>().is_err(), "{bad:?}");
        }
        let mut offsets = TimeOffsets::default();
        offsets.set("boottime=100000").unwrap();
        offsets.set("monotonic=-5").unwrap();
        assert_eq!(offsets.lines(), "monotonic -5 0\nboottime 100000 0\n");
        for bad in ["boottime", "realtime=1", "boottime=x", "boottime=1.5", ""] {
            assert!(offsets.set(bad).is_err(), "{bad:?}");
        }
    }
}
