//! The ways in which a record is printed.

use std::fmt::Write;

use serde_json::json;

use super::record::{Outcome, Part, Process, Step, Story};

/// All that is wanted of `story`.
pub(super) fn text(story: &Story) -> String {
    let mut text = String::new();
    if story.wanted.is_json() {
        story.steps.iter().for_each(|step| line(&mut text, &object(step, story)));
    } else if story.wanted.steps.is_some() {
        table(&mut text, story);
    }
    if story.wanted.timings {
        line(&mut text, &timings(story));
    }
    text
}

fn line(text: &mut String, line: &str) {
    text.push_str(line);
    text.push('\n');
}

/// Why it failed, if it did.
fn error<'a>(step: &Step, story: &'a Story) -> Option<&'a str> {
    story.error.as_deref().filter(|_| step.outcome == Outcome::Failed)
}

fn object(step: &Step, story: &Story) -> String {
    let mut object = json!({
        "name": step.what.name,
        "part": step.what.part,
        "process": step.process,
        "start_ns": step.start,
        "duration_ns": step.duration,
        "detail": step.what.told.detail,
        "done": step.outcome == Outcome::Done,
    });
    if let (Some(error), Some(object)) = (error(step, story), object.as_object_mut()) {
        object.insert("error".to_owned(), error.into());
    }
    object.to_string()
}

/// Milliseconds, for people.
fn ms(nanoseconds: u64) -> String {
    let microseconds = (nanoseconds + 500) / 1000;
    format!("{}.{:03}", microseconds / 1000, microseconds % 1000)
}

/// The text with the ids of containers as `ps` shows them.
fn short(text: &str) -> String {
    const WHOLE: usize = 64;
    let words = text.split_inclusive(|c: char| !c.is_ascii_hexdigit()).map(|word| match word.get(..WHOLE) {
        Some(id) if id.bytes().all(|byte| byte.is_ascii_hexdigit()) => [&word[..12], &word[WHOLE..]].concat(),
        _ => word.to_owned(),
    });
    words.collect()
}

/// What begins when, and how long it takes: a step of the child may begin before one of its parent's has ended.
fn table(text: &mut String, story: &Story) {
    line(text, "   after      took  process  step");
    let mut before = 0;
    for step in &story.steps {
        let process = if step.process == Process::Child { "child" } else { "parent" };
        let (after, took) = (step.start.saturating_sub(before), ms(step.duration));
        before = step.start;
        let (name, detail) = (&step.what.name, short(&step.what.told.detail));
        let _ = write!(text, "{:>8}  {took:>8}  {process:<7}  {name:<18} {detail}", format!("+{}", ms(after)));
        match (step.outcome, error(step, story)) {
            (Outcome::Done, _) => {}
            (Outcome::CutOff, _) => text.push_str(" (cut off)"),
            (Outcome::Failed, error) => {
                let _ = write!(text, " (failed: {})", error.unwrap_or("see below"));
            }
        }
        text.push('\n');
    }
    let _ = writeln!(text, "{:>8}  ms in all", ms(story.duration));
}

/// The parts that have a sum, with the words for them.
const SUMS: [(Part, &str); 7] = [
    (Part::Namespaces, "namespaces"),
    (Part::Root, "root file system"),
    (Part::Network, "network"),
    (Part::Cgroups, "cgroups"),
    (Part::Process, "process"),
    (Part::State, "records"),
    (Part::Exec, "exec"),
];

/// The sums are of two processes that work at the same time, so they may be more than all.
fn timings(story: &Story) -> String {
    let sum = |part| story.steps.iter().filter(|step| step.what.part == part).map(|step| step.duration).sum();
    let sums: Vec<String> = SUMS.iter().map(|(part, name)| format!("{name} {} ms", ms(sum(*part)))).collect();
    format!("{}; {} ms in all", sums.join(", "), ms(story.duration))
}
