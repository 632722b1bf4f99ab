//! Names of containers: a file each, `DATA/containers/.names/NAME`, which holds the id.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use crate::error::{Context, Error, Result};
use crate::id::Name;

/// The names that are taken. Whoever takes one holds the store's lock meanwhile.
#[derive(Debug, Clone)]
pub(super) struct Names {
    /// The directory of containers.
    containers: PathBuf,
}

/// No id begins with a dot.
const DIR: &str = ".names";

impl Names {
    pub(super) fn new(containers: &Path) -> Self {
        Self { containers: containers.to_owned() }
    }

    /// The container that has `name`.
    pub(super) fn owner(&self, name: &str) -> Option<Name> {
        let id: Name = fs::read_to_string(self.path(name)).ok()?.parse().ok()?;
        // The write of the id may have been cut short by a crash; then there is no such container either.
        self.containers.join(id.as_str()).is_dir().then_some(id)
    }

    /// Fails if `name` is taken by another container than `id`.
    pub(super) fn check_free(&self, name: &Name, id: &Name) -> Result<()> {
        match self.owner(name.as_str()) {
            Some(owner) if owner != *id => {
                Err(Error::new(format!("the name {name:?} is in use by container {owner}", name = name.as_str())))
            }
            _ => Ok(()),
        }
    }

    /// Gives `name` to container `id`.
    pub(super) fn take(&self, name: &Name, id: &Name) -> Result<()> {
        let dir = self.containers.join(DIR);
        DirBuilder::new().recursive(true).mode(0o700).create(&dir).context(|| format!("make {}", dir.display()))?;
        fs::write(self.path(name.as_str()), id.as_str()).context(|| format!("take the name {name}"))
    }

    /// Gives `name` back, if it is still that of container `id`.
    pub(super) fn release(&self, name: &Name, id: &Name) -> Result<()> {
        let path = self.path(name.as_str());
        match fs::read_to_string(&path) {
            Ok(owner) if owner == id.as_str() => {
                fs::remove_file(&path).context(|| format!("remove {}", path.display()))
            }
            _ => Ok(()),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.containers.join(DIR).join(name)
    }
}
