//! What is known about a container: the directory `ROOT/ID`, mode 0700.
//!
//!  * `config.json`: the configuration as it was when the container was created;
//!  * `state.json`: groups and processes, written down before they are made, and replaced as a whole;
//!  * `start`: the gate, as long as the container waits at it;
//!  * `lock`: held by whoever changes something.
//!
//! Statuses are not stored. They follow from whether the first process lives and whether the gate is there.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, DirBuilder, File};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::cgroup::freeze;
use crate::cgroup::systemd::Unit;
use crate::error::{Context, Error, Result};
use crate::moment::Moment;
use crate::state::Task;

use super::{bundle, gate};

const STATE: &str = "state.json";
const LOCK: &str = "lock";

/// The version of the specification that is spoken.
pub(crate) const OCI_VERSION: &str = "1.2.0";

/// The containers of one engine.
#[derive(Debug, Clone)]
pub(crate) struct Home(PathBuf);

/// What is written down about a container.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Record {
    /// Its id.
    pub(crate) id: String,
    /// The directory that it was created from.
    pub(crate) bundle: PathBuf,
    /// The directory that it sees as `/`.
    pub(crate) rootfs: PathBuf,
    /// When it was created.
    pub(crate) created: Moment,
    /// Its groups, in all hierarchies.
    pub(crate) groups: Vec<PathBuf>,
    /// The group, relative to the root of each hierarchy.
    pub(crate) group: PathBuf,
    /// Its first process, once there is one.
    pub(crate) init: Task,
    /// Whether all is set up.
    pub(crate) ready: bool,
    /// What the engine wants to be remembered.
    pub(crate) annotations: BTreeMap<String, String>,
    /// Whether `--systemd-cgroup` was given.
    pub(crate) systemd: bool,
    /// The scope, with it.
    #[serde(default)]
    pub(crate) scope: Option<Unit>,
}

/// Where a container stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    /// Being made.
    Creating,
    /// Waiting to be started.
    Created,
    /// The command was executed.
    Running,
    /// Its processes are frozen.
    Paused,
    /// The first process has ended.
    Stopped,
}

/// A container that this process may change.
#[derive(Debug)]
pub(crate) struct Held {
    /// Its directory.
    pub(crate) dir: PathBuf,
    /// What is known about it.
    pub(crate) record: Record,
    _lock: Flock<File>,
}

impl Home {
    /// The containers below `root`.
    pub(crate) fn new(root: PathBuf) -> Self {
        Self(root)
    }

    fn dir(&self, id: &str) -> Result<PathBuf> {
        check_id(id).map(|()| self.0.join(id))
    }

    /// Refuses an id that is taken.
    pub(crate) fn check_new(&self, id: &str) -> Result<()> {
        if self.dir(id)?.exists() { Err(exists(id)) } else { Ok(()) }
    }

    /// Makes the directory of a new container, with the text of its configuration.
    pub(crate) fn create(&self, record: Record, config: &[u8]) -> Result<Held> {
        let dir = self.dir(&record.id)?;
        let what = || format!("make {}", dir.display());
        DirBuilder::new()
            .recursive(true)
            .mode(0o711)
            .create(&self.0)
            .context(|| format!("make {}", self.0.display()))?;
        match DirBuilder::new().mode(0o700).create(&dir) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                return Err(exists(&record.id));
            }
            made => made.context(what)?,
        }
        let lock = lock(&dir)?;
        let held = Held { dir, record, _lock: lock };
        let kept = replace(&held.dir, bundle::CONFIG, config).and_then(|()| held.save());
        kept.inspect_err(|_| drop(fs::remove_dir_all(&held.dir)))?;
        Ok(held)
    }

    /// What is known about a container.
    pub(crate) fn read(&self, id: &str) -> Result<(PathBuf, Record)> {
        let dir = self.dir(id)?;
        let path = dir.join(STATE);
        let text = match fs::read(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(Error::new(format!("container {id:?} does not exist")));
            }
            text => text.context(|| format!("read {}", path.display()))?,
        };
        bundle::decode(&text, &path).map(|record| (dir, record))
    }

    /// Takes a container, to change it. Waits for others who do.
    pub(crate) fn hold(&self, id: &str) -> Result<Held> {
        let (dir, _) = self.read(id)?;
        let lock = lock(&dir)?;
        // It may have been changed, or removed, by those who were waited for.
        let (dir, record) = self.read(id)?;
        Ok(Held { dir, record, _lock: lock })
    }

    /// Removes what a `create` has left that was killed before it had written anything down. Answers whether there was one.
    pub(crate) fn remove_unwritten(&self, id: &str) -> Result<bool> {
        let dir = self.dir(id)?;
        if !dir.is_dir() || dir.join(STATE).exists() {
            return Ok(false);
        }
        let _lock = lock(&dir)?;
        fs::remove_dir_all(&dir).context(|| format!("remove {}", dir.display()))?;
        Ok(true)
    }

    /// All containers, by id.
    pub(crate) fn all(&self) -> Result<Vec<(PathBuf, Record)>> {
        let entries = match fs::read_dir(&self.0) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.context(|| format!("list {}", self.0.display()))?,
        };
        let mut ids: Vec<_> = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
        ids.sort();
        // One that goes in this moment, or is just coming, is not there.
        Ok(ids.iter().filter_map(|id| self.read(id).ok()).collect())
    }
}

/// In words that engines know.
fn exists(id: &str) -> Error {
    Error::new(format!("container with given ID already exists: {id}"))
}

/// Engines choose ids. They end up in paths, so they are words.
fn check_id(id: &str) -> Result<()> {
    let legal = |b: u8| b.is_ascii_alphanumeric() || b"_+-.".contains(&b);
    if !id.is_empty() && id.len() <= 255 && id.bytes().all(legal) && id != "." && id != ".." {
        return Ok(());
    }
    Err(Error::new(format!("invalid container id {id:?}: expected letters, digits, '_', '+', '-' and '.'")))
}

fn lock(dir: &Path) -> Result<Flock<File>> {
    let path = dir.join(LOCK);
    let what = || format!("lock {}", path.display());
    let file = File::options().create(true).truncate(false).write(true).open(&path).context(what)?;
    Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| errno).context(what)
}

/// Writes a file so that others see the old text or the new one, whole.
fn replace(dir: &Path, name: &str, text: &[u8]) -> Result<()> {
    let (new, path) = (dir.join(format!(".{name}.new")), dir.join(name));
    let write = || {
        let mut file = File::create(&new)?;
        file.write_all(text)?;
        fs::rename(&new, &path)
    };
    write().context(|| format!("write {}", path.display()))
}

impl Held {
    /// Writes down what is known.
    pub(crate) fn save(&self) -> Result<()> {
        let text = serde_json::to_vec(&self.record).context(|| "encode the state")?;
        replace(&self.dir, STATE, &text)
    }

    /// Where it stands.
    pub(crate) fn status(&self) -> Status {
        self.record.status(&self.dir)
    }

    /// Its state, for hooks.
    pub(crate) fn for_hooks(&self, status: Status) -> String {
        self.record.oci(status).to_string()
    }

    /// Removes all that is known.
    pub(crate) fn forget(self) -> Result<()> {
        fs::remove_dir_all(&self.dir).context(|| format!("remove {}", self.dir.display()))
    }
}

impl Record {
    /// Where the container with directory `dir` stands.
    pub(crate) fn status(&self, dir: &Path) -> Status {
        match (self.init.is_alive(), self.ready) {
            (false, false) if self.init.pid == 0 => Status::Creating,
            (false, _) => Status::Stopped,
            (true, false) => Status::Creating,
            (true, true) if freeze::is_frozen(&self.groups) => Status::Paused,
            (true, true) if gate::is_there(dir) => Status::Created,
            (true, true) => Status::Running,
        }
    }

    /// The state as the specification has it.
    pub(crate) fn oci(&self, status: Status) -> Value {
        let mut state = json!({
            "ociVersion": OCI_VERSION,
            "id": self.id,
            "status": status.to_string(),
            "bundle": self.bundle,
        });
        if let Some(fields) = state.as_object_mut() {
            if status != Status::Stopped {
                fields.insert("pid".to_owned(), self.init.pid.into());
            }
            if !self.annotations.is_empty() {
                fields.insert("annotations".to_owned(), json!(self.annotations));
            }
        }
        state
    }

    /// The same for people and engines, with what runc tells beside it.
    pub(crate) fn shown(&self, status: Status) -> Value {
        let mut state = self.oci(status);
        if let Some(fields) = state.as_object_mut() {
            fields.entry("pid").or_insert(0.into());
            fields.insert("rootfs".to_owned(), json!(self.rootfs));
            fields.insert("created".to_owned(), json!(self.created.to_string()));
            fields.insert("owner".to_owned(), "root".into());
        }
        state
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Creating => "creating",
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
        })
    }
}
