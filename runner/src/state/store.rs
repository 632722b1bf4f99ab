//! The directory of containers.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{Context, Error, Result};
use crate::id::Name;

use super::log::{self, Record};

/// Where names are taken. No id begins with a dot.
const NAMES: &str = ".names";

/// Where links to the plugins are.
const PLUGINS: &str = ".plugins";

/// What other processes may want to know about a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Info {
    pub(crate) id: Name,
    pub(crate) name: Option<Name>,
    /// The first process, as the host numbers it.
    pub(crate) pid: i32,
}

/// All containers under one state directory.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    root: PathBuf,
}

/// A container whose lock this process holds.
#[derive(Debug)]
pub(crate) struct Container {
    pub(crate) id: Name,
    pub(crate) dir: PathBuf,
    log: File,
    _lock: File,
}

impl Store {
    /// Opens the state directory, and makes it if need be, for root's eyes only.
    pub(crate) fn open(root: &Path) -> Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(root).context(|| format!("make {}", root.display()))?;
        Ok(Self { root: root.to_owned() })
    }

    /// The state directory.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The directory of container `id`.
    pub(crate) fn place(&self, id: &Name) -> PathBuf {
        self.root.join(id.as_str())
    }

    /// Registers a new container, which this process then owns.
    pub(crate) fn create(&self, id: &Name, name: Option<&Name>) -> Result<Container> {
        let _guard = self.guard()?;
        if let Some(name) = name {
            self.check_free(name)?;
        }
        let dir = self.root.join(id.as_str());
        DirBuilder::new().mode(0o700).create(&dir).context(|| format!("make {}", dir.display()))?;
        let lock = open(&dir.join("lock"))?;
        lock.try_lock().map_err(|error| Error::new(format!("lock {}: {error}", dir.display())))?;
        let log = open(&dir.join("log"))?;
        let mut container = Container { id: id.clone(), dir, log, _lock: lock };
        if let Some(name) = name {
            container.record(&Record::Name { name: name.clone() })?;
            self.take(name, id)?;
        }
        Ok(container)
    }

    /// The containers whose owners are dead, locked by this process now.
    pub(crate) fn abandoned(&self) -> Result<Vec<Container>> {
        let _guard = self.guard()?;
        let mut found = Vec::new();
        for id in self.ids()? {
            let dir = self.root.join(id.as_str());
            let Ok(lock) = open(&dir.join("lock")) else { continue };
            if lock.try_lock().is_ok() {
                found.push(Container { log: open(&dir.join("log"))?, id, dir, _lock: lock });
            }
        }
        Ok(found)
    }

    /// What the living containers say about themselves.
    pub(crate) fn living(&self) -> Result<Vec<Info>> {
        let alive = |id: &Name| {
            let lock = File::open(self.root.join(id.as_str()).join("lock"));
            lock.is_ok_and(|lock| matches!(lock.try_lock_shared(), Err(TryLockError::WouldBlock)))
        };
        let read = |id: Name| fs::read(self.root.join(id.as_str()).join("info.json")).ok();
        let _guard = self.guard()?;
        let texts = self.ids()?.into_iter().filter(alive).filter_map(read);
        Ok(texts.filter_map(|text| serde_json::from_slice(&text).ok()).collect())
    }

    /// The living container which `text` means: an id, a name, or the beginning of exactly one id.
    pub(crate) fn resolve(&self, text: &str) -> Result<Info> {
        let mut living = self.living()?;
        let exact = |info: &Info| info.id.as_str() == text || info.name.as_ref().is_some_and(|n| n.as_str() == text);
        if let Some(at) = living.iter().position(exact) {
            return Ok(living.swap_remove(at));
        }
        living.retain(|info| info.id.as_str().starts_with(text));
        match living.len() {
            0 => Err(Error::new(format!("no running container is called {text:?}"))),
            1 => Ok(living.swap_remove(0)),
            n => Err(Error::new(format!("{text:?} is ambiguous: the ids of {n} running containers begin with it"))),
        }
    }

    /// Gives a name back, if it is still that of container `id`.
    pub(crate) fn release(&self, name: &Name, id: &Name) -> Result<()> {
        let path = self.root.join(NAMES).join(name.as_str());
        match fs::read_to_string(&path) {
            Ok(owner) if owner == id.as_str() => {
                fs::remove_file(&path).context(|| format!("remove {}", path.display()))
            }
            _ => Ok(()),
        }
    }

    /// Forgets a container for which nothing is left to be undone.
    pub(crate) fn forget(&self, container: Container) -> Result<()> {
        let _guard = self.guard()?;
        fs::remove_dir_all(&container.dir).context(|| format!("remove {}", container.dir.display()))
    }

    /// The directory for links to the plugins inside this binary.
    pub(crate) fn plugin_place(&self) -> Result<PathBuf> {
        let dir = self.root.join(PLUGINS);
        DirBuilder::new().recursive(true).mode(0o700).create(&dir).context(|| format!("make {}", dir.display()))?;
        Ok(dir)
    }

    /// Serialises looking at locks with making and removing them.
    fn guard(&self) -> Result<File> {
        let root = File::open(&self.root).context(|| format!("open {}", self.root.display()))?;
        root.lock().context(|| format!("lock {}", self.root.display()))?;
        Ok(root)
    }

    fn ids(&self) -> Result<Vec<Name>> {
        let entries = fs::read_dir(&self.root).context(|| format!("list {}", self.root.display()))?;
        let names = entries.flatten().filter(|e| e.file_type().is_ok_and(|kind| kind.is_dir())).map(|e| e.file_name());
        Ok(names.filter_map(|name| name.to_str()?.parse().ok()).collect())
    }

    fn check_free(&self, name: &Name) -> Result<()> {
        match fs::read_to_string(self.root.join(NAMES).join(name.as_str())) {
            // The write of the id may have been cut short by a crash; then there is no such container either.
            Ok(owner) if !owner.is_empty() && self.root.join(&owner).is_dir() => {
                Err(Error::new(format!("the name {name:?} is in use by container {owner}", name = name.as_str())))
            }
            _ => Ok(()),
        }
    }

    fn take(&self, name: &Name, id: &Name) -> Result<()> {
        let dir = self.root.join(NAMES);
        DirBuilder::new().recursive(true).mode(0o700).create(&dir).context(|| format!("make {}", dir.display()))?;
        fs::write(dir.join(name.as_str()), id.as_str()).context(|| format!("take the name {name}"))
    }
}

impl Container {
    /// Writes down what is about to be done.
    pub(crate) fn record(&mut self, record: &Record) -> Result<()> {
        log::append(&mut self.log, record)
    }

    /// Everything that has been written down so far.
    pub(crate) fn records(&self) -> Result<Vec<Record>> {
        log::read(&self.dir.join("log"))
    }

    /// Tells the others about the container, in one step.
    pub(crate) fn publish(&self, info: &Info) -> Result<()> {
        let (new, path) = (self.dir.join("info.json.new"), self.dir.join("info.json"));
        let text = serde_json::to_vec(info).context(|| "encode the container's state")?;
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&new)
            .context(|| format!("create {}", new.display()))?;
        file.write_all(&text).context(|| format!("write {}", new.display()))?;
        fs::rename(&new, &path).context(|| format!("rename {}", new.display()))
    }

    /// A private working directory of this name.
    pub(crate) fn workplace(&self, name: &str) -> Result<PathBuf> {
        let path = self.dir.join(name);
        match DirBuilder::new().mode(0o700).create(&path) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                Err(error).context(|| format!("make {}", path.display()))
            }
            _ => Ok(path),
        }
    }
}

fn open(path: &Path) -> Result<File> {
    let flags = nix::libc::O_NOFOLLOW | nix::libc::O_CLOEXEC;
    let mut options = OpenOptions::new();
    options.append(true).create(true).mode(0o600).custom_flags(flags);
    options.open(path).context(|| format!("open {}", path.display()))
}

#[cfg(test)]
mod tests;
