//! The figures for programs: one JSON document a line, first the machine, then the rows.

use serde_json::{Value, json};

use crate::row::{Row, Section, Summary};

pub(crate) fn lines(machine: &str, rows: &[Row]) -> String {
    let machine = json!({"machine": machine.lines().collect::<Vec<_>>()});
    let documents = std::iter::once(machine).chain(rows.iter().map(row));
    documents.map(|document| format!("{document}\n")).collect()
}

fn row(row: &Row) -> Value {
    let (section, unit, sides) = match row.section {
        Section::Time => ("time", "ms", ["ours", "go"]),
        Section::Growth => ("growth", "ms", ["many", "none"]),
        Section::Runners => ("containers", "ms", ["xnet", "other"]),
        Section::Memory => ("memory", "MiB", ["ours", "go"]),
        Section::Processes => ("processes", "processes", ["ours", "go"]),
        Section::Size => ("size", "MiB", ["ours", "go"]),
    };
    json!({
        "section": section,
        "name": row.name,
        "unit": unit,
        "pairs": row.pairs.len(),
        sides[0]: summary(row.side(0)),
        sides[1]: summary(row.side(1)),
        "ratio": summary(row.ratio()),
        "goal": row.goal,
        "met": row.is_met(),
    })
}

fn summary(summary: Summary) -> Value {
    json!({"median": summary.median, "min": summary.min, "max": summary.max})
}
