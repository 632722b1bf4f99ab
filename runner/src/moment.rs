//! Points in time, as they are written down and shown: RFC 3339 with nanoseconds, in UTC.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jiff::Timestamp;

use crate::error::{Error, Result};
use crate::written::written_as_text;

/// A point in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(Timestamp);

impl Moment {
    /// This very moment.
    #[must_use]
    pub fn now() -> Self {
        Self(Timestamp::now())
    }

    /// How long ago it was; nothing if it is yet to come.
    #[must_use]
    pub fn elapsed(self) -> Duration {
        Duration::try_from(Timestamp::now().duration_since(self.0)).unwrap_or_default()
    }

    /// Nanoseconds since 1970.
    #[must_use]
    pub fn nanoseconds(self) -> i128 {
        self.0.as_nanosecond()
    }

    /// So many nanoseconds after 1970.
    #[must_use]
    pub fn from_nanoseconds(nanoseconds: i128) -> Option<Self> {
        Timestamp::from_nanosecond(nanoseconds).ok().map(Self)
    }

    /// This long before now.
    #[must_use]
    pub fn ago(time: Duration) -> Self {
        Self(Timestamp::now().checked_sub(time).unwrap_or(Timestamp::UNIX_EPOCH))
    }

    /// So many seconds after 1970, with a fraction.
    pub fn from_seconds(seconds: f64) -> Result<Self> {
        let time =
            Duration::try_from_secs_f64(seconds).ok().and_then(|time| Timestamp::UNIX_EPOCH.checked_add(time).ok());
        time.map(Self).ok_or_else(|| Error::new(format!("{seconds} is no time in seconds since 1970")))
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Moment {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        text.parse().map(Self).map_err(|error| Error::new(format!("{text:?} is no time: {error}")))
    }
}

written_as_text!(Moment);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_reads_back_to_the_nanosecond() {
        let now = Moment::now();
        assert_eq!(now.to_string().parse::<Moment>().unwrap(), now);
        assert!(now.to_string().ends_with('Z'));
        assert_eq!(Moment::from_seconds(1.5).unwrap().to_string(), "1970-01-01T00:00:01.5Z");
        assert!(Moment::ago(Duration::from_secs(60)).elapsed() >= Duration::from_secs(60));
    }
}
