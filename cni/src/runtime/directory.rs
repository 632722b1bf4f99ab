//! Configuration files: a list and its plugin folder, and the network of a given name in a directory.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::config::PluginConf;
use super::conflist::ConfList;
use crate::error::reason;
use crate::{Code, Error};

impl ConfList {
    /// Reads the list in `file`, and after its inlined plugins those of the folder beside it that bears the network's
    /// name (`DIR/NETWORK/*.conf`, by file name), unless the list says `loadOnlyInlinedPlugins`.
    ///
    /// The folder of a network whose name is not a valid one is not looked for: the name would lead out of the
    /// directory, and no plugin accepts it.
    ///
    /// # Errors
    /// `error reading FILE: ...` (5), those of [`ConfList::from_slice`], and `no plugin configs found` (7).
    pub fn from_file(file: &Path) -> Result<Self, Error> {
        let mut list = Self::from_slice(&read(file)?)?;
        if !list.only_inlined() && list.network().is_ok() {
            let folder = file.parent().unwrap_or(Path::new("")).join(list.name());
            list.append(folder_plugins(&folder)?)?;
        }
        if list.plugins().is_empty() {
            return Err(Error::new(Code::INVALID_CONFIG, "no plugin configs found"));
        }
        Ok(list)
    }

    /// Finds the network called `name` in the directory `dir`: the first list (`*.conflist`) that bears the name, else
    /// the first single plugin configuration (`*.conf`, `*.json`), as a list of one. Files are read in the order of
    /// their names, and one that can not be read or parsed ends the search, as with libcni: what comes after it must
    /// not take its place unnoticed.
    ///
    /// # Errors
    /// `no net configurations found in DIR`, `no net configuration with name "N" in DIR` (both 7), those of
    /// [`ConfList::from_file`] and [`PluginConf::from_slice`], and the system's own for the directory (5).
    pub fn load(dir: &Path, name: &str) -> Result<Self, Error> {
        let lists = files(dir, &["conflist"])?;
        for file in &lists {
            let list = Self::from_file(file).map_err(|err| located(err, file))?;
            if list.name() == name {
                return Ok(list);
            }
        }
        let singles = files(dir, &["conf", "json"])?;
        for file in &singles {
            let conf = PluginConf::from_slice(&read(file)?).map_err(|err| located(err, file))?;
            if conf.name() == name {
                return Self::from_single(&conf);
            }
        }
        Err(Error::new(
            Code::INVALID_CONFIG,
            if lists.is_empty() && singles.is_empty() {
                format!("no net configurations found in {}", dir.display())
            } else {
                format!("no net configuration with name \"{name}\" in {}", dir.display())
            },
        ))
    }
}

/// The message is what callers know; which of the directory's files it is about goes into the details.
fn located(err: Error, file: &Path) -> Error {
    if err.details.is_empty() { err.with_details(format!("in {}", file.display())) } else { err }
}

fn folder_plugins(folder: &Path) -> Result<Vec<PluginConf>, Error> {
    let files = files(folder, &["conf"])
        .map_err(|err| err.context(format_args!("failed to read plugin config files in {}", folder.display())))?;
    files.iter().map(|file| PluginConf::from_slice(&read(file)?).map_err(|err| located(err, file))).collect()
}

fn read(file: &Path) -> Result<Vec<u8>, Error> {
    fs::read(file).map_err(|err| {
        let file = file.display();
        Error::new(Code::IO_FAILURE, format!("error reading {file}: open {file}: {}", reason(&err)))
    })
}

/// The files of `dir` with one of `extensions`, sorted by name; none if there is no such directory. Directories are
/// left out, links to them are not.
fn files(dir: &Path, extensions: &[&str]) -> Result<Vec<PathBuf>, Error> {
    let unreadable = |err: io::Error| Error::new(Code::IO_FAILURE, format!("open {}: {}", dir.display(), reason(&err)));
    let entries = match fs::read_dir(dir) {
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(unreadable)?,
    };
    let mut files = Vec::new();
    for entry in entries {
        let entry = entry.map_err(unreadable)?;
        let wanted =
            extension(&entry.file_name()).is_some_and(|found| extensions.iter().any(|want| found == want.as_bytes()));
        if wanted && !entry.file_type().map_err(unreadable)?.is_dir() {
            files.push(entry.path());
        }
    }
    files.sort_unstable();
    Ok(files)
}

/// What follows the last dot. A file called `.conf` has the extension `conf` here, other than in [`Path::extension`].
fn extension(name: &OsStr) -> Option<Vec<u8>> {
    let name = name.as_bytes();
    let dot = name.iter().rposition(|&byte| byte == b'.')?;
    Some(name[dot + 1..].to_vec())
}
