//! Numbers for people.

/// Bytes in powers of 1024, with four digits at most: `1.5MiB`.
pub(crate) fn bytes(count: u64) -> String {
    scaled(count, 1024.0, &["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"])
}

/// Bytes in powers of 1000, as for disks and networks: `1.57MB`.
pub(crate) fn decimal_bytes(count: u64) -> String {
    scaled(count, 1000.0, &["B", "kB", "MB", "GB", "TB", "PB", "EB"])
}

/// A share of one, in percent: `12.50%`.
pub(crate) fn percent(share: f64) -> String {
    format!("{:.2}%", share * 100.0)
}

fn scaled(count: u64, base: f64, units: &[&str]) -> String {
    #[expect(clippy::cast_precision_loss, reason = "four digits are shown")]
    let mut value = count as f64;
    let mut unit = 0;
    while value >= base && unit + 1 < units.len() {
        value /= base;
        unit += 1;
    }
    // As many digits as are meant, and no zeros at the end.
    let digits = if value >= 100.0 {
        1
    } else if value >= 10.0 {
        2
    } else {
        3
    };
    let text = format!("{value:.digits$}");
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
        assert_eq!(percent(0.125), "12.50%");
    }
}
