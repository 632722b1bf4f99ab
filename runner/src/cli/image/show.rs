//! Sizes and times for people.

use jiff::Timestamp;

use crate::error::{Error, Result};

/// A number of bytes, with an optional k, m, g or t (powers of 1024).
pub(super) fn parse_size(text: &str) -> Result<u64> {
    let invalid = || Error::new(format!("invalid size {text:?}: expected a number with an optional k, m, g or t"));
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match text.get(digits.len()..).unwrap_or_default().to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        _ => return Err(invalid()),
    };
    digits.parse::<u64>().ok().and_then(|number| number.checked_mul(1 << shift)).ok_or_else(invalid)
}

/// Three digits and a unit, in powers of 1000: `4.27MB`.
pub(super) fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["B", "kB", "MB", "GB", "TB", "PB"];
    let (mut unit, mut scale) = (0, 1_u64);
    while unit + 1 < UNITS.len() && bytes / scale >= 1000 {
        (unit, scale) = (unit + 1, scale * 1000);
    }
    let (whole, rest) = (bytes / scale, bytes % scale);
    let digits = 3_usize.saturating_sub(whole.to_string().len());
    let part = u128::from(rest) * 10_u128.pow(u32::try_from(digits).unwrap_or(0)) / u128::from(scale);
    let part = if digits == 0 { String::new() } else { format!("{part:0digits$}") };
    let number = format!("{whole}.{part}");
    let number =
        if part.is_empty() { whole.to_string() } else { number.trim_end_matches('0').trim_end_matches('.').to_owned() };
    format!("{number}{}", UNITS.get(unit).unwrap_or(&"B"))
}

/// How long ago an RFC 3339 time was: `3 hours ago`. Empty if it is not known.
pub(in crate::cli) fn ago(time: Option<&str>, now: Timestamp) -> String {
    let Some(then) = time.and_then(|time| time.parse::<Timestamp>().ok()) else { return String::new() };
    let seconds = now.as_second() - then.as_second();
    let days = seconds / 86_400;
    let text = match seconds {
        ..1 => "Less than a second".to_owned(),
        1 => "1 second".to_owned(),
        2..60 => format!("{seconds} seconds"),
        60..120 => "About a minute".to_owned(),
        120..3600 => format!("{} minutes", seconds / 60),
        3600..7200 => "About an hour".to_owned(),
        7200..172_800 => format!("{} hours", seconds / 3600),
        _ if days < 14 => format!("{days} days"),
        _ if days < 60 => format!("{} weeks", days / 7),
        _ if days < 730 => format!("{} months", days / 30),
        _ => format!("{} years", days / 365),
    };
    format!("{text} ago")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_three_digits() {
        let all: [(u64, &str); 8] = [
            (0, "0B"),
            (999, "999B"),
            (1000, "1kB"),
            (4_269_678, "4.26MB"),
            (12_345, "12.3kB"),
            (123_456, "123kB"),
            (1_050_000, "1.05MB"),
            (u64::MAX, "18446PB"),
        ];
        for (bytes, text) in all {
            assert_eq!(size(bytes), text);
        }
        assert_eq!(parse_size("64g"), Ok(64 << 30));
        assert!(parse_size("x").is_err() && parse_size("-1").is_err() && parse_size("99999999t").is_err());
    }

    #[test]
    fn times_are_told_roughly() {
        let now: Timestamp = "2026-01-10T00:00:00Z".parse().unwrap();
        assert_eq!(ago(Some("2026-01-09T23:59:30Z"), now), "30 seconds ago");
        assert_eq!(ago(Some("2026-01-09T21:00:00+00:00"), now), "3 hours ago");
        assert_eq!(ago(Some("2025-12-30T00:00:00.5Z"), now), "11 days ago");
        assert_eq!(ago(Some("1970-01-01T00:00:00Z"), now), "56 years ago");
        assert_eq!(ago(Some("nonsense"), now), "");
    }
}
