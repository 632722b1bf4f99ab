//! Files that plugins and runtimes keep, with their modes and bytes.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// One line for each file and directory under `root`, and none when it does not exist.
pub(crate) fn lines(root: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(root) else {
        return Vec::new();
    };
    let mut lines = Vec::new();
    for path in entries.map(|entry| entry.expect("read a directory").path()) {
        lines.extend(line(&path));
        if path.is_dir() {
            lines.extend(self::lines(&path));
        }
    }
    lines
}

/// What vanishes while it is looked at is not there.
fn line(path: &Path) -> Option<String> {
    let metadata = fs::symlink_metadata(path).ok()?;
    let mode = metadata.permissions().mode() & 0o7777;
    if metadata.is_dir() {
        return Some(format!("directory {} mode={mode:04o}", path.display()));
    }
    let content = if is_hidden(path) { "(a cache)".into() } else { fs::read(path).ok()? };
    Some(format!("file {} mode={mode:04o} {:?}", path.display(), String::from_utf8_lossy(&content)))
}

/// Hidden files and those in hidden directories are caches by convention; what is in them is nobody's business.
fn is_hidden(path: &Path) -> bool {
    path.components().any(|part| part.as_os_str().to_str().is_some_and(|name| name.starts_with('.')))
}
