//! What the kernel tells about this process in one text, and only by dozens of calls else.
//!
//! It is read once, before the first process is cloned: what is the same in the children is not asked for again, and not from
//! the /proc of a container, which may be anything.

use std::sync::OnceLock;

use crate::kernel_file;

/// Sets, a bit for each number.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Status {
    /// The signals that are ignored, number 1 in the lowest bit.
    pub(crate) ignored: u64,
    /// The capabilities of the bounding set.
    pub(crate) bounding: u64,
}

/// The sets as they were when they were first asked for. What cannot be known counts as full.
pub(crate) fn at_first() -> Status {
    static FIRST: OnceLock<Status> = OnceLock::new();
    *FIRST.get_or_init(|| parse(&kernel_file::value("/proc/self/status").unwrap_or_default()))
}

fn parse(text: &str) -> Status {
    let set = |key: &str| {
        let hex = text.lines().find_map(|line| line.strip_prefix(key))?;
        u64::from_str_radix(hex.trim(), 16).ok()
    };
    Status { ignored: set("SigIgn:").unwrap_or(u64::MAX), bounding: set("CapBnd:").unwrap_or(u64::MAX) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_read_and_full_when_unknown() {
        let status = parse("Name:\tSigIgn:\nSigIgn:\t0000000000001000\nCapBnd:\t00000000a80425fb\n");
        assert_eq!((status.ignored, status.bounding), (0x1000, 0xa804_25fb));
        assert_eq!(parse("").ignored, u64::MAX);
        assert_eq!(parse("CapBnd:\tx\n").bounding, u64::MAX);
    }
}
