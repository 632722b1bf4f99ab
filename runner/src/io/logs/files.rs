//! The files of a log.

use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::error::{Context, Result};

use super::super::log::{Entry, older};

/// One file, read up to somewhere.
#[derive(Debug)]
pub(super) struct LogFile {
    reader: BufReader<File>,
    /// Device and inode.
    identity: (u64, u64),
    /// The beginning of a line whose end is still to be written.
    part: Vec<u8>,
}

impl LogFile {
    fn open(path: &Path) -> std::io::Result<Option<Self>> {
        let file = match File::open(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        let meta = file.metadata()?;
        let identity = (meta.dev(), meta.ino());
        Ok(Some(Self { reader: BufReader::new(file), identity, part: Vec::new() }))
    }

    /// Whether it is the same file as `other`.
    pub(super) fn is(&self, other: &Self) -> bool {
        self.identity == other.identity
    }

    /// The next entry that is complete. A line that is none was torn by a crash and is skipped.
    pub(super) fn next(&mut self) -> std::io::Result<Option<Entry>> {
        loop {
            self.reader.read_until(b'\n', &mut self.part)?;
            if !self.part.ends_with(b"\n") {
                return Ok(None);
            }
            let entry = serde_json::from_slice(&self.part);
            self.part.clear();
            if let Ok(entry) = entry {
                return Ok(Some(entry));
            }
        }
    }

    /// Goes to the beginning of the last `lines` lines. Answers how many there are, if they are fewer.
    fn seek_last(&mut self, lines: usize) -> std::io::Result<usize> {
        let file = self.reader.get_mut();
        let (mut end, mut found, mut buffer) = (file.seek(SeekFrom::End(0))?, 0, vec![0; CHUNK]);
        let mut start = 0;
        while end > 0 && start == 0 {
            let length = buffer.len().min(usize::try_from(end).unwrap_or(usize::MAX));
            let begin = end - length as u64;
            let chunk = buffer.get_mut(..length).unwrap_or_default();
            file.seek(SeekFrom::Start(begin))?;
            file.read_exact(chunk)?;
            for at in (0..length).rev().filter(|at| chunk.get(*at) == Some(&b'\n')) {
                if found == lines {
                    start = begin + at as u64 + 1;
                    break;
                }
                found += 1;
            }
            end = begin;
        }
        self.reader.seek(SeekFrom::Start(start))?;
        Ok(found)
    }
}

/// How much is read at once on the way back.
const CHUNK: usize = 64 * 1024;

/// All files of the log at `path`, the oldest first.
pub(super) fn all(path: &Path) -> Result<Vec<LogFile>> {
    let what = || format!("open the log {}", path.display());
    let mut tries = 0..TRIES;
    loop {
        let files = list(path).context(what)?;
        let newest = LogFile::open(path).context(what)?;
        let same = newest.zip(files.last()).is_none_or(|(now, then)| now.is(then));
        // If a file has become full meanwhile, the names were those of other files before that and after.
        if same || tries.next().is_none() {
            return Ok(files);
        }
    }
}

/// More files than can become full while a few are opened.
const TRIES: u32 = 100;

fn list(path: &Path) -> std::io::Result<Vec<LogFile>> {
    let mut files: Vec<LogFile> = LogFile::open(path)?.into_iter().collect();
    let mut missing = 0;
    for age in 1.. {
        match LogFile::open(&older(path, age))? {
            // It has just been renamed, from the name before.
            Some(file) if files.iter().any(|known| known.is(&file)) => {}
            Some(file) => files.push(file),
            // While names are being shifted, one is nobody's.
            None if missing == 0 => missing += 1,
            None => break,
        }
    }
    files.reverse();
    Ok(files)
}

/// Goes to the beginning of the last `lines` lines of all `files` together.
pub(super) fn skip_to_last(files: &mut [LogFile], mut lines: usize) -> Result<()> {
    for file in files.iter_mut().rev() {
        lines -= file.seek_last(lines).context(|| "read the log")?.min(lines);
    }
    Ok(())
}
