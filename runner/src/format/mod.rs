//! What people ask to see with `--format`: Go templates, as elsewhere, over our JSON.
//!
//! The language is the crate's; three things are ours. Objects are of two sorts, as in Go: a structure, whose fields
//! are known ([`value`] tells them by name), and a map, whose keys are anybody's. A field that a structure has not is a
//! mistake and fails; a key that a map has not prints as `<no value>`. The functions are those that other tools add to
//! Go's ([`functions`]). And a list is printed as a table or line by line ([`table`]).

mod functions;
pub(crate) mod table;
pub(crate) mod units;
mod value;

use gotmpl::{MissingKey, TemplateError};
use serde_json::Value as Json;

use crate::error::{Context, Error, Result};

use value::{Converter, Orders};

/// A parsed template.
pub(crate) struct Template {
    parsed: gotmpl::Template,
    orders: Orders,
}

/// More missing keys than this, and the template is about something else.
const MOST_MISSING: usize = 64;

impl Template {
    /// Parses `text`. What is wrong is said with its place.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let orders = Orders::default();
        let empty = gotmpl::Template::new("").missing_key(MissingKey::Error).funcs(functions::all(&orders));
        let parsed = empty.parse(text).map_err(|error| failed(&error))?;
        Ok(Self { parsed, orders })
    }

    /// Fills the template with `data`. No newline is added.
    pub(crate) fn render(&self, data: &Json) -> Result<String> {
        let mut missing = Vec::new();
        loop {
            self.orders.clear();
            let data = Converter { missing: &missing, orders: &self.orders }.convert(data);
            match self.parsed.execute_to_string(&data) {
                // Which object has no such key is not said. If it is a map, the key is there as nothing in the next
                // attempt; if it is a structure, the next attempt fails for the same reason.
                Err(TemplateError::MissingKey { key }) if !missing.contains(&key) && missing.len() < MOST_MISSING => {
                    missing.push(key);
                }
                done => return done.map_err(|error| failed(&error)),
            }
        }
    }
}

/// JSON as `inspect` prints it: indented by four.
pub(crate) fn pretty(value: &Json) -> Result<String> {
    let mut text = Vec::new();
    let indented = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut text, indented);
    serde::Serialize::serialize(value, &mut serializer).context(|| "encode JSON")?;
    String::from_utf8(text).map_err(|error| Error::new(error.to_string()))
}

fn failed(error: &TemplateError) -> Error {
    Error::new(format!("template parsing error: {}", error.to_string().replace('\n', " ")))
}

#[cfg(test)]
mod tests;
