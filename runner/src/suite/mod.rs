//! The plugins inside this binary.
//!
//! A plugin is this program under another name. For `xnet run` a private directory holds links to /proc/self/exe under
//! these names: whoever follows one, `xnet` itself or a plugin that looks for its IPAM plugin, is this program and finds
//! itself, also when the file on disk has been replaced meanwhile. For everybody else `xnet install` puts real files into a
//! directory.

mod inside;

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::error::{Context, Result};
use crate::state::Store;

pub(crate) use inside::start;

/// The names of all plugins.
pub fn names() -> impl Iterator<Item = &'static str> {
    plugins::NAMES.iter().chain(ipam::NAMES).copied()
}

/// Acts as the plugin that `argv0` names, if it names one.
pub(crate) fn run(argv0: &OsStr) -> Option<ExitCode> {
    let name = Path::new(argv0).file_name()?.to_str()?;
    plugins::run(name).or_else(|| ipam::run(name))
}

/// A directory that holds the plugins for `store`'s containers.
pub(crate) fn directory(store: &Store) -> Result<PathBuf> {
    let dir = store.plugin_place()?;
    let there = fs::read_dir(&dir).context(|| format!("list {}", dir.display()))?;
    let there: HashSet<_> = there.flatten().map(|entry| entry.file_name()).collect();
    for name in names().filter(|name| !there.contains(OsStr::new(name))) {
        match symlink(SELF, dir.join(name)) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                return Err(error).context(|| format!("link {}", dir.join(name).display()));
            }
            _ => {}
        }
    }
    Ok(dir)
}

const SELF: &str = "/proc/self/exe";

/// Puts the plugins `names` into `dir`, in place of what is there under these names, and answers the paths.
///
/// There is one copy of this program; the names are hard links to it, or copies where the file system has no links. Each
/// name is replaced by a rename, so that whoever starts a plugin meanwhile gets the old one or the new one, whole.
pub(crate) fn install(dir: &Path, names: &[&str]) -> Result<Vec<PathBuf>> {
    fs::create_dir_all(dir).context(|| format!("make {}", dir.display()))?;
    let copy = dir.join(format!(".xnet-{}.new", std::process::id()));
    let result = write_copy(&copy).and_then(|()| names.iter().map(|name| place(&copy, dir, name)).collect());
    let removed = fs::remove_file(&copy).context(|| format!("remove {}", copy.display()));
    let paths: Vec<PathBuf> = result?;
    removed?;
    File::open(dir).and_then(|dir| dir.sync_all()).context(|| format!("sync {}", dir.display()))?;
    Ok(paths)
}

fn write_copy(to: &Path) -> Result<()> {
    fs::copy(SELF, to).context(|| format!("copy this program to {}", to.display()))?;
    fs::set_permissions(to, Permissions::from_mode(0o755)).context(|| format!("chmod {}", to.display()))?;
    File::open(to).and_then(|file| file.sync_all()).context(|| format!("sync {}", to.display()))
}

fn place(copy: &Path, dir: &Path, name: &str) -> Result<PathBuf> {
    let (new, path) = (dir.join(format!(".{name}-{}.new", std::process::id())), dir.join(name));
    fs::hard_link(copy, &new)
        .or_else(|_| fs::copy(copy, &new).map(drop))
        .and_then(|()| fs::rename(&new, &path))
        .inspect_err(|_| drop(fs::remove_file(&new)))
        .context(|| format!("install {}", path.display()))?;
    // Where both names were links to one file already, the rename has done nothing.
    let _ = fs::remove_file(&new);
    Ok(path)
}
