//! Keeping the output: lines, as they are complete, each with its time.
//!
//! The format is the one that log collectors know: `{"log":"text\n","stream":"stdout","time":"2026-11-22T10:00:00.1Z"}`.
//! A line without its newline is one that goes on in the next entry of its stream, or the last before the end.

mod file;
mod lines;

use std::fmt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::spec::{self, Driver};

use file::Rotating;
use lines::Lines;

/// Which of the two outputs. A terminal has only the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// One line of a log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// What was written, with its newline. Bytes that are no UTF-8 have become U+FFFD.
    pub(crate) log: String,
    /// Where to.
    pub(crate) stream: Stream,
    /// When it was read.
    pub(crate) time: Timestamp,
}

/// A place in a log: a file, and its length then.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Mark {
    /// Which file; 0 for none.
    pub(crate) inode: u64,
    /// How long it was.
    pub(crate) length: u64,
}

/// The log of container `id`, whose directory is `data`.
pub(crate) fn path(data: &Path, id: &str) -> PathBuf {
    data.join(format!("{id}-json.log"))
}

/// The name of the file that came `age` files before the current one.
pub(crate) fn older(path: &Path, age: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{age}"));
    name.into()
}

/// Where output goes to be kept.
#[derive(Debug)]
pub(crate) struct Log {
    file: Option<Rotating>,
    lines: [Lines; 2],
}

impl Log {
    /// The log that `spec` asks for, in the file `path`, which is continued if it exists.
    ///
    /// # Errors
    ///
    /// When the file cannot be opened.
    pub(crate) fn open(spec: &spec::Log, path: &Path) -> Result<Self> {
        let file = match spec.driver {
            Driver::JsonFile => Some(Rotating::open(path, spec.max_size, spec.max_files)?),
            Driver::None => None,
        };
        Ok(Self { file, lines: Default::default() })
    }

    /// Keeps nothing.
    pub(crate) fn none() -> Self {
        Self { file: None, lines: Default::default() }
    }

    /// Takes what `stream` has said now.
    pub(crate) fn write(&mut self, stream: Stream, bytes: &[u8]) {
        let Some(file) = &mut self.file else { return };
        let lines = &mut self.lines[usize::from(stream == Stream::Stderr)];
        lines.push(bytes, |line| file.append(&entry(stream, line)));
        file.flush();
    }

    /// How much of what `stream` has said has not been written, because the end of the line is still to come.
    pub(crate) fn unwritten(&self, stream: Stream) -> usize {
        self.lines[usize::from(stream == Stream::Stderr)].pending()
    }

    /// How far it has got.
    pub(crate) fn mark(&self) -> Mark {
        self.file.as_ref().map(Rotating::mark).unwrap_or_default()
    }

    /// Forgets what was written since `mark`.
    pub(crate) fn rewind(&mut self, mark: Mark) {
        if let Some(file) = &mut self.file {
            file.rewind(mark);
        }
    }

    /// Whether anything is kept.
    pub(crate) fn keeps(&self) -> bool {
        self.file.is_some()
    }

    /// Writes what has no end of line, because no more will come.
    pub(crate) fn finish(&mut self) {
        let Some(file) = &mut self.file else { return };
        for (stream, lines) in [Stream::Stdout, Stream::Stderr].into_iter().zip(&mut self.lines) {
            if let Some(line) = lines.rest() {
                file.append(&entry(stream, &line));
            }
        }
        file.flush();
    }
}

fn entry(stream: Stream, line: &[u8]) -> Entry {
    Entry { log: String::from_utf8_lossy(line).into_owned(), stream, time: Timestamp::now() }
}

impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        })
    }
}
