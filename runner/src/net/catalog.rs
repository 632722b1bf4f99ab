//! Which networks there are.
//!
//! Three places, in this order: `DATA/networks/NAME.conflist`, written by `xnet network create` or by hand; the network
//! that is built in (`bridge`), unless a file of that name is in the first place; and /etc/cni/net.d, where other engines
//! of this host have theirs. Of the last only lists of that very name are taken, never the first by order of file names.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use cni::runtime::ConfList;

use crate::error::{Context, Error, Result};
use crate::id::Name;
use crate::spec::Dirs;

use super::Network;

/// Where a network is described.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// In a file of ours.
    Ours(PathBuf),
    /// In the program.
    BuiltIn,
    /// In the directory of the host's engines.
    Host,
}

/// The file of ours that describes network `name`, be it there or not.
pub(crate) fn file(name: &str, dirs: &Dirs) -> PathBuf {
    dirs.data.join("networks").join(format!("{name}.conflist"))
}

/// The list of the network called `name`.
///
/// # Errors
/// There is no such network, or its file holds none.
pub(crate) fn find(name: &str, dirs: &Dirs) -> Result<ConfList> {
    locate(name, dirs).map(|(list, _)| list)
}

/// The list of the network called `name`, and where it stands.
///
/// # Errors
/// As [`find`].
pub(crate) fn locate(name: &str, dirs: &Dirs) -> Result<(ConfList, Source)> {
    let name: Name = name.parse()?;
    let path = file(name.as_str(), dirs);
    if path.is_file() {
        let list = ConfList::from_file(&path).context(|| format!("the network {}", path.display()))?;
        if list.name() != name.as_str() {
            return Err(Error::new(format!("{} describes a network called {:?}", path.display(), list.name())));
        }
        return Ok((list, Source::Ours(path)));
    }
    if name.as_str() == DEFAULT {
        return Ok((Network::built_in()?, Source::BuiltIn));
    }
    match ConfList::load(&dirs.conf, name.as_str()) {
        Ok(list) => Ok((list, Source::Host)),
        Err(error) => Err(Error::new(format!(
            "no network is called {name} (`xnet network ls` shows all, `xnet network create {name}` makes one; {}: {error})",
            dirs.conf.display()
        ))),
    }
}

const DEFAULT: &str = "bridge";

/// All networks by name, with what could not be read left out.
///
/// # Errors
/// A directory exists and can't be listed.
pub(crate) fn all(dirs: &Dirs) -> Result<Vec<(String, Source)>> {
    let mut found: Vec<(String, Source)> = Vec::new();
    for path in files(&dirs.data.join("networks"))? {
        if let Some(name) = path.file_stem().and_then(|stem| stem.to_str()) {
            found.push((name.to_owned(), Source::Ours(path.clone())));
        }
    }
    if !found.iter().any(|(name, _)| name == DEFAULT) {
        found.push((DEFAULT.to_owned(), Source::BuiltIn));
    }
    for path in files(&dirs.conf)? {
        let list = ConfList::from_file(&path);
        if let Ok(list) = list
            && list.name().parse::<Name>().is_ok()
            && !found.iter().any(|(name, _)| name == list.name())
        {
            found.push((list.name().to_owned(), Source::Host));
        }
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(found)
}

/// The lists in a directory, which need not exist.
///
/// # Errors
/// It exists and can't be listed.
pub(crate) fn files(dir: &Path) -> Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.context(|| format!("list {}", dir.display()))?,
    };
    let paths = entries.flatten().map(|entry| entry.path());
    Ok(paths.filter(|path| path.extension().is_some_and(|extension| extension == "conflist")).collect())
}
