//! What is on record: steps, those of this process and those of the child.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

use crate::error::Error;

use super::{Format, Wanted};

/// What a step is about: the sums of `--timings`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Part {
    /// Who the container is, on record.
    State,
    Cgroups,
    Namespaces,
    /// Its file systems.
    Root,
    Network,
    /// The process and its rights.
    Process,
    /// The command.
    Exec,
    /// Waiting for the other process, which is in no sum.
    Waiting,
}

/// A step, as people know it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct What {
    pub(super) part: Part,
    pub(super) name: String,
    #[serde(flatten)]
    pub(super) told: Told,
}

/// What exactly is done.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Told {
    /// In one line.
    pub(super) detail: String,
    /// The commands of a shell that do the same.
    pub(super) typed: Vec<String>,
}

impl From<String> for Told {
    fn from(detail: String) -> Self {
        Self { detail, typed: Vec::new() }
    }
}

impl Told {
    /// The same, and what a person would type.
    pub(super) fn typed(self, typed: Vec<String>) -> Self {
        Self { typed, ..self }
    }
}

impl What {
    pub(crate) fn new(part: Part, name: impl Into<String>, told: impl Into<Told>) -> Self {
        Self { part, name: name.into(), told: told.into() }
    }
}

/// What a child is going to do.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(super) steps: Vec<What>,
    /// Names for what its commands say often, the longest first.
    pub(super) variables: Vec<Variable>,
}

/// A variable of a shell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Variable {
    pub(super) name: String,
    pub(super) value: String,
}

/// Whose step it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Process {
    Parent,
    Child,
}

/// How a step has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum Outcome {
    Done,
    /// It was under way when all was over.
    CutOff,
    Failed,
}

/// A step that was begun.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Step {
    pub(super) what: What,
    pub(super) process: Process,
    /// Since the record begins, in nanoseconds.
    pub(super) start: u64,
    pub(super) duration: u64,
    pub(super) outcome: Outcome,
}

/// The steps of one start of a container.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(super) wanted: Wanted,
    /// When it was begun, and ended.
    begun: u64,
    ended: Option<u64>,
    steps: Vec<Step>,
    variables: Vec<Variable>,
    /// The child's plan. Its marks are of no use to whom the record is sent, who gets them as steps.
    #[serde(skip)]
    child: Option<Child>,
}

#[derive(Debug)]
struct Child {
    plan: Vec<What>,
    marks: &'static [AtomicU64],
}

/// A record that is complete.
#[derive(Debug)]
pub(super) struct Story {
    pub(super) wanted: Wanted,
    /// In the order in which they were begun; but what has failed is the last.
    pub(super) steps: Vec<Step>,
    /// Names for what the commands say often, the longest first.
    pub(super) variables: Vec<Variable>,
    /// How long it all took, in nanoseconds.
    pub(super) duration: u64,
    /// Why the command was not executed.
    pub(super) error: Option<String>,
}

impl Record {
    pub(super) fn new(wanted: Wanted, begun: u64) -> Self {
        Self { wanted, begun, ended: None, steps: Vec::new(), variables: Vec::new(), child: None }
    }

    pub(super) fn expect(&mut self, plan: Plan, marks: &'static [AtomicU64]) {
        self.variables = plan.variables;
        self.child = Some(Child { plan: plan.steps, marks });
    }

    /// Puts down a step of this process. Behind one that has failed there is only what puts things away.
    pub(super) fn add(&mut self, what: What, (start, end): (u64, u64), failed: bool) {
        let over = self.ended.is_some() || self.steps.iter().any(|step| step.outcome == Outcome::Failed);
        if !over {
            let outcome = if failed { Outcome::Failed } else { Outcome::Done };
            self.put(what, Process::Parent, (start, end), outcome);
        }
    }

    fn put(&mut self, what: What, process: Process, (start, end): (u64, u64), outcome: Outcome) {
        let duration = end.saturating_sub(start);
        self.steps.push(Step { what, process, start: start.saturating_sub(self.begun), duration, outcome });
    }

    /// Ends the record, once, and puts down what the child has marked.
    pub(super) fn end(&mut self, now: u64) {
        if self.ended.is_some() {
            return;
        }
        self.ended = Some(now);
        let Some(Child { plan, marks }) = self.child.take() else { return };
        let moments: Vec<u64> = marks.iter().map(|mark| mark.load(Ordering::Relaxed)).collect();
        let (failure, starts) = moments.split_first().map_or((0, &[][..]), |(first, rest)| (*first, rest));
        let begun = starts.iter().take_while(|start| **start > 0).count();
        for (n, what) in plan.into_iter().enumerate().take(begun) {
            let start = starts.get(n).copied().unwrap_or_default();
            let next = starts.get(n + 1).copied().filter(|next| *next > 0);
            let is_last = n + 1 == starts.len();
            let (end, outcome) = match next {
                Some(next) => (next, Outcome::Done),
                None if failure > 0 => (failure, Outcome::Failed),
                None if is_last => (now, Outcome::Done),
                None => (now, Outcome::CutOff),
            };
            self.put(what, Process::Child, (start, end), outcome);
        }
    }

    /// The record as it is told, with the reason why the command was not executed.
    pub(super) fn told(self, error: Option<&Error>) -> Story {
        let mut steps = self.steps;
        // If both have failed, the child was first: it cannot see a failure of its parent's.
        let is_failure = |step: &Step| step.outcome == Outcome::Failed;
        if steps.iter().any(|step| is_failure(step) && step.process == Process::Child) {
            let parents = steps.iter_mut().filter(|step| is_failure(step) && step.process == Process::Parent);
            parents.for_each(|step| step.outcome = Outcome::CutOff);
        }
        steps.sort_by_key(|step| (is_failure(step), step.start));
        Story {
            wanted: self.wanted,
            steps,
            variables: self.variables,
            duration: self.ended.unwrap_or(self.begun).saturating_sub(self.begun),
            error: error.map(|error| error.message.clone()),
        }
    }
}

impl Wanted {
    /// Whether every step is to be told, as JSON.
    pub(super) fn is_json(self) -> bool {
        self.steps == Some(Format::Json)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn what(name: &str) -> What {
        What::new(Part::Root, name, String::new())
    }

    fn marks(moments: &[u64]) -> &'static [AtomicU64] {
        Vec::leak(moments.iter().map(|moment| AtomicU64::new(*moment)).collect())
    }

    fn story(moments: &[u64], error: Option<&Error>) -> Vec<(String, u64, u64, Outcome)> {
        let mut record = Record::new(Wanted::default(), 100);
        record.add(what("clone3"), (110, 130), false);
        let plan = Plan { steps: vec![what("a"), what("b"), what("execve")], variables: Vec::new() };
        record.expect(plan, marks(moments));
        record.add(what("wire"), (135, 150), false);
        record.end(200);
        record.add(what("late"), (210, 220), false);
        let steps = record.told(error).steps.into_iter();
        steps.map(|step| (step.what.name, step.start, step.duration, step.outcome)).collect()
    }

    fn named(name: &str, start: u64, duration: u64, outcome: Outcome) -> (String, u64, u64, Outcome) {
        (name.to_owned(), start, duration, outcome)
    }

    #[test]
    fn steps_of_both_processes_are_in_the_order_of_their_beginnings() {
        let told = story(&[0, 120, 140, 180], None);
        let expected = [
            named("clone3", 10, 20, Outcome::Done),
            named("a", 20, 20, Outcome::Done),
            named("wire", 35, 15, Outcome::Done),
            named("b", 40, 40, Outcome::Done),
            named("execve", 80, 20, Outcome::Done),
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn what_has_failed_is_the_last() {
        let told = story(&[128, 120, 0, 0], Some(&Error::new("no")));
        let expected = [
            named("clone3", 10, 20, Outcome::Done),
            named("wire", 35, 15, Outcome::Done),
            named("a", 20, 8, Outcome::Failed),
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn a_child_that_was_killed_has_not_ended_its_step() {
        let told = story(&[0, 120, 140, 0], Some(&Error::new("no")));
        assert_eq!(told.last(), Some(&named("b", 40, 60, Outcome::CutOff)));
    }
}
