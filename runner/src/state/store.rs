//! The directories of containers, and who owns one.

mod look;

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::error::{Context, Error, Result};
use crate::fault;
use crate::id::Name;
use crate::spec::{Dirs, Spec};

use super::info::Info;
use super::log::{self, Record, Scope};
use super::names::Names;
use super::undo;
use look::ids;

/// Where links to the plugins are.
const PLUGINS: &str = ".plugins";

/// All containers under one pair of directories.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    state: PathBuf,
    containers: PathBuf,
    names: Names,
}

/// Why a container is being ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wish {
    /// A person does not want it to run any more.
    Person,
    /// The machine goes down; what runs now is to run again afterwards.
    Shutdown,
}

/// A container whose lock this process holds: nobody else runs, changes or removes it.
#[derive(Debug)]
pub(crate) struct Container {
    pub(crate) id: Name,
    /// Its passing things, `STATE/ID`.
    pub(crate) dir: PathBuf,
    /// Its lasting things, `DATA/containers/ID`.
    pub(crate) data: PathBuf,
    log: File,
    lock: File,
}

impl Store {
    /// Opens the directories, and makes them if need be, for root's eyes only.
    pub(crate) fn open(dirs: &Dirs) -> Result<Self> {
        let containers = dirs.data.join("containers");
        for dir in [&dirs.state, &containers] {
            DirBuilder::new().recursive(true).mode(0o700).create(dir).context(|| format!("make {}", dir.display()))?;
        }
        Ok(Self { state: dirs.state.clone(), names: Names::new(&containers), containers })
    }

    /// Registers the container of `spec`, which this process then owns. Until [`Record::Keep`] is written, it is gone again
    /// when this process ends before it is done.
    pub(crate) fn create(&self, spec: &Spec) -> Result<Container> {
        let guard = self.guard()?;
        if let Some(name) = &spec.name {
            self.names.check_free(name, &spec.id)?;
        }
        let dir = self.state.join(spec.id.as_str());
        DirBuilder::new().mode(0o700).create(&dir).context(|| format!("make {}", dir.display()))?;
        let mut container = self.lock(&spec.id)?.ok_or_else(|| Error::new("a new container is somebody else's"))?;
        let furnished = self.furnish(&mut container, spec);
        drop(guard);
        match furnished {
            Ok(()) => Ok(container),
            Err(error) => {
                undo::finish(self, container, false)?;
                Err(error)
            }
        }
    }

    /// Makes what lasts of a new container.
    fn furnish(&self, container: &mut Container, spec: &Spec) -> Result<()> {
        container.record(&Record::Container { data: container.data.clone() })?;
        fault::point("log-container")?;
        let data = &container.data;
        DirBuilder::new().mode(0o700).create(data).context(|| format!("make {}", data.display()))?;
        write_spec(data, spec)?;
        fault::point("write-config")?;
        if let Some(name) = &spec.name {
            self.take_name(&spec.id, name)?;
        }
        fault::point("create")
    }

    /// Takes ownership of an existing container, unless somebody has it.
    pub(crate) fn own(&self, id: &Name) -> Result<Option<Container>> {
        let _guard = self.guard()?;
        if !self.containers.join(id.as_str()).is_dir() {
            return Err(no_such(id.as_str()));
        }
        let dir = self.state.join(id.as_str());
        match DirBuilder::new().mode(0o700).create(&dir) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                Err(error).context(|| format!("make {}", dir.display()))
            }
            _ => self.lock(id),
        }
    }

    /// The containers whose owners are dead, owned by this process now.
    pub(crate) fn abandoned(&self) -> Result<Vec<Container>> {
        let _guard = self.guard()?;
        let mut found = Vec::new();
        for id in ids(&self.state)? {
            found.extend(self.lock(&id)?);
        }
        Ok(found)
    }

    /// The ids of all containers, in no order.
    pub(crate) fn ids(&self) -> Result<Vec<Name>> {
        ids(&self.containers)
    }

    /// Whether somebody owns container `id`.
    pub(crate) fn is_owned(&self, id: &Name) -> bool {
        let lock = File::open(self.state.join(id.as_str()).join("lock"));
        lock.is_ok_and(|lock| matches!(lock.try_lock_shared(), Err(TryLockError::WouldBlock)))
    }

    /// Waits until nobody is in the middle of taking or letting go of a container.
    pub(crate) fn settle(&self) -> Result<()> {
        self.guard().map(drop)
    }

    /// What the run of container `id` says about itself, if there is one.
    pub(crate) fn info(&self, id: &Name) -> Option<Info> {
        serde_json::from_slice(&fs::read(self.state.join(id.as_str()).join("info.json")).ok()?).ok()
    }

    /// What container `id` was asked to be.
    pub(crate) fn spec(&self, id: &Name) -> Result<Spec> {
        read_spec(&self.data(id))
    }

    /// Where the lasting things of container `id` are.
    pub(crate) fn data(&self, id: &Name) -> PathBuf {
        self.containers.join(id.as_str())
    }

    /// The directory of what passes.
    pub(crate) fn root(&self) -> &Path {
        &self.state
    }

    /// Where the passing things of container `id` are, while there are any.
    pub(crate) fn place(&self, id: &Name) -> PathBuf {
        self.state.join(id.as_str())
    }

    /// The container which `text` means: an id, a name, or the beginning of exactly one id.
    pub(crate) fn find(&self, text: &str) -> Result<Name> {
        let reference: Name = text.parse().map_err(|_| no_such(text))?;
        if self.data(&reference).is_dir() {
            return Ok(reference);
        }
        if let Some(id) = self.names.owner(text) {
            return Ok(id);
        }
        let mut ids = self.ids()?;
        ids.retain(|id| id.as_str().starts_with(text));
        match ids.len() {
            0 => Err(no_such(text)),
            1 => Ok(ids.swap_remove(0)),
            n => Err(Error::new(format!("{text:?} is ambiguous: the ids of {n} containers begin with it"))),
        }
    }

    /// The running container which `text` means.
    pub(crate) fn resolve(&self, text: &str) -> Result<Info> {
        let id = self.find(text)?;
        let running = self.info(&id).filter(|info| info.task().is_alive());
        running.ok_or_else(|| Error::new(format!("the container {text} is not running")))
    }

    /// Gives `name` to container `id`, which keeps the one that it has.
    fn take_name(&self, id: &Name, name: &Name) -> Result<()> {
        self.names.check_free(name, id)?;
        record_lasting(&self.data(id), &Record::Name { name: name.clone() })?;
        fault::point("log-name")?;
        self.names.take(name, id)
    }

    /// Gives container `id` another name.
    pub(crate) fn rename(&self, id: &Name, name: &Name) -> Result<()> {
        let _guard = self.guard()?;
        let mut spec = self.spec(id)?;
        self.take_name(id, name)?;
        fault::point("rename")?;
        let old = spec.name.replace(name.clone());
        write_spec(&self.data(id), &spec)?;
        old.filter(|old| old != name).map_or(Ok(()), |old| self.names.release(&old, id))
    }

    /// Changes what container `id` is asked to be.
    pub(crate) fn amend(&self, id: &Name, change: impl FnOnce(&mut Spec)) -> Result<()> {
        let _guard = self.guard()?;
        let mut spec = self.spec(id)?;
        change(&mut spec);
        write_spec(&self.data(id), &spec)
    }

    /// Gives a name back, if it is still that of container `id`.
    pub(crate) fn release_name(&self, name: &Name, id: &Name) -> Result<()> {
        self.names.release(name, id)
    }

    /// Lets go of a container for whose run nothing is left to be undone.
    pub(crate) fn release(&self, container: Container) -> Result<()> {
        let _guard = self.guard()?;
        let dir = &container.dir;
        // As a rule there is nothing else; and nobody is surprised by a directory without its lock, as the guard is ours.
        for name in ["net.lock", "info.json", "net.json", LOG, "lock"] {
            let _ = fs::remove_file(dir.join(name));
        }
        fs::remove_dir(dir).or_else(|_| fs::remove_dir_all(dir)).context(|| format!("remove {}", dir.display()))
    }

    /// Writes down that somebody is ending container `id`, for its monitor to see.
    pub(crate) fn mark_stopping(&self, id: &Name, wish: Wish) -> Result<()> {
        let place = self.place(id);
        if wish == Wish::Shutdown {
            open(&place.join(SHUTDOWN))?;
        }
        open(&place.join(STOPPING)).map(drop)
    }

    /// The directory for links to the plugins inside this binary.
    pub(crate) fn plugin_place(&self) -> Result<PathBuf> {
        let dir = self.state.join(PLUGINS);
        DirBuilder::new().recursive(true).mode(0o700).create(&dir).context(|| format!("make {}", dir.display()))?;
        Ok(dir)
    }

    /// Serialises looking at locks with making and removing them.
    fn guard(&self) -> Result<File> {
        let root = File::open(&self.state).context(|| format!("open {}", self.state.display()))?;
        root.lock().context(|| format!("lock {}", self.state.display()))?;
        Ok(root)
    }

    /// Locks container `id`, whose directory of passing things is there. None if somebody else has.
    fn lock(&self, id: &Name) -> Result<Option<Container>> {
        let dir = self.place(id);
        let lock = open(&dir.join("lock"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(error).context(|| format!("lock {}", dir.display())),
        }
        let log = open(&dir.join(LOG))?;
        Ok(Some(Container { id: id.clone(), data: self.data(id), dir, log, lock }))
    }
}

/// The name of both logs.
const LOG: &str = "log";
const CONFIG: &str = "config.json";
/// There while somebody is ending the container.
const STOPPING: &str = "stopping";
/// There beside it if that is only because the machine goes down.
const SHUTDOWN: &str = "shutdown";

/// Says that the container's own volumes stay when it is removed.
const KEEP_VOLUMES: &str = "keep-volumes";

impl Container {
    /// Writes down what is about to be done.
    pub(crate) fn record(&mut self, record: &Record) -> Result<()> {
        match record.scope() {
            Scope::Run => log::append(&mut self.log, record),
            Scope::Container => record_lasting(&self.data, record),
        }
    }

    /// Everything that has been written down about the present run so far.
    pub(crate) fn records(&self) -> Result<Vec<Record>> {
        log::read(&self.dir.join(LOG))
    }

    /// The groups of the present run.
    pub(crate) fn cgroups(&self) -> Vec<PathBuf> {
        let dirs = |record| if let Record::Cgroups { dirs } = record { dirs } else { Vec::new() };
        self.records().unwrap_or_default().into_iter().flat_map(dirs).collect()
    }

    /// Everything that has been written down about what lasts.
    pub(crate) fn lasting_records(&self) -> Result<Vec<Record>> {
        log::read(&self.data.join(LOG))
    }

    /// Begins the log of another run. Who has the old one open can read it to its end.
    pub(crate) fn begin_log(&mut self) -> Result<()> {
        let path = self.dir.join(LOG);
        let _ = fs::remove_file(&path);
        self.log = open(&path)?;
        Ok(())
    }

    /// What the container was asked to be.
    pub(crate) fn spec(&self) -> Result<Spec> {
        read_spec(&self.data)
    }

    /// What the present run has told the others.
    pub(crate) fn info(&self) -> Option<Info> {
        serde_json::from_slice(&fs::read(self.dir.join("info.json")).ok()?).ok()
    }

    /// Tells the others about the run, in one step.
    pub(crate) fn publish(&self, info: &Info) -> Result<()> {
        replace(&self.dir.join("info.json"), info)
    }

    /// Whether somebody has asked for the container's end, so that it is not to be started again.
    pub(crate) fn is_stopping(&self) -> bool {
        self.dir.join(STOPPING).exists()
    }

    /// Whether a person has asked for it, so that it is not started again after a reboot either.
    pub(crate) fn is_stopped_by_person(&self) -> bool {
        self.is_stopping() && !self.dir.join(SHUTDOWN).exists()
    }

    /// Lets the volumes that were made for this container outlive it.
    pub(crate) fn keep_volumes(&self) -> Result<()> {
        open(&self.dir.join(KEEP_VOLUMES)).map(drop)
    }

    /// Whether they do.
    pub(crate) fn keeps_volumes(&self) -> bool {
        self.dir.join(KEEP_VOLUMES).exists()
    }

    /// The descriptors that make this process the owner.
    pub(crate) fn descriptors(&self) -> [&File; 2] {
        [&self.lock, &self.log]
    }
}

fn no_such(text: &str) -> Error {
    Error::new(format!("no such container: {text}"))
}

fn read_spec(data: &Path) -> Result<Spec> {
    let path = data.join(CONFIG);
    let text = fs::read(&path).context(|| format!("read {}", path.display()))?;
    serde_json::from_slice(&text).context(|| format!("decode {}", path.display()))
}

/// Writes down what the container is asked to be, in one step.
fn write_spec(data: &Path, spec: &Spec) -> Result<()> {
    replace(&data.join(CONFIG), spec)
}

/// Writes down what will have to be undone when the container is removed.
fn record_lasting(data: &Path, record: &Record) -> Result<()> {
    log::append(&mut open(&data.join(LOG))?, record)
}

fn open(path: &Path) -> Result<File> {
    let flags = nix::libc::O_NOFOLLOW | nix::libc::O_CLOEXEC;
    let mut options = OpenOptions::new();
    options.append(true).create(true).mode(0o600).custom_flags(flags);
    options.open(path).context(|| format!("open {}", path.display()))
}

/// Writes `value` to `path` as JSON, for root's eyes only. Readers see what was there before, or all of the new.
pub(super) fn replace(path: &Path, value: &impl Serialize) -> Result<()> {
    let new = path.with_extension("json.new");
    let text = serde_json::to_vec(value).context(|| format!("encode {}", path.display()))?;
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600).custom_flags(nix::libc::O_NOFOLLOW);
    let mut file = options.open(&new).context(|| format!("create {}", new.display()))?;
    file.write_all(&text).context(|| format!("write {}", new.display()))?;
    fs::rename(&new, path).context(|| format!("rename {}", new.display()))
}

#[cfg(test)]
mod tests;
