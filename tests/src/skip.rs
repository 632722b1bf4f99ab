//! Skipped tests: loud, and no more than `tests/skips.txt` allows.

use std::io::{Write, stderr};

const ALLOWED: &str = include_str!("../skips.txt");

/// Says that a test can not run on this kernel, past the test runner's capture of output. The reason must be a line of
/// `skips.txt`, so that a skip can not come into being unseen.
///
/// # Panics
/// When the reason is not listed.
pub fn skip(reason: &str) {
    let listed = ALLOWED.lines().filter(|line| !line.starts_with('#')).any(|line| line == reason);
    assert!(listed, "a skip that tests/skips.txt does not list: {reason}");
    let _ = writeln!(stderr(), "SKIPPED: {reason}");
}
