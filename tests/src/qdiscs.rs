//! Queueing disciplines and their filters, read by `tc`. Those that a link is born with do not count.

use std::process::Command;

use serde_json::{Map, Value};

use crate::normal::Names;
use crate::process::run;

/// The handle of what nobody has chosen.
const DEFAULT: &str = "0:";

/// Members of a filter's actions that count references, or number the actions of the whole machine.
const VOLATILE: [&str; 5] = ["bind", "index", "not_in_hw", "ref", "refcnt"];

/// The disciplines of the calling thread's namespace that somebody has set, one a line, and their filters.
pub(crate) fn lines(names: &Names) -> Vec<String> {
    let chosen = tc(&["qdisc", "show"]).into_iter().filter(|qdisc| qdisc["handle"] != DEFAULT);
    let lines = chosen.flat_map(|qdisc| {
        let (device, handle) = (text(&qdisc["dev"]), text(&qdisc["handle"]));
        let filters = tc(&["filter", "show", "dev", device, "parent", handle]);
        let mut lines = vec![format!("qdisc {device} {}", lasting(&qdisc))];
        lines.extend(filters.iter().map(|filter| format!("filter {device} {handle} {}", lasting(filter))));
        lines
    });
    lines.map(|line| names.text(&line)).collect()
}

/// A device that has gone since it was listed has no filters, and `tc` fails.
fn tc(question: &[&str]) -> Vec<Value> {
    let output = run(Command::new("tc").args(["-j", "-d"]).args(question), b"");
    serde_json::from_slice(&output.stdout).unwrap_or_default()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("")
}

fn lasting(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let members = members.iter().filter(|(key, _)| !VOLATILE.contains(&key.as_str()) && *key != "dev");
            Value::Object(members.map(|(key, value)| (key.clone(), lasting(value))).collect::<Map<_, _>>())
        }
        Value::Array(items) => items.iter().map(lasting).collect(),
        other => other.clone(),
    }
}
