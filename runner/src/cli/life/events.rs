//! `xnet events`.

use std::io::{Write, stdout};
use std::thread::sleep;
use std::time::Duration;

use clap::Args;
use serde_json::Value as Json;

use crate::cli::complain;
use crate::container;
use crate::error::{Error, Result};
use crate::format::Template;
use crate::moment::Moment;
use crate::spec::Dirs;
use crate::state::events::Reader;

/// Which events to print, and how.
#[derive(Debug, Args)]
pub(in crate::cli) struct Events {
    /// Only events from then on: a time (RFC 3339, or seconds since 1970), or a duration such as 10m
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: Option<Moment>,
    /// Only events before then
    #[arg(long, value_name = "TIME", value_parser = time)]
    until: Option<Moment>,
    /// Go on printing events as they come
    #[arg(short = 'f', long)]
    follow: bool,
    /// Only those with container=, event= or label= this
    #[arg(long = "filter", value_name = "KEY=VALUE")]
    filters: Vec<String>,
    /// As JSON, a line each
    #[arg(long, conflicts_with = "format")]
    json: bool,
    /// A template, or `json`
    #[arg(long, value_name = "TEMPLATE")]
    format: Option<String>,
}

/// Makes a line of an event.
type Printer = Box<dyn Fn(&Json) -> Result<String>>;

/// How often the file is looked at.
const TICK: Duration = Duration::from_millis(20);

impl Events {
    pub(in crate::cli) fn run(&self, dirs: &Dirs) -> Result<u8> {
        let store = container::open(dirs, &mut complain)?;
        let show = self.printer()?;
        let filters = self.filters.iter().map(|text| filter(text)).collect::<Result<Vec<_>>>()?;
        let mut reader = Reader::open(&store)?;
        loop {
            for event in reader.next()?.iter().filter(|event| self.is_in_time(event)) {
                if filters.iter().all(|(key, value)| fits(event, key, value)) {
                    // Nobody listens any more: that is how `-f` ends as a rule.
                    if writeln!(stdout(), "{}", show(event)?).is_err() {
                        return Ok(0);
                    }
                }
            }
            if !self.follow || self.until.is_some_and(|until| until <= Moment::now()) {
                return Ok(0);
            }
            sleep(TICK);
        }
    }

    fn printer(&self) -> Result<Printer> {
        Ok(match self.format.as_deref() {
            _ if self.json => Box::new(|event| Ok(event.to_string())),
            Some("json") => Box::new(|event| Ok(event.to_string())),
            Some(text) => {
                let template = Template::parse(text)?;
                Box::new(move |event| template.render(event))
            }
            None => Box::new(|event| Ok(line(event))),
        })
    }

    fn is_in_time(&self, event: &Json) -> bool {
        let time = i128::from(event["timeNano"].as_i64().unwrap_or_default());
        self.since.is_none_or(|since| time >= since.nanoseconds())
            && self.until.is_none_or(|until| time < until.nanoseconds())
    }
}

/// `TIME container ACTION ID (KEY=VALUE, ...)`.
fn line(event: &Json) -> String {
    let time = event["timeNano"].as_i64().and_then(|nanoseconds| Moment::from_nanoseconds(nanoseconds.into()));
    let attributes = event["Actor"]["Attributes"].as_object();
    let attributes: Vec<_> = attributes
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| Some(format!("{key}={}", value.as_str()?)))
        .collect();
    let text = |value: &Json| value.as_str().unwrap_or_default().to_owned();
    format!(
        "{} {} {} {} ({})",
        time.map(|time| time.to_string()).unwrap_or_default(),
        text(&event["Type"]),
        text(&event["Action"]),
        text(&event["Actor"]["ID"]),
        attributes.join(", ")
    )
}

fn filter(text: &str) -> Result<(String, String)> {
    match text.split_once('=') {
        Some((key @ ("container" | "event" | "label"), value)) => Ok((key.to_owned(), value.to_owned())),
        _ => Err(Error::new(format!("invalid filter {text:?}: expected container=, event= or label="))),
    }
}

fn fits(event: &Json, key: &str, value: &str) -> bool {
    let attributes = &event["Actor"]["Attributes"];
    match key {
        "container" => {
            attributes["name"] == value || event["Actor"]["ID"].as_str().is_some_and(|id| id.starts_with(value))
        }
        // Of `health_status: healthy` the first word will do.
        "event" => {
            let action = event["Action"].as_str().unwrap_or_default();
            action == value || action.split_once(": ").is_some_and(|(kind, _)| kind == value)
        }
        _ => match value.split_once('=') {
            Some((key, value)) => attributes[key] == value,
            None => attributes.get(value).is_some(),
        },
    }
}

/// A point in time as people write it.
fn time(text: &str) -> Result<Moment> {
    if let Ok(moment) = text.parse() {
        return Ok(moment);
    }
    if let Ok(seconds) = text.parse() {
        return Moment::from_seconds(seconds);
    }
    let unit = |unit: char| match unit {
        's' => Some(1),
        'm' => Some(60),
        'h' => Some(3600),
        'd' => Some(86_400),
        _ => None,
    };
    let seconds = text.chars().last().and_then(unit).and_then(|unit| {
        let number: u64 = text.get(..text.len() - 1)?.parse().ok()?;
        number.checked_mul(unit)
    });
    seconds.map(|seconds| Moment::ago(Duration::from_secs(seconds))).ok_or_else(|| {
        Error::new(format!("{text:?} is no time: expected 2026-01-31T12:00:00Z, seconds since 1970, or 10m"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_absolute_or_so_long_ago() {
        assert_eq!(time("1.5").unwrap().to_string(), "1970-01-01T00:00:01.5Z");
        assert!(time("2026-01-31T12:00:00Z").is_ok());
        assert!((599..602).contains(&time("10m").unwrap().elapsed().as_secs()));
        for bad in ["", "m", "-1m", "10x", "soon"] {
            assert!(time(bad).is_err(), "{bad:?}");
        }
    }
}
