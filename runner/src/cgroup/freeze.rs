//! Stopping all processes of a container where they are, and letting them go on.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::error::{Context, Error, Result};
use crate::sys::ns::in_initial_user;

/// Freezes (or thaws) everything in the groups `dirs` of one container, and waits until that is done.
///
/// Version 2 has a file for it in every group; version 1 has a controller, which must be mounted.
pub(crate) fn set(dirs: &[PathBuf], frozen: bool) -> Result<()> {
    let (file, words) = dirs.iter().find_map(|dir| switch(dir)).ok_or_else(impossible)?;
    let [thawed_word, frozen_word] = words;
    let word = if frozen { frozen_word } else { thawed_word };
    fs::write(&file, word).context(|| format!("write {word} to {}", file.display()))?;
    let start = Instant::now();
    while state(&file) != Some(frozen) {
        if start.elapsed() > PATIENCE {
            return Err(Error::new(format!("the kernel has not written {word} to {} in time", file.display())));
        }
        sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// Refuses the groups `dirs` if nothing in them can be frozen.
///
/// # Errors
/// It says why.
pub(crate) fn check(dirs: &[PathBuf]) -> Result<()> {
    dirs.iter().find_map(|dir| switch(dir)).map(drop).ok_or_else(impossible)
}

fn impossible() -> Error {
    match in_initial_user() {
        true => Error::new("there is no cgroup that could freeze the container (neither version 2 nor a freezer)"),
        false => super::undelegated("that could freeze the container"),
    }
}

/// A process in an uninterruptible sleep is frozen when it wakes.
const PATIENCE: Duration = Duration::from_secs(5);

/// Whether the container with the groups `dirs` is frozen.
pub(crate) fn is_frozen(dirs: &[PathBuf]) -> bool {
    dirs.iter().find_map(|dir| switch(dir)).and_then(|(file, _)| state(&file)).unwrap_or(false)
}

/// The file that freezes the group `dir`, with the words for thawed and frozen.
fn switch(dir: &Path) -> Option<(PathBuf, [&'static str; 2])> {
    let files = [("cgroup.freeze", ["0", "1"]), ("freezer.state", ["THAWED", "FROZEN"])];
    files.into_iter().map(|(name, words)| (dir.join(name), words)).find(|(file, _)| file.exists())
}

/// What has come of the order: in version 2 that is told by another file.
fn state(file: &Path) -> Option<bool> {
    if file.ends_with("freezer.state") {
        return Some(fs::read_to_string(file).ok()?.trim() == "FROZEN");
    }
    let events = fs::read_to_string(file.with_file_name("cgroup.events")).ok()?;
    Some(events.lines().any(|line| line == "frozen 1"))
}
