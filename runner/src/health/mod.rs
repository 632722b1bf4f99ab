//! Whether a container works, as it says itself.
//!
//! A container that has a command for that gets a process beside it, on the host, that runs this command in it at intervals,
//! as `exec` would, and writes down what came of it ([`checker`]). Containers without one have none of this.
//!
//! What is known is a file in the container's state directory, which is replaced as a whole; it begins anew with each
//! run. Whoever asks reads it.

pub(crate) mod checker;

use std::collections::VecDeque;
use std::fs;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::{Context, Result};
use crate::moment::Moment;
use crate::spec::Health;
use crate::state::View;

const FILE: &str = "health.json";
/// How many results are kept.
const KEPT: usize = 5;

/// What is known about a container's health, in the shape in which `inspect` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Record {
    pub(crate) status: Status,
    /// Failures since it last worked, as far as they count.
    pub(crate) failing_streak: u32,
    /// The last results, the oldest first.
    pub(crate) log: VecDeque<Outcome>,
}

/// Whether it works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Status {
    /// It has not worked yet, and not failed often enough.
    Starting,
    Healthy,
    Unhealthy,
}

/// What came of one run of the command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Outcome {
    pub(crate) start: Moment,
    pub(crate) end: Moment,
    /// The status of the command; -1 if it took too long.
    pub(crate) exit_code: i32,
    /// The beginning of what it said.
    pub(crate) output: String,
}

/// Whether a container that runs works; none for one that is not asked.
pub(crate) fn of(view: &View) -> Option<Status> {
    let record = view.spec.life.health.as_ref().and_then(|_| Record::read(&view.state));
    record.filter(|_| view.status.is_alive()).map(|record| record.status)
}

impl Status {
    /// As in events.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
        }
    }
}

impl Record {
    /// Of a run that has just begun.
    pub(crate) fn new() -> Self {
        Self { status: Status::Starting, failing_streak: 0, log: VecDeque::new() }
    }

    /// Of one that is no more.
    pub(crate) fn of_ended() -> Self {
        Self { status: Status::Unhealthy, ..Self::new() }
    }

    /// What is on record in the state directory `dir`.
    pub(crate) fn read(dir: &Path) -> Option<Self> {
        serde_json::from_slice(&fs::read(dir.join(FILE)).ok()?).ok()
    }

    /// Puts it on record.
    pub(crate) fn write(&self, dir: &Path) -> Result<()> {
        let (path, new) = (dir.join(FILE), dir.join(format!(".{FILE}")));
        let text = serde_json::to_vec(self).context(|| "encode it")?;
        fs::write(&new, text).and_then(|()| fs::rename(&new, &path)).context(|| format!("write {}", path.display()))
    }

    /// Adds what came of a run `age` after the start. Answers whether that has changed the status.
    fn add(&mut self, outcome: Outcome, age: Duration, health: &Health) -> bool {
        let before = self.status;
        if outcome.exit_code == 0 {
            (self.status, self.failing_streak) = (Status::Healthy, 0);
        } else if self.status != Status::Starting || age >= health.start_period {
            self.failing_streak += 1;
            if self.failing_streak >= health.retries {
                self.status = Status::Unhealthy;
            }
        }
        self.log.push_back(outcome);
        while self.log.len() > KEPT {
            self.log.pop_front();
        }
        self.status != before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Requirement: F-health.
    #[test]
    fn failures_count_in_a_row_and_not_while_it_starts() {
        let second = Duration::from_secs(1);
        let health = Health {
            test: Vec::new(),
            shell: Vec::new(),
            interval: second,
            timeout: second,
            start_period: 10 * second,
            start_interval: second,
            retries: 2,
        };
        let mut record = Record::new();
        let mut add = |code, age: u32| {
            let outcome =
                Outcome { start: Moment::now(), end: Moment::now(), exit_code: code, output: code.to_string() };
            let changed = record.add(outcome, age * second, &health);
            (changed, record.status, record.failing_streak)
        };
        assert_eq!(add(1, 1), (false, Status::Starting, 0));
        assert_eq!(add(1, 10), (false, Status::Starting, 1));
        assert_eq!(add(0, 11), (true, Status::Healthy, 0));
        assert_eq!(add(-1, 12), (false, Status::Healthy, 1));
        assert_eq!(add(1, 13), (true, Status::Unhealthy, 2));
        assert_eq!(add(1, 14), (false, Status::Unhealthy, 3));
        assert_eq!(add(0, 15), (true, Status::Healthy, 0));
        // Once it has worked, failures count at any time.
        assert_eq!(add(1, 2), (false, Status::Healthy, 1));
        assert_eq!(record.log.iter().map(|o| o.exit_code).collect::<Vec<_>>(), [-1, 1, 1, 0, 1]);
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Record::read(dir.path()), None);
        record.write(dir.path()).unwrap();
        assert_eq!(Record::read(dir.path()), Some(record));
    }
}
