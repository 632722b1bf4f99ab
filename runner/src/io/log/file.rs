//! A file of log entries that makes room for itself.
//!
//! A full file is renamed to `NAME.1` (and that one to `NAME.2`, and so on, until the last is dropped), and a new one is
//! begun. A reader that follows the old one finds its end, and sees by the inode that the name belongs to another.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::libc;

use crate::error::{Context, Result};

use super::{Entry, Mark, older};

/// The current file and its size.
#[derive(Debug)]
pub(super) struct Rotating {
    path: PathBuf,
    file: File,
    size: u64,
    max_size: u64,
    max_files: u32,
    /// Entries that have not reached the file: one write for many lines.
    pending: Vec<u8>,
}

impl Rotating {
    /// Opens `path` for appending.
    pub(super) fn open(path: &Path, max_size: Option<u64>, max_files: u32) -> Result<Self> {
        let file = open(path).context(|| format!("open the log {}", path.display()))?;
        let size = file.metadata().context(|| format!("look at {}", path.display()))?.len();
        let max_size = max_size.unwrap_or(u64::MAX);
        Ok(Self { path: path.to_owned(), file, size, max_size, max_files: max_files.max(1), pending: Vec::new() })
    }

    /// Adds one entry. What cannot be written is lost: the container must not suffer from a full disk.
    pub(super) fn append(&mut self, entry: &Entry) {
        let start = self.pending.len();
        if serde_json::to_writer(&mut self.pending, entry).is_err() {
            self.pending.truncate(start);
            return;
        }
        self.pending.push(b'\n');
        let length = (self.pending.len() - start) as u64;
        if self.size > 0 && self.size.saturating_add(length) > self.max_size {
            let entry = self.pending.split_off(start);
            self.flush();
            self.rotate();
            self.pending = entry;
        }
        self.size += length;
    }

    /// Writes what is pending.
    pub(super) fn flush(&mut self) {
        if !self.pending.is_empty() && self.file.write_all(&self.pending).is_err() {
            // A torn line must not swallow the next whole one.
            let _ = self.file.write_all(b"\n");
        }
        self.pending.clear();
    }

    /// How far it has got; what is pending is not there yet.
    pub(super) fn mark(&self) -> Mark {
        self.file.metadata().map(|meta| Mark { inode: meta.ino(), length: meta.len() }).unwrap_or_default()
    }

    /// Cuts off what was written since `mark`, also in files that were begun since. If the marked file is gone, nothing is known of what
    /// came after it.
    pub(super) fn rewind(&mut self, mark: Mark) {
        let mut newer = Vec::new();
        for age in 0..self.max_files {
            let path = if age == 0 { self.path.clone() } else { older(&self.path, age) };
            let Ok(file) = open(&path) else { continue };
            let there = file.metadata().map(|meta| (meta.ino() == mark.inode, meta.len())).unwrap_or_default();
            if there.0 && there.1 >= mark.length {
                let _ = file.set_len(mark.length);
                newer.iter().for_each(|file: &File| drop(file.set_len(0)));
                break;
            }
            newer.push(file);
        }
        self.size = self.mark().length;
    }

    fn rotate(&mut self) {
        let last = self.max_files - 1;
        for age in (1..last).rev() {
            let _ = fs::rename(older(&self.path, age), older(&self.path, age + 1));
        }
        let _ = if last == 0 { fs::remove_file(&self.path) } else { fs::rename(&self.path, older(&self.path, 1)) };
        if let Ok(file) = open(&self.path) {
            self.file = file;
        }
        self.size = 0;
    }
}

fn open(path: &Path) -> std::io::Result<File> {
    let flags = libc::O_NOFOLLOW | libc::O_CLOEXEC;
    OpenOptions::new().append(true).create(true).mode(0o640).custom_flags(flags).open(path)
}

#[cfg(test)]
mod tests {
    use super::super::Stream;
    use super::*;

    fn entry(text: &str) -> Entry {
        Entry { log: text.to_owned(), stream: Stream::Stdout, time: "2026-11-22T10:00:00.5Z".parse().unwrap() }
    }

    /// Requirement: F-logs.
    #[test]
    fn entries_are_written_as_collectors_expect_them() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut file = Rotating::open(&path, None, 1).unwrap();
        file.append(&entry("a \"b\"\n"));
        file.flush();
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text, "{\"log\":\"a \\\"b\\\"\\n\",\"stream\":\"stdout\",\"time\":\"2026-11-22T10:00:00.5Z\"}\n");
    }

    /// Requirement: F-logs.
    #[test]
    fn full_files_are_renamed_and_the_oldest_is_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut file = Rotating::open(&path, Some(150), 3).unwrap();
        for n in 0..8 {
            file.append(&entry(&format!("line {n}\n")));
            file.flush();
        }
        let lines = |path: PathBuf| fs::read_to_string(path).unwrap().matches("line ").count();
        assert_eq!([lines(path.clone()), lines(older(&path, 1)), lines(older(&path, 2))], [2, 2, 2]);
        assert!(!older(&path, 3).exists());
        assert!(fs::read_to_string(&path).unwrap().contains("line 7"));
    }

    #[test]
    fn a_single_file_begins_anew() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut file = Rotating::open(&path, Some(100), 1).unwrap();
        (0..5).for_each(|n| file.append(&entry(&format!("line {n}\n"))));
        file.flush();
        assert!(fs::read_to_string(&path).unwrap().contains("line 4"));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_came_after_a_mark_is_forgotten_in_whatever_file_it_is() {
        for entries in [1, 3, 7] {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("log");
            let mut file = Rotating::open(&path, Some(150), 5).unwrap();
            file.append(&entry("kept\n"));
            file.flush();
            let mark = file.mark();
            (0..entries).for_each(|n| file.append(&entry(&format!("forgotten {n}\n"))));
            file.flush();
            let mut file = Rotating::open(&path, Some(150), 5).unwrap();
            file.rewind(mark);
            file.append(&entry("again\n"));
            file.flush();
            let text = |path: PathBuf| fs::read_to_string(path).unwrap_or_default();
            let all: String = (1..5).rev().map(|age| text(older(&path, age))).chain([text(path.clone())]).collect();
            let said: Vec<_> = all.lines().map(|line| serde_json::from_str::<Entry>(line).unwrap().log).collect();
            assert_eq!(said, ["kept\n", "again\n"], "{entries}");
        }
    }
}
