//! Something that is measured, and gives rows.

use std::panic::{AssertUnwindSafe, catch_unwind};

use harness::Suite;

use crate::row::Row;

pub(crate) trait Measurement {
    fn name(&self) -> &'static str;

    /// Whose binaries it needs.
    fn suites(&self) -> [Suite; 2];

    /// Plays it and adds its rows.
    fn measure(&self, pairs: usize, rows: &mut Vec<Row>) -> Result<(), String>;
}

/// What has come of a measurement.
pub(crate) enum Outcome {
    Measured,
    /// One side is not on this machine.
    Impossible,
    Failed(String),
}

/// Plays a measurement; a panic of it is a failure like others.
pub(crate) fn play(measurement: &dyn Measurement, pairs: usize, rows: &mut Vec<Row>) -> Outcome {
    if measurement.suites().contains(&Suite::Newer) && !Suite::has_newer() {
        return Outcome::Impossible;
    }
    let outcome = catch_unwind(AssertUnwindSafe(|| measurement.measure(pairs, rows)));
    match outcome.unwrap_or_else(|_| Err("a panic, see above".to_owned())) {
        Ok(()) => Outcome::Measured,
        Err(failure) => Outcome::Failed(failure),
    }
}
