//! What has happened to containers, in order: `STATE/events.log`, a line of JSON each.
//!
//! Whoever does something appends a line, in one write. Nobody waits for readers, and an event that cannot be written is
//! lost rather than in the way. When the file has grown, it is renamed once, and a new one begins.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value as Json, json};

use crate::error::{Context, Result};
use crate::moment::Moment;
use crate::spec::Spec;

use super::store::Store;

const FILE: &str = "events.log";
const OLD: &str = "events.log.1";
/// When a file is full, in bytes.
const FULL: u64 = 4 << 20;

/// Writes down that `action` has happened to the container `spec`. `attributes` are added to its name and labels.
pub(crate) fn append(store: &Store, spec: &Spec, action: &str, attributes: &[(&str, String)]) {
    let now = Moment::now();
    let mut all: Map<_, _> = spec.life.labels.iter().map(|(key, value)| (key.clone(), value.as_str().into())).collect();
    all.insert("name".to_owned(), spec.name.as_ref().map_or("", |name| name.as_str()).into());
    all.insert("image".to_owned(), spec.root.rootfs.to_string().into());
    all.extend(attributes.iter().map(|(key, value)| ((*key).to_owned(), value.as_str().into())));
    let nanoseconds = i64::try_from(now.nanoseconds()).unwrap_or_default();
    let event = json!({
        "Type": "container",
        "Action": action,
        "Actor": { "ID": spec.id, "Attributes": all },
        "scope": "local",
        "time": nanoseconds / 1_000_000_000,
        "timeNano": nanoseconds,
    });
    let _ = write(store.root(), &event);
}

fn write(root: &Path, event: &Json) -> std::io::Result<()> {
    let path = root.join(FILE);
    let mut options = OpenOptions::new();
    options.append(true).create(true).mode(0o600).custom_flags(nix::libc::O_NOFOLLOW);
    let mut file = options.open(&path)?;
    file.write_all(format!("{event}\n").as_bytes())?;
    if file.metadata()?.size() > FULL {
        fs::rename(&path, root.join(OLD))?;
    }
    Ok(())
}

/// The exit status of the last container to end of which `is_meant` says so, if that is on record: with `--rm`, nothing else
/// of it may be left. None inside if nobody knows the status.
pub(crate) fn last_end(store: &Store, is_meant: impl Fn(&Json) -> bool) -> Option<Option<u8>> {
    let events = Reader::open(store).and_then(|mut reader| reader.next()).ok()?;
    let end = events.iter().rev().find(|event| event["Action"] == "die" && is_meant(event))?;
    Some(end["Actor"]["Attributes"]["exitCode"].as_str().and_then(|code| code.parse().ok()))
}

/// Reads events as they come.
#[derive(Debug)]
pub(crate) struct Reader {
    path: PathBuf,
    file: Option<fs::File>,
    /// The beginning of a line whose end is yet to come.
    rest: String,
}

impl Reader {
    /// From the oldest event on record.
    pub(crate) fn open(store: &Store) -> Result<Self> {
        let mut reader = Self { path: store.root().join(OLD), file: None, rest: String::new() };
        reader.file = reader.try_open()?;
        reader.path = store.root().join(FILE);
        Ok(reader)
    }

    fn try_open(&self) -> Result<Option<fs::File>> {
        match fs::File::open(&self.path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            file => file.map(Some).context(|| format!("open {}", self.path.display())),
        }
    }

    /// The events that have come since the last call, oldest first.
    pub(crate) fn next(&mut self) -> Result<Vec<Json>> {
        let mut events = Vec::new();
        loop {
            if let Some(file) = &mut self.file {
                file.read_to_string(&mut self.rest).context(|| format!("read {}", self.path.display()))?;
                let whole = self.rest.rfind('\n').map_or(0, |end| end + 1);
                let lines: String = self.rest.drain(..whole).collect();
                events.extend(lines.lines().filter_map(|line| serde_json::from_str(line).ok()));
            }
            // Another file may have begun; the old one was read to its end.
            match self.try_open()? {
                Some(new) if !self.is_open(&new) => self.file = Some(new),
                _ => return Ok(events),
            }
        }
    }

    fn is_open(&self, other: &fs::File) -> bool {
        let inode = |file: &fs::File| file.metadata().map(|meta| meta.ino()).ok();
        self.file.as_ref().is_some_and(|file| inode(file) == inode(other))
    }
}
