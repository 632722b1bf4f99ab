//! The sizes of the binaries that both suites have.

use std::fs;
use std::path::Path;

use harness::Suite;

use crate::row::{Row, Section};

const GOAL: f64 = 0.6;

pub(crate) fn rows() -> Vec<Row> {
    let (ours, go) = (Suite::Ours.dir(), Suite::Go.dir());
    let entries = fs::read_dir(&go).unwrap_or_else(|error| panic!("read {}: {error}", go.display()));
    let mut names: Vec<String> =
        entries.filter_map(|entry| entry.expect("read a directory").file_name().into_string().ok()).collect();
    names.sort();
    let row = |name: String| {
        let pairs = vec![[mebibytes(&ours.join(&name))?, mebibytes(&go.join(&name))?]];
        Some(Row { section: Section::Size, name, pairs, goal: Some(GOAL) })
    };
    names.into_iter().filter_map(row).collect()
}

/// Nothing when there is no such file.
fn mebibytes(path: &Path) -> Option<f64> {
    let bytes = u32::try_from(fs::metadata(path).ok()?.len()).ok()?;
    Some(f64::from(bytes) / f64::from(1 << 20))
}
