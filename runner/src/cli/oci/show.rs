//! Commands that only look.

use clap::Args;
use serde_json::Value;

use crate::error::{Context, Result};
use crate::oci::control;
use crate::oci::state::Home;

/// Prints a JSON document for people and programs.
pub(super) fn print(value: &Value) -> Result<()> {
    let text = serde_json::to_string_pretty(value).context(|| "encode the answer")?;
    println!("{text}");
    Ok(())
}

fn text(value: &Value, field: &str) -> String {
    match value.get(field) {
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => String::new(),
    }
}

fn table(headings: &[&str], fields: &[&str], rows: &[Value]) {
    let cells: Vec<Vec<String>> =
        rows.iter().map(|row| fields.iter().map(|field| text(row, field)).collect()).collect();
    let width = |at: usize| {
        let longest = cells.iter().filter_map(|row| row.get(at)).map(String::len).max().unwrap_or(0);
        longest.max(headings.get(at).map_or(0, |heading| heading.len()))
    };
    let line = |row: &[String]| {
        let padded: Vec<_> = row.iter().enumerate().map(|(at, cell)| format!("{cell:0$}", width(at))).collect();
        println!("{}", padded.join("   ").trim_end());
    };
    line(&headings.iter().map(|heading| (*heading).to_owned()).collect::<Vec<_>>());
    cells.iter().for_each(|row| line(row));
}

/// `ps`.
#[derive(Debug, Args)]
pub(super) struct Ps {
    /// A table, or a list of numbers
    #[arg(short, long, default_value = "table", value_parser = ["table", "json"])]
    format: String,
    id: String,
}

impl Ps {
    pub(super) fn run(&self, home: &Home) -> Result<()> {
        let pids = control::processes(home, &self.id)?;
        if self.format == "json" {
            println!("{}", Value::from(pids));
            return Ok(());
        }
        let rows: Vec<_> = pids.into_iter().filter_map(control::describe).collect();
        table(&["UID", "PID", "PPID", "CMD"], &["uid", "pid", "ppid", "command"], &rows);
        Ok(())
    }
}

/// `list`.
#[derive(Debug, Args)]
pub(super) struct List {
    /// A table, or JSON
    #[arg(short, long, default_value = "table", value_parser = ["table", "json"])]
    format: String,
    /// Only ids
    #[arg(short, long)]
    quiet: bool,
}

impl List {
    pub(super) fn run(&self, home: &Home) -> Result<()> {
        let all = control::list(home)?;
        if self.quiet {
            all.iter().for_each(|each| println!("{}", text(each, "id")));
        } else if self.format == "json" {
            println!("{}", Value::from(all));
        } else {
            let fields = ["id", "pid", "status", "bundle", "created", "owner"];
            table(&["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"], &fields, &all);
        }
        Ok(())
    }
}
