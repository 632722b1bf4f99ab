//! Numbers and times for people.

use std::time::Duration;

const DECIMAL: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];

/// Bytes in powers of 1024, with four digits at most, as for memory: `1.5MiB`.
pub(crate) fn bytes(count: u64) -> String {
    scaled(count, 1024.0, &["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"], 4)
}

/// Bytes in powers of 1000, with four digits at most, as for traffic: `1.573MB`.
pub(crate) fn decimal_bytes(count: u64) -> String {
    scaled(count, 1000.0, &DECIMAL, 4)
}

/// Bytes in powers of 1000, with three digits at most, as for what takes room on a disk: `4.27MB`.
pub(crate) fn size(count: u64) -> String {
    scaled(count, 1000.0, &DECIMAL, 3)
}

/// A share of one, in percent: `12.50%`.
pub(crate) fn percent(share: f64) -> String {
    format!("{:.2}%", share * 100.0)
}

/// How long ago something was, roughly: `3 hours ago`.
pub(crate) fn ago(elapsed: Duration) -> String {
    let seconds = elapsed.as_secs();
    let days = seconds / 86_400;
    let text = match seconds {
        0 => "Less than a second".to_owned(),
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

fn scaled(count: u64, base: f64, units: &[&str], digits: usize) -> String {
    #[expect(clippy::cast_precision_loss, reason = "few digits are shown")]
    let mut value = count as f64;
    let mut unit = 0;
    while value >= base && unit + 1 < units.len() {
        value /= base;
        unit += 1;
    }
    // As many digits as are meant, and no zeros at the end.
    let whole = if value >= 100.0 {
        3
    } else if value >= 10.0 {
        2
    } else {
        1
    };
    let text = format!("{value:.*}", digits - whole);
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text}{}", units[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        assert_eq!([0, 1023, 1536, 33_554_432].map(bytes), ["0B", "1023B", "1.5KiB", "32MiB"]);
        assert_eq!([999, 1_570_000, 656].map(decimal_bytes), ["999B", "1.57MB", "656B"]);
        let sizes = [0, 999, 1000, 4_269_678, 12_345, 123_456, 1_050_000, 123_456_789].map(size);
        assert_eq!(sizes, ["0B", "999B", "1kB", "4.27MB", "12.3kB", "123kB", "1.05MB", "123MB"]);
        assert_eq!(size(u64::MAX), "18.4EB");
        assert_eq!(percent(0.125), "12.50%");
    }

    #[test]
    fn times_are_told_roughly() {
        let hours = |hours: u64| ago(Duration::from_secs(hours * 3600));
        assert_eq!(ago(Duration::from_millis(30_900)), "30 seconds ago");
        assert_eq!([0, 1, 3].map(hours), ["Less than a second ago", "About an hour ago", "3 hours ago"]);
        assert_eq!([11 * 24, 15 * 24, 61 * 24].map(hours), ["11 days ago", "2 weeks ago", "2 months ago"]);
        assert_eq!(hours(56 * 365 * 24), "56 years ago");
    }
}
