//! Looking at containers without making anything, for who must leave the machine as it is.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use crate::error::{Context, Result};
use crate::id::Name;
use crate::spec::Dirs;

use super::super::names::Names;
use super::{LOG, Store};

impl Store {
    /// The directories as they are, be they there or not. Only for questions.
    pub(crate) fn look(dirs: &Dirs) -> Self {
        let containers = dirs.data.join("containers");
        Self { state: dirs.state.clone(), names: Names::new(&containers), containers }
    }

    /// The containers whose owners are dead, with something left to be undone: what `xnet gc` is for.
    ///
    /// # Errors
    /// The state directory can't be read.
    pub(crate) fn orphans(&self) -> Result<Vec<Name>> {
        let mut found = ids(&self.state)?;
        found.retain(|id| self.place(id).join(LOG).is_file() && !self.is_owned(id));
        Ok(found)
    }
}

/// The ids that directories in `dir` have as names; none if there is no such directory.
pub(super) fn ids(dir: &Path) -> Result<Vec<Name>> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.context(|| format!("list {}", dir.display()))?,
    };
    let names = entries.flatten().filter(|e| e.file_type().is_ok_and(|kind| kind.is_dir())).map(|e| e.file_name());
    Ok(names.filter_map(|name| name.to_str()?.parse().ok()).collect())
}
