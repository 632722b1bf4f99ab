//! Volumes: directories that outlive containers.
//!
//! `DATA/volumes/NAME` holds `volume.json`, what is known about the volume, and `_data`, what is mounted. A volume is there
//! as a whole or not at all: it is made under another name and renamed. One that is still empty is filled with what the image
//! has at the target when it is mounted first (`setup::mounts`). A volume without a name of its own belongs to the container
//! for which it was made, and goes with it.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{Context, Error, Result};
use crate::id::Name;
use crate::spec::{Dirs, Spec};

/// Where what is mounted is.
pub(crate) fn data(data_dir: &Path, name: &str) -> PathBuf {
    data_dir.join(ALL).join(name).join("_data")
}

const ALL: &str = "volumes";

/// What is known about a volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Volume {
    pub(crate) name: String,
    /// RFC 3339.
    pub(crate) created: String,
    /// It came into being for a container that did not name it.
    #[serde(default)]
    pub(crate) anonymous: bool,
    #[serde(default)]
    pub(crate) labels: BTreeMap<String, String>,
}

/// All volumes under one data directory.
#[derive(Debug, Clone)]
pub(crate) struct Volumes {
    dir: PathBuf,
}

impl Volumes {
    pub(crate) fn of(data_dir: &Path) -> Self {
        Self { dir: data_dir.join(ALL) }
    }

    /// Makes the volume, unless it exists. Answers whether it was made.
    pub(crate) fn ensure(&self, name: &str, anonymous: bool, labels: &BTreeMap<String, String>) -> Result<bool> {
        let name: Name = name.parse()?;
        let dir = self.dir.join(name.as_str());
        if dir.exists() {
            return Ok(false);
        }
        let volume = Volume {
            name: name.to_string(),
            created: jiff::Timestamp::now().to_string(),
            anonymous,
            labels: labels.clone(),
        };
        self.make(&dir, &volume).context(|| format!("make the volume {name}"))
    }

    fn make(&self, dir: &Path, volume: &Volume) -> Result<bool> {
        let new = self.dir.join(format!(".new-{}", Name::random()?.short()));
        let failed = || new.display().to_string();
        DirBuilder::new().recursive(true).mode(0o711).create(&self.dir).context(|| self.dir.display().to_string())?;
        DirBuilder::new().mode(0o711).create(&new).context(failed)?;
        DirBuilder::new().mode(0o755).create(new.join("_data")).context(failed)?;
        fs::set_permissions(new.join("_data"), fs::Permissions::from_mode(0o755)).context(failed)?;
        let text = serde_json::to_vec(volume).context(|| "encode it")?;
        fs::write(new.join("volume.json"), text).context(failed)?;
        match fs::rename(&new, dir) {
            Ok(()) => Ok(true),
            Err(error) => {
                let _ = fs::remove_dir_all(&new);
                // Somebody else was faster.
                if dir.exists() { Ok(false) } else { Err(error).context(|| format!("rename {}", new.display())) }
            }
        }
    }

    /// What is known about volume `name`.
    pub(crate) fn get(&self, name: &str) -> Result<Volume> {
        let name: Name = name.parse()?;
        let path = self.dir.join(name.as_str()).join("volume.json");
        match fs::read(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Err(Error::new(format!("there is no volume {name}"))),
            text => serde_json::from_slice(&text.context(|| format!("read {}", path.display()))?)
                .context(|| format!("read {}", path.display())),
        }
    }

    /// All of them, by name.
    pub(crate) fn list(&self) -> Result<Vec<Volume>> {
        let entries = match fs::read_dir(&self.dir) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.context(|| format!("list {}", self.dir.display()))?,
        };
        let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        let mut volumes: Vec<_> = names.filter_map(|name| self.get(&name).ok()).collect();
        volumes.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(volumes)
    }

    /// Removes a volume. What is not there need not be removed.
    pub(crate) fn remove(&self, name: &str) -> Result<()> {
        let name: Name = name.parse()?;
        let dir = self.dir.join(name.as_str());
        // Under another name first: half a volume would look like one with files missing.
        let old = self.dir.join(format!(".old-{name}"));
        match fs::rename(&dir, &old) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            renamed => renamed.context(|| format!("remove {}", dir.display()))?,
        }
        match fs::remove_dir_all(&old) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(error).context(|| format!("remove {}", old.display()))
            }
            _ => Ok(()),
        }
    }

    /// Where what is mounted of `volume` is.
    pub(crate) fn mountpoint(&self, volume: &Volume) -> PathBuf {
        self.dir.join(&volume.name).join("_data")
    }
}

/// The short ids of the containers that mount volume `name`, running or not.
pub(crate) fn users(dirs: &Dirs, name: &str) -> Result<Vec<String>> {
    let all = dirs.data.join("containers");
    let entries = match fs::read_dir(&all) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.context(|| format!("list {}", all.display()))?,
    };
    let texts = entries.flatten().filter_map(|entry| fs::read(entry.path().join("config.json")).ok());
    let specs = texts.filter_map(|text| serde_json::from_slice::<Spec>(&text).ok());
    let mounts = |spec: &Spec| spec.root.mounts.iter().any(|mount| mount.volume() == Some(name));
    Ok(specs.filter(mounts).map(|spec| spec.id.short().to_owned()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_volume_is_made_once_and_removed() {
        let data_dir = tempfile::tempdir().unwrap();
        let volumes = Volumes::of(data_dir.path());
        assert_eq!(volumes.list().unwrap(), vec![]);
        let labels = BTreeMap::from([("a".to_owned(), "b".to_owned())]);
        assert!(volumes.ensure("x", false, &labels).unwrap());
        assert!(!volumes.ensure("x", true, &BTreeMap::new()).unwrap());
        let found = volumes.get("x").unwrap();
        assert_eq!((found.labels, found.anonymous), (labels, false));
        assert!(data(data_dir.path(), "x").is_dir());
        assert!(volumes.get("../x").is_err() && volumes.get("y").unwrap_err().message.contains("no volume y"));
        volumes.remove("x").unwrap();
        volumes.remove("x").unwrap();
        assert_eq!(fs::read_dir(data_dir.path().join(ALL)).unwrap().count(), 0);
    }
}
