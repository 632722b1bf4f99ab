//! What is kept of a container's output, and by whom.
//!
//! The drivers stand beside each other, each with options of its own. The one that gives the output to the host's journal keeps
//! a file beside it, unless told otherwise: so `xnet logs` works all the same, and what the journal did not take is not lost.

use std::collections::BTreeMap;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// `--log-driver` and `--log-opt`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Log {
    /// Who keeps it.
    pub driver: Driver,
    /// The size in bytes at which a file is full; none: it grows.
    pub max_size: Option<u64>,
    /// How many files there are, the one that is written to included; 0 is 1.
    pub max_files: u32,
    /// What the journal is told, and how much may wait for it.
    #[serde(default)]
    pub journal: Journal,
}

/// Who keeps the output.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Driver {
    /// A file with one JSON object per line: `{"log":"text\n","stream":"stdout","time":"..."}`.
    #[default]
    JsonFile,
    /// The journal of the host's systemd.
    Journald,
    /// Nobody.
    None,
}

/// The options of the driver `journald`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Journal {
    /// `tag`: a template for what the lines are found by; none: the beginning of the container's id.
    pub tag: Option<String>,
    /// `labels`: the labels that become fields of each line.
    pub labels: Vec<String>,
    /// `env`: the variables of the command's environment that become fields of each line.
    pub env: Vec<String>,
    /// `max-buffer-size`: how many bytes may wait for a journal that does not take them.
    pub buffer: usize,
    /// `cache-disabled`: nothing is kept in a file beside it.
    pub alone: bool,
}

/// What waits for the journal at most unless something else is asked for, as elsewhere.
const BUFFER: usize = 1 << 20;
/// The size of the files beside the journal, and their number, unless something else is asked for, as elsewhere.
const CACHE: (u64, u32) = (20 << 20, 5);

impl Default for Journal {
    fn default() -> Self {
        Self { tag: None, labels: Vec::new(), env: Vec::new(), buffer: BUFFER, alone: false }
    }
}

impl Driver {
    const ALL: [Self; 3] = [Self::JsonFile, Self::Journald, Self::None];

    /// As it is written on the command line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::JsonFile => "json-file",
            Self::Journald => "journald",
            Self::None => "none",
        }
    }
}

impl FromStr for Driver {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|driver| driver.as_str() == text)
            .ok_or_else(|| Error::new(format!("there is no log driver {text:?}: expected json-file, journald or none")))
    }
}

impl Log {
    /// The log that `driver` keeps with `options`, each of the form `KEY=VALUE`.
    ///
    /// # Errors
    ///
    /// An option that the driver does not have, or a value that it does not take.
    pub fn new(driver: Driver, options: &[String]) -> Result<Self> {
        let (max_size, max_files) = if driver == Driver::Journald { (Some(CACHE.0), CACHE.1) } else { (None, 1) };
        let mut log = Self { driver, max_size, max_files, journal: Journal::default() };
        for option in options {
            let (key, value) = option
                .split_once('=')
                .ok_or_else(|| Error::new(format!("invalid --log-opt {option:?}: expected KEY=VALUE")))?;
            log.set(key, value)?;
        }
        if log.max_files > 1 && log.max_size.is_none() {
            return Err(Error::new("--log-opt max-file needs max-size: a file that is never full has no successor"));
        }
        Ok(log)
    }

    fn set(&mut self, key: &str, value: &str) -> Result<()> {
        let invalid = |what| Error::new(format!("invalid --log-opt {key}={value}: expected {what}"));
        let bytes = || size(value).ok_or_else(|| invalid("a size such as 10m"));
        match (self.driver, key) {
            (Driver::JsonFile, "max-size") if value == "-1" => self.max_size = None,
            (Driver::JsonFile, "max-size") | (Driver::Journald, "cache-max-size") => self.max_size = Some(bytes()?),
            (Driver::JsonFile, "max-file") | (Driver::Journald, "cache-max-file") => {
                let count = value.parse().ok().filter(|count| (1..=1000).contains(count));
                self.max_files = count.ok_or_else(|| invalid("a number from 1 to 1000"))?;
            }
            (Driver::Journald, "cache-disabled") => {
                self.journal.alone = value.parse().map_err(|_| invalid("true or false"))?;
            }
            (Driver::Journald, "tag") => self.journal.tag = Some(value.to_owned()),
            (Driver::Journald, "labels") => self.journal.labels = names(key, value)?,
            (Driver::Journald, "env") => self.journal.env = names(key, value)?,
            (Driver::Journald, "mode") if value == "non-blocking" => {}
            (Driver::Journald, "mode") => {
                return Err(invalid("non-blocking, because no container waits for the journal here"));
            }
            (Driver::Journald, "max-buffer-size") => {
                self.journal.buffer = usize::try_from(bytes()?).unwrap_or(usize::MAX);
            }
            (driver, _) => {
                return Err(Error::new(format!("the log driver {} has no option {key:?}", driver.as_str())));
            }
        }
        Ok(())
    }

    /// Whether there is a file that `xnet logs` can read.
    #[must_use]
    pub fn has_file(&self) -> bool {
        match self.driver {
            Driver::JsonFile => true,
            Driver::Journald => !self.journal.alone,
            Driver::None => false,
        }
    }

    /// The options that were given, as they would be written. What is as it is without an option is not among them.
    #[must_use]
    pub fn options(&self) -> BTreeMap<&'static str, String> {
        let beside = self.driver == Driver::Journald;
        let (usual, size, files) = match beside {
            true => ((Some(CACHE.0), CACHE.1), "cache-max-size", "cache-max-file"),
            false => ((None, 1), "max-size", "max-file"),
        };
        let Journal { tag, labels, env, buffer, alone } = &self.journal;
        let given = |is_given: bool, text: String| Some(text).filter(|_| is_given);
        let all = [
            (size, self.max_size.filter(|_| self.max_size != usual.0).map(|bytes| bytes.to_string())),
            (files, given(self.max_files.max(1) != usual.1, self.max_files.to_string())),
            ("tag", tag.clone()),
            ("labels", given(!labels.is_empty(), labels.join(","))),
            ("env", given(!env.is_empty(), env.join(","))),
            ("max-buffer-size", given(*buffer != BUFFER, buffer.to_string())),
            ("cache-disabled", given(*alone, alone.to_string())),
        ];
        all.into_iter().filter_map(|(key, value)| Some((key, value?))).collect()
    }
}

/// The names in a list with commas, each of which can be a field.
fn names(key: &str, list: &str) -> Result<Vec<String>> {
    let check = |name: &str| match field_name(name) {
        Some(_) => Ok(name.to_owned()),
        None => Err(Error::new(format!(
            "invalid --log-opt {key}={list}: {name:?} cannot become a field of the journal; expected letters, digits and _, a \
             letter first, 64 at most, and no name that xnet gives to its own fields"
        ))),
    };
    list.split(',').filter(|name| !name.is_empty()).map(check).collect()
}

/// The field of the journal in which a label or variable `name` is, as elsewhere: in capitals, with `_` for what a field's name
/// cannot have. None if there can be no such field, or if it is one of those that every line has.
pub(crate) fn field_name(name: &str) -> Option<String> {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    let field: String = name.chars().map(plain).collect();
    let field = field.trim_start_matches('_');
    let ours = ["MESSAGE", "PRIORITY", "IMAGE_NAME", "SYSLOG_IDENTIFIER", "SYSLOG_TIMESTAMP"].contains(&field)
        || field.starts_with("CONTAINER_");
    let valid = field.starts_with(|c: char| c.is_ascii_uppercase()) && field.len() <= 64;
    (valid && !ours).then(|| field.to_owned())
}

/// A number of bytes, with k, m or g for powers of 1024.
fn size(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match text.get(digits.len()..)?.to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" => 10,
        "m" | "mb" => 20,
        "g" | "gb" => 30,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(1 << shift).filter(|bytes| *bytes > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(driver: Driver, options: &[&str]) -> Result<Log> {
        Log::new(driver, &options.iter().map(|o| (*o).to_owned()).collect::<Vec<_>>())
    }

    fn shown(log: &Log) -> Vec<String> {
        log.options().into_iter().map(|(key, value)| format!("{key}={value}")).collect()
    }

    #[test]
    fn options_read_back_as_given() {
        let parsed = log(Driver::JsonFile, &["max-size=10k", "max-file=3"]).unwrap();
        assert_eq!((parsed.max_size, parsed.max_files), (Some(10240), 3));
        assert_eq!(shown(&parsed), ["max-file=3", "max-size=10240"]);
        assert!(Driver::ALL.iter().all(|driver| log(*driver, &[]).unwrap().options().is_empty()));
        let given = ["tag={{.Name}}", "labels=a,com.example.b", "env=PATH", "cache-disabled=true", "mode=non-blocking"];
        let journal =
            log(Driver::Journald, &[&given[..], &["max-buffer-size=4k", "cache-max-file=2"]].concat()).unwrap();
        let expected = ["cache-disabled=true", "cache-max-file=2", "env=PATH", "labels=a,com.example.b"];
        assert_eq!(shown(&journal), [&expected[..], &["max-buffer-size=4096", "tag={{.Name}}"]].concat());
        assert_eq!((journal.has_file(), journal.max_size), (false, Some(20 << 20)));
    }

    #[test]
    fn what_a_driver_does_not_know_is_refused() {
        for bad in ["max-size=0", "max-size=x", "max-file=0", "max-file=2", "tag=x", "max-size"] {
            assert!(log(Driver::JsonFile, &[bad]).is_err(), "{bad}");
        }
        for bad in ["max-size=1m", "mode=blocking", "cache-disabled=maybe", "labels=message", "env=9x", "labels=a,_"] {
            assert!(log(Driver::Journald, &[bad]).is_err(), "{bad}");
        }
        assert!(log(Driver::None, &["max-size=1m"]).is_err());
        assert!("syslog".parse::<Driver>().is_err());
    }

    #[test]
    fn names_become_fields_as_the_journal_wants_them() {
        assert_eq!(field_name("com.example-x.y").as_deref(), Some("COM_EXAMPLE_X_Y"));
        assert_eq!(field_name("__hidden").as_deref(), Some("HIDDEN"));
        for none in ["", "_", "1st", "Message", "container_id"] {
            assert_eq!(field_name(none), None, "{none}");
        }
        assert_eq!(field_name(&"x".repeat(65)), None);
    }

    /// What was written down before there was a journal.
    #[test]
    fn a_container_of_an_earlier_xnet_keeps_its_log() {
        let old = r#"{"driver":"json-file","max_size":null,"max_files":1}"#;
        assert_eq!(serde_json::from_str::<Log>(old).unwrap(), log(Driver::JsonFile, &[]).unwrap());
    }
}
