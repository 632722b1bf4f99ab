//! What a container may use of the machine.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// What the container's cgroups allow. Nothing is limited by default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
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
}
