//! The ways in which a record is printed.

use std::fmt::Write;

use serde_json::json;

use super::record::{Outcome, Part, Process, Step, Story, Variable};

/// All that is wanted of `story`.
pub(super) fn text(story: &Story) -> String {
    let mut text = String::new();
    // What was refused before anything was touched is no story.
    if story.steps.is_empty() {
        return text;
    }
    if story.wanted.is_json() {
        story.steps.iter().for_each(|step| line(&mut text, &object(step, story)));
        if story.wanted.timings {
            line(&mut text, &sums(story));
        }
        return text;
    }
    if story.wanted.steps.is_some() {
        table(&mut text, story);
    }
    if story.wanted.timings {
        line(&mut text, &timings(story));
    }
    if story.wanted.explain {
        commands(&mut text, story);
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
    if let (true, Some(object)) = (story.wanted.explain, object.as_object_mut()) {
        object.insert("commands".to_owned(), json!(step.what.told.typed));
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

/// The steps that have commands, in the order in which a person gives them. A person makes the network namespace first, and can
/// have it wired before anybody is in it; so all that the parent does comes before the birth, and the child's part, which
/// is typed in the shell that was born, comes behind.
fn commands(text: &mut String, story: &Story) {
    let is_birth = |step: &&Step| step.process == Process::Parent && step.what.name == "clone3";
    let place = |step: &&Step| (step.process == Process::Child, is_birth(step));
    let mut steps: Vec<&Step> = story.steps.iter().filter(|step| !step.what.told.typed.is_empty()).collect();
    steps.retain(|step| step.outcome == Outcome::Done);
    steps.sort_by_key(place);
    // The id is a part of the root's path.
    for (n, Variable { name, value }) in story.variables.iter().enumerate().rev() {
        line(text, &format!("export {name}={}", with(value, story.variables.get(n + 1..).unwrap_or_default())));
    }
    let mut title = "";
    for step in steps {
        if title != step.what.name {
            title = &step.what.name;
            let inside = if is_birth(&step) { ": what follows is typed in the shell that this starts" } else { "" };
            line(text, &format!("# {title}{inside}"));
        }
        step.what.told.typed.iter().for_each(|command| line(text, &with(command, &story.variables)));
    }
}

/// The command with variables in it. What is quoted is for the shell as it stands.
fn with(command: &str, variables: &[Variable]) -> String {
    if command.contains('\'') {
        return command.to_owned();
    }
    variables.iter().fold(command.to_owned(), |line, one| line.replace(&one.value, &format!("${}", one.name)))
}

fn sum(story: &Story, part: Part) -> u64 {
    story.steps.iter().filter(|step| step.what.part == part).map(|step| step.duration).sum()
}

/// The same for programs.
fn sums(story: &Story) -> String {
    let sums: serde_json::Map<_, _> =
        SUMS.iter().map(|(part, name)| ((*name).to_owned(), sum(story, *part).into())).collect();
    json!({ "timings_ns": sums, "total_ns": story.duration }).to_string()
}

/// The sums are of two processes that work at the same time, so they may be more than all.
fn timings(story: &Story) -> String {
    let sums: Vec<String> = SUMS.iter().map(|(part, name)| format!("{name} {} ms", ms(sum(story, *part)))).collect();
    format!("{}; {} ms in all", sums.join(", "), ms(story.duration))
}
