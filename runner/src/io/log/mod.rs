//! Keeping the output: lines, as they are complete, each with its time.
//!
//! Those who keep them stand beside each other: a file, the journal, or both. The file's format is the one that log collectors know:
//! `{"log":"text\n","stream":"stdout","time":"2026-11-22T10:00:00.1Z"}`. A line without its newline is one that goes on in the
//! next entry of its stream, or the last before the end.

mod file;
mod journal;
mod lines;

use std::fmt;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::spec::{self, Driver, Spec};

use file::Rotating;
use journal::Journal;
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
#[derive(Debug, Default)]
pub(crate) struct Log {
    drivers: Drivers,
    lines: [Lines; 2],
}

/// Those who keep lines, beside each other.
#[derive(Debug, Default)]
struct Drivers {
    file: Option<Rotating>,
    journal: Option<Journal>,
}

/// Refuses a container whose output cannot go where it shall be kept. To be asked before anything is made.
///
/// # Errors
///
/// What is missing, and what to do about it.
pub(crate) fn check(spec: &Spec) -> Result<()> {
    journal::check(spec)
}

impl Log {
    /// The log of the container `spec`, whose directory is `data`. What it has said before stays.
    ///
    /// # Errors
    ///
    /// When the file cannot be opened. That the journal is gone is no error: it may come again.
    pub(crate) fn of(spec: &Spec, data: &Path) -> Result<Self> {
        let mut log = Self::open(&spec.io.log, &path(data, spec.id.as_str()))?;
        if spec.io.log.driver == Driver::Journald {
            log.drivers.journal = Some(Journal::of(spec)?);
        }
        Ok(log)
    }

    /// The file of the log that `spec` asks for, `path`, which is continued if it exists.
    ///
    /// # Errors
    ///
    /// When the file cannot be opened.
    pub(crate) fn open(spec: &spec::Log, path: &Path) -> Result<Self> {
        let open = || Rotating::open(path, spec.max_size, spec.max_files);
        let file = spec.has_file().then(open).transpose()?;
        Ok(Self { drivers: Drivers { file, journal: None }, ..Self::default() })
    }

    /// Keeps nothing.
    pub(crate) fn none() -> Self {
        Self::default()
    }

    /// Takes what `stream` has said now.
    pub(crate) fn write(&mut self, stream: Stream, bytes: &[u8]) {
        if self.keeps() {
            let lines = &mut self.lines[usize::from(stream == Stream::Stderr)];
            lines.push(bytes, |line| self.drivers.append(stream, line, !line.ends_with(b"\n")));
            self.drivers.flush();
        }
    }

    /// How much of what `stream` has said has not been written, because the end of the line is still to come.
    pub(crate) fn unwritten(&self, stream: Stream) -> usize {
        self.lines[usize::from(stream == Stream::Stderr)].pending()
    }

    /// How far the file has got.
    pub(crate) fn mark(&self) -> Mark {
        self.drivers.file.as_ref().map(Rotating::mark).unwrap_or_default()
    }

    /// Forgets what was written to the file since `mark`. What the journal has got meanwhile it will have twice.
    pub(crate) fn rewind(&mut self, mark: Mark) {
        if let Some(file) = &mut self.drivers.file {
            file.rewind(mark);
        }
    }

    /// Whether anything is kept.
    pub(crate) fn keeps(&self) -> bool {
        self.drivers.file.is_some() || self.drivers.journal.is_some()
    }

    /// How many lines the journal has not got.
    pub(crate) fn owed(&self) -> u64 {
        self.drivers.journal.as_ref().map_or(0, Journal::owed)
    }

    /// So many lines for the journal were lost with the process that had this log before.
    pub(crate) fn lost(&mut self, lines: u64) {
        self.drivers.journal.iter_mut().for_each(|journal| journal.lost(lines));
    }

    /// The journal's descriptor, and whether something waits until it can be written to: then [`Log::hand_over`] is to be called.
    pub(crate) fn watched(&self) -> Option<(BorrowedFd<'_>, bool)> {
        self.drivers.journal.as_ref().map(Journal::watched)
    }

    /// Whether something waits for a journal that is gone: then [`Log::hand_over`] is to be called now and then.
    pub(crate) fn is_deserted(&self) -> bool {
        self.drivers.journal.as_ref().is_some_and(Journal::is_deserted)
    }

    /// Hands over what waits for the journal.
    pub(crate) fn hand_over(&mut self) {
        if let Some(journal) = &mut self.drivers.journal {
            journal.retry();
            journal.flush();
        }
    }

    /// Writes what has no end of line, because no more will come.
    pub(crate) fn finish(&mut self) {
        for (stream, lines) in [Stream::Stdout, Stream::Stderr].into_iter().zip(&mut self.lines) {
            if let Some(line) = lines.rest() {
                self.drivers.append(stream, &line, false);
            }
        }
        self.drivers.flush();
        self.drivers.journal.iter_mut().for_each(Journal::finish);
    }
}

impl Drivers {
    /// Gives them one line, or a part of one that `goes_on`.
    fn append(&mut self, stream: Stream, line: &[u8], goes_on: bool) {
        let time = Timestamp::now();
        if let Some(file) = &mut self.file {
            file.append(&Entry { log: String::from_utf8_lossy(line).into_owned(), stream, time });
        }
        if let Some(journal) = &mut self.journal {
            journal.append(stream, line, goes_on, time);
        }
    }

    fn flush(&mut self) {
        self.file.iter_mut().for_each(Rotating::flush);
        self.journal.iter_mut().for_each(Journal::flush);
    }
}

impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        })
    }
}
