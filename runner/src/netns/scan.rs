//! Every network namespace of this machine that has a process or a name.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::sys::statfs::{NSFS_MAGIC, statfs};

use crate::error::Result;
use crate::net::Connected;
use crate::spec::Dirs;
use crate::state::Store;

/// One namespace.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Its inode.
    pub(crate) inode: u64,
    /// Files on which it is mounted, and links that lead to it.
    pub(crate) pins: Vec<PathBuf>,
    /// Its processes, lowest number first.
    pub(crate) pids: Vec<i32>,
    /// The name of the first of them.
    pub(crate) command: String,
    /// Containers in it, the one that it was made for first.
    pub(crate) containers: Vec<String>,
    /// It is the caller's own.
    pub(crate) is_own: bool,
    /// Its links, each with its addresses.
    pub(crate) links: Vec<(String, Vec<String>)>,
}

/// A name behind which there is no namespace, or not the one that it was made for.
#[derive(Debug)]
pub(crate) struct Stale {
    /// The file or link.
    pub(crate) path: PathBuf,
    /// Why, for people.
    pub(crate) why: String,
    /// It has the form of our own names, and no container has it any more.
    pub(crate) is_ours: bool,
}

/// What there is.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    pub(crate) namespaces: BTreeMap<u64, Found>,
    pub(crate) stale: Vec<Stale>,
}

/// The directory in which everybody looks.
const USUAL: &str = "/run/netns";

impl Scan {
    /// Looks at processes, at names, and at what is on record of containers.
    ///
    /// # Errors
    /// The state directory can't be read.
    pub(crate) fn take(store: &Store, dirs: &Dirs) -> Result<Self> {
        let mut scan = Self::default();
        scan.processes();
        let mut places = vec![dirs.netns.clone()];
        if dirs.netns != Path::new(USUAL) {
            places.push(USUAL.into());
        }
        let mut ids = store.ids()?;
        ids.retain(|id| store.info(id).is_some_and(|info| info.task().is_alive()));
        let containers: Vec<Connected> = ids.iter().filter_map(|id| Connected::read(store, id)).collect();
        places.iter().for_each(|place| scan.names(place, &containers));
        for container in &containers {
            if let Some(found) = scan.namespaces.get_mut(&container.inode) {
                let at = if container.joined.is_none() { 0 } else { found.containers.len() };
                found.containers.insert(at, container.title().to_owned());
            }
        }
        scan.contents();
        Ok(scan)
    }

    fn entry(&mut self, inode: u64) -> &mut Found {
        let found = self.namespaces.entry(inode).or_default();
        found.inode = inode;
        found
    }

    fn processes(&mut self) {
        let own = inode(Path::new("/proc/self/ns/net"));
        let mut pids: Vec<i32> = fs::read_dir("/proc")
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .collect();
        pids.sort_unstable();
        for pid in pids {
            // Ended meanwhile, or a kernel thread that is ending.
            let Some(inode) = inode(Path::new(&format!("/proc/{pid}/ns/net"))) else { continue };
            let found = self.entry(inode);
            if found.pids.is_empty() {
                let command = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
                command.trim().clone_into(&mut found.command);
            }
            found.pids.push(pid);
            found.is_own = Some(inode) == own;
        }
    }

    fn names(&mut self, place: &Path, containers: &[Connected]) {
        let entries = fs::read_dir(place).into_iter().flatten().flatten();
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
        paths.sort();
        for path in paths {
            match look(&path, containers) {
                Ok(inode) => self.entry(inode).pins.push(path),
                Err(why) => {
                    let is_ours = has_our_form(&path) && !is_of(&path, containers);
                    self.stale.push(Stale { path, why, is_ours });
                }
            }
        }
    }

    /// The links of each namespace, as far as there is a way into it.
    fn contents(&mut self) {
        for found in self.namespaces.values_mut() {
            let process = found.pids.first().map(|pid| PathBuf::from(format!("/proc/{pid}/ns/net")));
            let Some(way) = found.pins.first().cloned().or(process) else { continue };
            if let Some(links) = links(&way, found.inode) {
                found.links = links;
            }
        }
    }
}

fn links(way: &Path, expected: u64) -> Option<Vec<(String, Vec<String>)>> {
    let netns = File::open(way).ok()?;
    if netns.metadata().ok()?.ino() != expected {
        return None;
    }
    let mut handle = super::handle(&netns.into()).ok()?;
    let links = handle.links().ok()?;
    let mut of = |index: u32| -> Vec<String> {
        let both = [false, true].map(|is_ipv6| handle.addresses(index, is_ipv6).unwrap_or_default());
        both.iter().flatten().map(|address| address.network.to_string()).collect()
    };
    Some(links.iter().map(|link| (link.name.clone(), of(link.index))).collect())
}

/// The namespace behind a name; or why there is none.
fn look(path: &Path, containers: &[Connected]) -> std::result::Result<u64, String> {
    let is_link = fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_symlink());
    if is_link {
        let target = fs::read_link(path).unwrap_or_default();
        let Some(inode) = inode(path) else {
            return Err(format!("a link to {}, which is gone", target.display()));
        };
        // A link by process number leads to whoever has the number today.
        let container = containers.iter().find(|c| path.file_name().is_some_and(|name| name == c.id.as_str()));
        return match container {
            Some(container) if container.inode != inode => {
                Err(format!("a link to {}, which is not container {} any more", target.display(), container.title()))
            }
            _ => Ok(inode),
        };
    }
    match statfs(path) {
        Ok(found) if found.filesystem_type() == NSFS_MAGIC => inode(path).ok_or_else(|| "it cannot be read".to_owned()),
        Ok(_) => Err("a file on which no namespace is mounted any more".to_owned()),
        Err(errno) => Err(errno.desc().to_owned()),
    }
}

fn inode(path: &Path) -> Option<u64> {
    fs::metadata(path).ok().map(|metadata| metadata.ino())
}

/// Whether a file has the name of a container's id.
fn has_our_form(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    name.len() == 64 && name.bytes().all(|b| b.is_ascii_hexdigit())
}

fn is_of(path: &Path, containers: &[Connected]) -> bool {
    containers.iter().any(|container| path.file_name().is_some_and(|name| name == container.id.as_str()))
}
