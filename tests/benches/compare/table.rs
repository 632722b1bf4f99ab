//! The figures for people.

use harness::Suite;

use crate::row::{Row, Section, Summary};

const SECTIONS: [(Section, &str, [&str; 2]); 6] = [
    (Section::Time, "time in ms", ["ours", "Go suite"]),
    (Section::Growth, "ours, time in ms", ["many", "none"]),
    (Section::Runners, "containers, time in ms", ["xnet", "other"]),
    (Section::Processes, "processes that are no plugins", ["ours", "Go suite"]),
    (Section::Memory, "memory in MiB", ["ours", "Go suite"]),
    (Section::Size, "size in MiB", ["ours", "Go suite"]),
];

pub(crate) fn print(rows: &[Row], remarks: &[String]) {
    for (section, title, sides) in SECTIONS {
        let rows: Vec<&Row> = rows.iter().filter(|row| row.section == section).collect();
        if !rows.is_empty() {
            println!("{}", line([title, "pairs", sides[0], "min-max", sides[1], "min-max", "ratio", "goal", ""]));
            rows.iter().for_each(|row| println!("{}", row_line(row)));
            println!();
        }
    }
    println!("Values are medians; a ratio is the median of the ratios of all pairs, and a goal the most it may be.");
    println!("Memory is the peak of the largest process of a call.");
    if Suite::are_same() {
        println!("Both suites are the same binaries: the ratios show nothing but noise.");
    } else {
        verdict(rows);
    }
    remarks.iter().for_each(|remark| println!("{remark}"));
}

fn verdict(rows: &[Row]) {
    let missed: Vec<&Row> = rows.iter().filter(|row| row.is_met() == Some(false)).collect();
    let goals = rows.iter().filter(|row| row.goal.is_some()).count();
    println!("{} of {goals} goals met", goals - missed.len());
    missed.iter().for_each(|row| println!("MISSED: {}: {:.3}", row.name, row.ratio().median));
}

fn row_line(row: &Row) -> String {
    let (ours, go) = (row.side(0), row.side(1));
    let goal = row.goal.map(|goal| format!("{goal:.2}")).unwrap_or_default();
    let met = row.is_met().map_or("", |met| if met { "met" } else { "MISSED" });
    line([
        &row.name,
        &row.pairs.len().to_string(),
        &number(row.section, ours.median),
        &range(row, ours),
        &number(row.section, go.median),
        &range(row, go),
        &format!("{:.3}", row.ratio().median),
        &goal,
        met,
    ])
}

/// Counts are whole; of small values more is to be seen than of large ones.
fn number(section: Section, value: f64) -> String {
    match section {
        Section::Processes => format!("{value:.0}"),
        _ if value < 1.0 => format!("{value:.3}"),
        _ => format!("{value:.2}"),
    }
}

/// A single value has no range.
fn range(row: &Row, summary: Summary) -> String {
    if row.pairs.len() == 1 {
        String::new()
    } else {
        [summary.min, summary.max].map(|value| number(row.section, value)).join("-")
    }
}

fn line([name, pairs, ours, ours_range, go, go_range, ratio, goal, met]: [&str; 9]) -> String {
    let line =
        format!("{name:<54} {pairs:>5} {ours:>13} {ours_range:>16} {go:>9} {go_range:>16} {ratio:>7} {goal:>6}  {met}");
    line.trim_end().to_owned()
}
