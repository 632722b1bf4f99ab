//! Points in time as people write them.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use crate::error::{Error, Result};

/// A time: RFC 3339, the same without its end (of UTC then), seconds since 1970, or so long ago, as in `1h30m`.
///
/// # Errors
///
/// When `text` is none of these.
pub(crate) fn parse(text: &str) -> Result<Timestamp> {
    parse_at(text, Timestamp::now()).ok_or_else(|| {
        Error::new(format!(
            "invalid time {text:?}: expected for example 2026-11-22T10:00:00Z, 2026-11-22, 1795341600 or 10m"
        ))
    })
}

fn parse_at(text: &str, now: Timestamp) -> Option<Timestamp> {
    if let Some(seconds) = seconds(text) {
        return seconds;
    }
    if let Ok(time) = text.parse() {
        return Some(time);
    }
    if let Ok(time) = text.parse::<DateTime>() {
        return time.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp());
    }
    let ago = Some(text).filter(|text| !text.is_empty()).and_then(ago)?;
    now.checked_sub(ago).ok()
}

/// `SECONDS[.FRACTION]`, if it looks like that.
fn seconds(text: &str) -> Option<Option<Timestamp>> {
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(part) {
        return None;
    }
    let nanoseconds = format!("{part:0<9}");
    let time = || Timestamp::new(whole.parse().ok()?, nanoseconds.get(..9)?.parse().ok()?).ok();
    Some(time())
}

/// Numbers with units, as `1h30m` or `1.5h`.
fn ago(mut text: &str) -> Option<SignedDuration> {
    let mut sum = SignedDuration::ZERO;
    while !text.is_empty() {
        let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, rest) = text.split_at_checked(digits)?;
        let unit = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let (unit, rest) = rest.split_at_checked(unit)?;
        let unit = match unit {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "µs" => 1e-6,
            "ns" => 1e-9,
            _ => return None,
        };
        let number: f64 = number.parse().ok()?;
        sum = sum.checked_add(SignedDuration::try_from_secs_f64(number * unit).ok()?)?;
        text = rest;
    }
    Some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Requirement: F-logs.
    #[test]
    fn times_are_understood_in_every_spelling() {
        let now: Timestamp = "2026-11-22T10:00:00Z".parse().unwrap();
        for (text, expected) in [
            ("2026-11-22T09:00:00Z", "2026-11-22T09:00:00Z"),
            ("2026-11-22T09:00:00.25+01:00", "2026-11-22T08:00:00.25Z"),
            ("2026-11-22T09:30:00", "2026-11-22T09:30:00Z"),
            ("2026-11-22T09:30", "2026-11-22T09:30:00Z"),
            ("2026-11-22", "2026-11-22T00:00:00Z"),
            ("1795341600", "2026-11-22T10:00:00Z"),
            ("1795341600.000000001", "2026-11-22T10:00:00.000000001Z"),
            ("10m", "2026-11-22T09:50:00Z"),
            ("1h30m", "2026-11-22T08:30:00Z"),
            ("1.5h", "2026-11-22T08:30:00Z"),
            ("250ms", "2026-11-22T09:59:59.75Z"),
        ] {
            assert_eq!(parse_at(text, now).map(|t| t.to_string()).as_deref(), Some(expected), "{text}");
        }
        for bad in ["", "yesterday", "-1h", "1d2", "h", "1.2.3h", "2026-13-01"] {
            assert!(parse_at(bad, now).is_none(), "{bad}");
        }
    }
}
