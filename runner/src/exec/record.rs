//! Which commands run in a container beside its own: a file for each, `STATE/ID/exec/EXECID`.
//!
//! They are for people who look. A file whose process is no more is left by an `xnet` that was killed, and means nothing.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::id::Name;
use crate::state::Task;

const DIR: &str = "exec";

#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    task: Task,
    argv: Vec<String>,
}

/// A command on record, until this is dropped.
#[derive(Debug)]
pub(super) struct Recorded(Option<PathBuf>);

impl Recorded {
    /// Writes down that `argv` runs as `task` in the container whose state is in `state`. Nothing depends on it, so nothing
    /// fails of it.
    pub(super) fn new(state: &Path, task: Task, argv: &[String]) -> Self {
        let dir = state.join(DIR);
        let _ = DirBuilder::new().mode(0o700).create(&dir);
        let entry = Entry { task, argv: argv.to_vec() };
        let written = Name::random().ok().and_then(|id| {
            let path = dir.join(id.as_str());
            fs::write(&path, serde_json::to_vec(&entry).ok()?).ok()?;
            Some(path)
        });
        Self(written)
    }
}

impl Drop for Recorded {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            let _ = fs::remove_file(path);
        }
    }
}

/// The ids of the commands that run beside the container's own.
pub(crate) fn ids(state: &Path) -> Vec<String> {
    let files = fs::read_dir(state.join(DIR)).into_iter().flatten().flatten();
    let alive = files.filter(|file| {
        let entry = fs::read(file.path()).ok().and_then(|text| serde_json::from_slice::<Entry>(&text).ok());
        entry.is_some_and(|entry| entry.task.is_alive())
    });
    let mut ids: Vec<_> = alive.filter_map(|file| file.file_name().into_string().ok()).collect();
    ids.sort();
    ids
}
