//! How a container was made, for those who want to see it: `--trace`, `--timings` and `--explain`.
//!
//! The record is the thread's own. Code that does a step calls [`step`] around it; without a record that is a look at one
//! word, and nothing else: no clock is read, nothing is written down.
//!
//! The container's first process has no way back for what it did, because it becomes the command. So its steps are planned
//! before it is born ([`plan_child`]), and it only marks the moment in which each begins ([`mark`]), in memory that it shares
//! with its parent and that `execve` takes from it. One reading of the clock a step is enough, as one ends where the next
//! begins; the last one, `execve`, ends when the parent sees that the command has taken over.
//!
//! A monitor makes its record as a copy of the process that was told to, and gives it back over the line by which it
//! tells that the command is executed ([`take`], [`take_over`]).
//!
//! The record is told once, by whoever has the caller's standard error, when the command has been executed or when it is
//! certain that it will not be ([`tell`]). Nobody waits for that, so the first words of a quick command may come before it; but
//! it is written at once, and not torn.

pub(crate) mod plan;
pub(crate) mod plugin;
mod record;
pub(crate) mod shell;
mod show;
pub(crate) mod told;

use std::cell::{Cell, RefCell};
use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};

use nix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use crate::error::{Context, Error, Result};
use crate::sys;

pub(crate) use record::{Part, Plan, Record, Told, What};

/// How a trace is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
pub(crate) enum Format {
    /// A line a step, for people.
    Text,
    /// A JSON object a line.
    Json,
}

/// What is to be printed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Wanted {
    /// Every step.
    pub(crate) steps: Option<Format>,
    /// One line of sums.
    pub(crate) timings: bool,
    /// The commands of a shell that do the same.
    pub(crate) explain: bool,
}

thread_local! {
    static RECORD: RefCell<Option<Box<Record>>> = const { RefCell::new(None) };
    /// The moments that a child marks: that of its failure, and then of each step's beginning.
    static MARKS: Cell<Option<&'static [AtomicU64]>> = const { Cell::new(None) };
}

/// Nanoseconds of a clock that runs on, and that is the same in every time namespace.
fn now() -> u64 {
    let read = clock_gettime(ClockId::CLOCK_TAI).map(std::time::Duration::from);
    read.map_or(0, |time| u64::try_from(time.as_nanos()).unwrap_or_default())
}

/// Does `work` with a record of it, and tells what is `wanted` at its end, if nobody has done so before.
pub(crate) fn during<T>(wanted: Wanted, work: impl FnOnce() -> Result<T>) -> Result<T> {
    if wanted == Wanted::default() {
        return work();
    }
    RECORD.set(Some(Box::new(Record::new(wanted, now()))));
    let result = work();
    tell(result.as_ref().err());
    result
}

/// Whether there is a record to be kept.
fn is_on() -> bool {
    RECORD.with_borrow(Option::is_some)
}

/// Does `work`, which is the step `name`; `told` says what that is, once it is done.
pub(crate) fn step<T, E>(
    part: Part,
    name: &'static str,
    told: impl FnOnce() -> Told,
    work: impl FnOnce() -> Result<T, E>,
) -> Result<T, E> {
    if !is_on() {
        return work();
    }
    let start = now();
    let result = work();
    add(What::new(part, name, told()), start, result.is_err());
    result
}

fn add(what: What, start: u64, failed: bool) {
    let end = now();
    RECORD
        .with_borrow_mut(|record| record.iter_mut().for_each(|record| record.add(what.clone(), (start, end), failed)));
}

/// Says what a child that is about to be born is going to do: the moments that it will [`mark`], in order.
///
/// # Errors
/// There is no memory to be shared.
pub(crate) fn plan_child(plan: impl FnOnce() -> Plan) -> Result<()> {
    if !is_on() {
        return Ok(());
    }
    let plan = plan();
    let marks = sys::memory::shared(plan.steps.len() + 1).context(|| "share memory for a trace")?;
    MARKS.set(Some(marks));
    RECORD.with_borrow_mut(|record| record.iter_mut().for_each(|record| record.expect(plan.clone(), marks)));
    Ok(())
}

/// In the child: step number `n` of its plan begins.
pub(crate) fn mark(n: usize) {
    if let Some(marks) = MARKS.get() {
        write(marks.get(n + 1));
    }
}

/// In the child: the last step of its plan begins.
pub(crate) fn mark_last() {
    if let Some(marks) = MARKS.get() {
        write(marks.last());
    }
}

/// In the child: the step that was begun last has failed.
pub(crate) fn mark_failure() {
    if let Some(marks) = MARKS.get() {
        write(marks.first());
    }
}

fn write(mark: Option<&AtomicU64>) {
    if let Some(mark) = mark {
        mark.store(now(), Ordering::Relaxed);
    }
}

/// The command is executed, or never will be: what comes now is not a part of the story.
pub(crate) fn end() {
    if is_on() {
        let now = now();
        RECORD.with_borrow_mut(|record| record.iter_mut().for_each(|record| record.end(now)));
        MARKS.set(None);
    }
}

/// The record, to be sent to who is going to tell it.
pub(crate) fn take() -> Option<Record> {
    end();
    RECORD.take().map(|record| *record)
}

/// Goes on with a record that was sent.
pub(crate) fn take_over(record: Option<Record>) {
    if let Some(record) = record {
        RECORD.set(Some(Box::new(record)));
    }
}

/// Prints the record, if there is one: the command was executed, or was not because of `error`.
pub(crate) fn tell(error: Option<&Error>) {
    if let Some(record) = take() {
        // Who has closed standard error does not want to know.
        let _ = std::io::stderr().write_all(show::text(&record.told(error)).as_bytes());
    }
}
