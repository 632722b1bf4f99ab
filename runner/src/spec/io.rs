//! How a container's standard streams are connected, and what is kept of its output.

use std::collections::BTreeMap;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// The input and output part of a container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Io {
    /// `-t`: a terminal of its own instead of three streams.
    pub tty: bool,
    /// How large the terminal is at first; none when nobody is there to see it.
    pub size: Option<Size>,
    /// `-i`: what becomes of its standard input.
    pub stdin: Stdin,
    /// `-a`, or what the command line means without it: which streams the caller is connected to.
    pub attach: Attach,
    /// What is kept of the output.
    pub log: Log,
}

/// The size of a terminal, in characters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Size {
    /// Lines.
    pub rows: u16,
    /// Columns.
    pub cols: u16,
}

/// A container's standard input.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stdin {
    /// Empty: the container's own `/dev/null`.
    #[default]
    Closed,
    /// Open for everybody who attaches, and never at its end: `-i` with `-d`.
    Open,
    /// That of the first who attaches, and at its end with it: `-i` in the foreground.
    Once,
}

/// The streams to which the one who starts a container is connected.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attach {
    /// Standard input.
    pub stdin: bool,
    /// Standard output.
    pub stdout: bool,
    /// Standard error.
    pub stderr: bool,
}

/// `--log-driver` and `--log-opt`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Log {
    /// Who keeps it.
    pub driver: Driver,
    /// The size in bytes at which a file is full; none: it grows.
    pub max_size: Option<u64>,
    /// How many files there are, the one that is written to included; 0 is 1.
    pub max_files: u32,
}

/// Who keeps the output.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Driver {
    /// A file with one JSON object per line: `{"log":"text\n","stream":"stdout","time":"..."}`.
    #[default]
    JsonFile,
    /// Nobody.
    None,
}

impl Driver {
    /// As it is written on the command line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::JsonFile => "json-file",
            Self::None => "none",
        }
    }
}

impl FromStr for Driver {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        [Self::JsonFile, Self::None]
            .into_iter()
            .find(|driver| driver.as_str() == text)
            .ok_or_else(|| Error::new(format!("there is no log driver {text:?}: expected json-file or none")))
    }
}

impl Log {
    /// The log that `driver` keeps with `options`, each of the form `KEY=VALUE`.
    ///
    /// # Errors
    ///
    /// An option that the driver does not have, or a value that it does not take.
    pub fn new(driver: Driver, options: &[String]) -> Result<Self> {
        let mut log = Self { driver, max_size: None, max_files: 1 };
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
        match (self.driver, key) {
            (Driver::JsonFile, "max-size") => {
                self.max_size =
                    if value == "-1" { None } else { Some(size(value).ok_or_else(|| invalid("a size such as 10m"))?) };
            }
            (Driver::JsonFile, "max-file") => {
                let count = value.parse().ok().filter(|count| (1..=1000).contains(count));
                self.max_files = count.ok_or_else(|| invalid("a number from 1 to 1000"))?;
            }
            (driver, _) => {
                return Err(Error::new(format!("the log driver {} has no option {key:?}", driver.as_str())));
            }
        }
        Ok(())
    }

    /// The options that were given, as they would be written.
    #[must_use]
    pub fn options(&self) -> BTreeMap<&'static str, String> {
        let mut all = BTreeMap::new();
        all.extend(self.max_size.map(|bytes| ("max-size", bytes.to_string())));
        if self.max_files > 1 {
            all.insert("max-file", self.max_files.to_string());
        }
        all
    }
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

    fn log(options: &[&str]) -> Result<Log> {
        Log::new(Driver::JsonFile, &options.iter().map(|o| (*o).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn options_read_back_as_given() {
        let parsed = log(&["max-size=10k", "max-file=3"]).unwrap();
        assert_eq!((parsed.max_size, parsed.max_files), (Some(10240), 3));
        let shown: Vec<_> = parsed.options().into_iter().collect();
        assert_eq!(shown, [("max-file", "3".to_owned()), ("max-size", "10240".to_owned())]);
        assert!(log(&[]).unwrap().options().is_empty());
    }

    #[test]
    fn what_a_driver_does_not_know_is_refused() {
        for bad in ["max-size=0", "max-size=x", "max-file=0", "max-file=2", "tag=x", "max-size"] {
            assert!(log(&[bad]).is_err(), "{bad}");
        }
        assert!(Log::new(Driver::None, &["max-size=1m".to_owned()]).is_err());
        assert!("syslog".parse::<Driver>().is_err());
    }
}
