//! How a container begins and ends.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use nix::libc;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::moment::Moment;
use crate::spec::Health;
use crate::written::written_as_text;

/// The part of a container that is about its life.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Life {
    /// When it was made.
    pub created: Moment,
    /// `--rm`: it goes when its first run ends.
    pub auto_remove: bool,
    /// `--restart`.
    pub restart: Restart,
    /// `--stop-signal`.
    pub stop_signal: Signal,
    /// `--stop-timeout`, in seconds: how long `stop` waits before it kills.
    pub stop_timeout: u32,
    /// `--label`.
    pub labels: BTreeMap<String, String>,
    /// `--cidfile`: where the id was written.
    pub cidfile: Option<PathBuf>,
    /// `--pidfile`: where the number of the first process is written, at each start.
    pub pidfile: Option<PathBuf>,
    /// `--health-cmd` and its like, or the image's: how it is asked whether it works.
    #[serde(default)]
    pub health: Option<Health>,
}

/// How long `stop` waits unless told otherwise, in seconds.
pub const STOP_TIMEOUT: u32 = 10;

impl Default for Life {
    fn default() -> Self {
        Self {
            created: Moment::now(),
            auto_remove: false,
            restart: Restart::default(),
            stop_signal: Signal(libc::SIGTERM),
            stop_timeout: STOP_TIMEOUT,
            labels: BTreeMap::new(),
            cidfile: None,
            pidfile: None,
            health: None,
        }
    }
}

/// `--restart`: whether a container that has ended is started again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Restart {
    /// Never.
    #[default]
    No,
    /// Whatever its status was.
    Always,
    /// As `always`; the difference shows after a reboot, when one that was stopped stays so.
    UnlessStopped,
    /// If its status was not 0; so many times at most, or without limit when it is 0.
    OnFailure(u32),
}

impl Restart {
    /// Whether a run that ended with `code` is followed by another, after `count` that were.
    #[must_use]
    pub fn applies(self, code: Option<u8>, count: u32) -> bool {
        match self {
            Self::No => false,
            Self::Always | Self::UnlessStopped => true,
            Self::OnFailure(most) => code != Some(0) && (most == 0 || count < most),
        }
    }

    /// The policy's name, and how often a failure is followed by another start.
    #[must_use]
    pub fn parts(self) -> (&'static str, u32) {
        match self {
            Self::No => ("no", 0),
            Self::Always => ("always", 0),
            Self::UnlessStopped => ("unless-stopped", 0),
            Self::OnFailure(most) => ("on-failure", most),
        }
    }

    /// The pause before the next start when the one before it lasted `pause` and the run `ran`: twice as long, unless the
    /// container has shown that it can live.
    #[must_use]
    pub fn back_off(pause: Option<Duration>, ran: Duration) -> Duration {
        match pause {
            Some(pause) if ran < Duration::from_secs(10) => (pause * 2).min(Duration::from_secs(60)),
            _ => Duration::from_millis(100),
        }
    }
}

impl FromStr for Restart {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = || {
            Error::new(format!(
                "unknown restart policy {text:?}: expected no, always, unless-stopped, on-failure or on-failure:NUMBER"
            ))
        };
        match text.split_once(':').map_or((text, None), |(name, most)| (name, Some(most))) {
            ("no", None) => Ok(Self::No),
            ("always", None) => Ok(Self::Always),
            ("unless-stopped", None) => Ok(Self::UnlessStopped),
            ("on-failure", None) => Ok(Self::OnFailure(0)),
            ("on-failure", Some(most)) => most.parse().map(Self::OnFailure).map_err(|_| wrong()),
            _ => Err(wrong()),
        }
    }
}

impl fmt::Display for Restart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.parts() {
            (name, 0) => f.write_str(name),
            (name, most) => write!(f, "{name}:{most}"),
        }
    }
}

/// A signal, by name with or without `SIG`, by number, or as `RTMIN+N` or `RTMAX-N`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signal(i32);

impl Signal {
    /// The one that cannot be caught.
    pub const KILL: Self = Self(libc::SIGKILL);

    /// Its number.
    #[must_use]
    pub const fn number(self) -> i32 {
        self.0
    }
}

impl FromStr for Signal {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let upper = text.to_ascii_uppercase();
        let name = upper.strip_prefix("SIG").unwrap_or(&upper);
        let number = name.parse().ok().or_else(|| real_time(name)).or_else(|| {
            let signal: nix::sys::signal::Signal = format!("SIG{name}").parse().ok()?;
            Some(signal as i32)
        });
        match number {
            Some(number) if (1..=libc::SIGRTMAX()).contains(&number) => Ok(Self(number)),
            _ => Err(Error::new(format!("unknown signal {text:?}"))),
        }
    }
}

fn real_time(name: &str) -> Option<i32> {
    let (base, rest, sign) = match (name.strip_prefix("RTMIN"), name.strip_prefix("RTMAX")) {
        (Some(rest), _) => (libc::SIGRTMIN(), rest.strip_prefix('+'), 1),
        (_, Some(rest)) => (libc::SIGRTMAX(), rest.strip_prefix('-'), -1),
        _ => return None,
    };
    let distance: i32 = match rest {
        Some(digits) => digits.parse().ok()?,
        None if name.len() == "RTMIN".len() => 0,
        None => return None,
    };
    let number = base.checked_add(distance.checked_mul(sign)?)?;
    (libc::SIGRTMIN()..=libc::SIGRTMAX()).contains(&number).then_some(number)
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match nix::sys::signal::Signal::try_from(self.0) {
            Ok(signal) => f.write_str(signal.as_str()),
            Err(_) => write!(f, "RTMIN+{}", self.0 - libc::SIGRTMIN()),
        }
    }
}

written_as_text!(Restart, Signal);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_are_known_by_name_and_number() {
        for text in ["15", "TERM", "SIGTERM", "sigterm"] {
            assert_eq!(text.parse::<Signal>().unwrap().number(), libc::SIGTERM, "{text}");
        }
        for text in ["SIGRTMIN+3", "RTMIN", "SIGRTMAX-1", "SIGHUP"] {
            let signal: Signal = text.parse().unwrap();
            assert_eq!(signal.to_string().parse::<Signal>().unwrap(), signal, "{text}");
        }
        for text in ["", "0", "-1", "65", "NONE", "RTMIN+99", "RTMIN-1", "RTMAX+1", "SIG"] {
            assert!(text.parse::<Signal>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn policies_read_back_as_printed() {
        for text in ["no", "always", "unless-stopped", "on-failure", "on-failure:3"] {
            assert_eq!(text.parse::<Restart>().unwrap().to_string(), text);
        }
        for text in ["", "yes", "on-failure:", "on-failure:-1", "always:3", "no:0"] {
            assert!(text.parse::<Restart>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_failure_is_followed_by_so_many_starts_and_no_more() {
        assert!(Restart::OnFailure(2).applies(Some(1), 1) && !Restart::OnFailure(2).applies(Some(1), 2));
        assert!(!Restart::OnFailure(0).applies(Some(0), 0) && Restart::OnFailure(0).applies(None, 1000));
        assert!(Restart::Always.applies(Some(0), 1000) && !Restart::No.applies(Some(1), 0));
    }

    #[test]
    fn the_pause_doubles_until_a_run_has_lasted() {
        let (short, long) = (Duration::from_millis(1), Duration::from_secs(11));
        let first = Restart::back_off(None, short);
        assert_eq!(first, Duration::from_millis(100));
        assert_eq!(Restart::back_off(Some(first), short), Duration::from_millis(200));
        assert_eq!(Restart::back_off(Some(Duration::from_secs(59)), short), Duration::from_secs(60));
        assert_eq!(Restart::back_off(Some(Duration::from_secs(60)), long), Duration::from_millis(100));
    }
}
