//! Lists for people: `--format` of `ps`, `images`, `stats` and their like.
//!
//! Without a template it is the command's own table; `json` is an object a line; `table TEMPLATE` is a table of the
//! template's columns, separated by tabs, under headings; any other template is filled in for each line.

use serde_json::Value as Json;

use crate::error::Result;

use super::Template;

/// A column that a list has: the field in a template, and its heading.
pub(crate) type Column = (&'static str, &'static str);

/// How a list is printed.
pub(crate) struct Format {
    kind: Kind,
}

enum Kind {
    Json,
    Lines(Template),
    Table { heading: String, line: Template },
}

impl Format {
    /// What `--format` says; `usual` are the columns of the table without it, `known` all that there are.
    pub(crate) fn new(asked: Option<&str>, usual: &[Column], known: &[Column]) -> Result<Self> {
        let kind = match asked.map(unescape).as_deref() {
            Some("json") => Kind::Json,
            None | Some("table" | "") => {
                let line: Vec<_> = usual.iter().map(|(field, _)| format!("{{{{.{field}}}}}")).collect();
                table(&line.join("\t"), known)?
            }
            Some(text) => match text.strip_prefix("table ") {
                Some(line) => table(line.trim_start(), known)?,
                None => Kind::Lines(Template::parse(text)?),
            },
        };
        Ok(Self { kind })
    }

    /// The text of a list, ending with a newline if there is any.
    pub(crate) fn render(&self, rows: &[Json]) -> Result<String> {
        match &self.kind {
            Kind::Json => Ok(rows.iter().map(|row| format!("{row}\n")).collect()),
            Kind::Lines(template) => rows.iter().map(|row| Ok(template.render(row)? + "\n")).collect(),
            Kind::Table { heading, line } => {
                let lines: Vec<_> = rows.iter().map(|row| line.render(row)).collect::<Result<_>>()?;
                Ok(align(&[std::slice::from_ref(heading), &lines].concat()))
            }
        }
    }
}

/// The headings are the template itself, filled in with the names of the columns.
fn table(line: &str, known: &[Column]) -> Result<Kind> {
    let names: serde_json::Map<_, _> =
        known.iter().map(|(field, name)| ((*field).to_owned(), (*name).into())).collect();
    let line = Template::parse(line)?;
    Ok(Kind::Table { heading: line.render(&names.into())?, line })
}

/// A shell passes `\t` and `\n` on as they are typed.
fn unescape(text: &str) -> String {
    text.replace("\\t", "\t").replace("\\n", "\n")
}

/// Pads what is between tabs to columns, three spaces apart.
fn align(lines: &[String]) -> String {
    let mut widths = Vec::new();
    for cells in lines.iter().map(|line| line.split('\t')) {
        for (n, cell) in cells.enumerate() {
            let width = cell.chars().count();
            match widths.get_mut(n) {
                Some(widest) => *widest = width.max(*widest),
                None => widths.push(width),
            }
        }
    }
    let mut text = String::new();
    for line in lines {
        let mut cells = line.split('\t').zip(&widths).peekable();
        while let Some((cell, width)) = cells.next() {
            text.push_str(cell);
            if cells.peek().is_some() {
                text.extend(std::iter::repeat_n(' ', width - cell.chars().count() + 3));
            }
        }
        text.push('\n');
    }
    text
}
