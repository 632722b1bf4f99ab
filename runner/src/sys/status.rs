//! What the kernel tells about this process in one text, and only by dozens of calls else.
//!
//! It is read once, before the first process is cloned: what is the same in the children is not asked for again, and not from
//! the /proc of a container, which may be anything.

use std::sync::OnceLock;

use crate::kernel_file;

/// The signals that this process ignored when this was first asked, a bit for each, number 1 the lowest. All, if that cannot
/// be known.
pub(super) fn ignored_at_first() -> u64 {
    static FIRST: OnceLock<u64> = OnceLock::new();
    *FIRST.get_or_init(|| ignored(&kernel_file::value("/proc/self/status").unwrap_or_default()))
}

fn ignored(status: &str) -> u64 {
    let hex = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    hex.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_set_is_read_and_full_when_unknown() {
        assert_eq!(ignored("Name:\tSigIgn:\nSigIgn:\t0000000000001000\nSigCgt:\t01\n"), 0x1000);
        assert_eq!(ignored(""), u64::MAX);
        assert_eq!(ignored("SigIgn:\tx\n"), u64::MAX);
    }
}
