//! What a container has changed: its own layer, compared with those below.
//!
//! An overlay's layer says by itself what was touched; the layers below say whether a name is new. A copy (vfs) says nothing,
//! so everything in it is compared.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag};
use nix::sys::stat::{FileStat, SFlag, fstatat};

use crate::error::{Context, Result};
use crate::spec::{Root, Rootfs, Spec, Storage};
use crate::within::open_within;

use super::tree::{self, Owner, is_opaque, is_whiteout, kind};
use super::{Place, copies_owner};

/// What has happened to a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Added,
    Changed,
    Deleted,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Added => "A",
            Self::Changed => "C",
            Self::Deleted => "D",
        })
    }
}

/// All changes of the container at `place`, sorted by path. What the set-up puts there, to mount on, is left out.
pub(crate) fn of(spec: &Spec, place: &Place) -> Result<Vec<(Kind, PathBuf)>> {
    let root = &spec.root;
    let copied = (root.storage == Storage::Vfs).then(|| copies_owner(spec));
    let mut all = compare(&place.diff(), &Below::of(root, place)?, Path::new("/"), copied)?;
    if root.rootfs == Rootfs::Host && copied.is_none() {
        let usr = Below { layers: vec![open(Path::new("/usr"))?] };
        all.extend(compare(&place.usr(), &usr, Path::new("/usr"), None)?);
        all.sort_by(|a, b| a.1.cmp(&b.1));
    }
    Ok(without_mount_points(all))
}

/// Directories and files that a set-up makes if they are missing.
const MOUNT_POINTS: [&str; 7] = ["/dev", "/etc/hostname", "/etc/hosts", "/etc/resolv.conf", "/proc", "/sys", "/etc"];

fn without_mount_points(mut all: Vec<(Kind, PathBuf)>) -> Vec<(Kind, PathBuf)> {
    // The directory last: it is ours only if nothing else was made in it.
    for point in MOUNT_POINTS.map(Path::new) {
        let filled = all.iter().any(|(_, path)| path.starts_with(point) && path != point);
        if !filled {
            all.retain(|(kind, path)| *kind == Kind::Deleted || path != point);
        }
    }
    all
}

fn compare(own: &Path, below: &Below, prefix: &Path, copied: Option<Owner<'_>>) -> Result<Vec<(Kind, PathBuf)>> {
    let mut walk = Walk { below, found: Vec::new(), copied, prefix };
    walk.directory(open(own)?.as_fd(), Path::new(""), true).context(|| format!("compare {}", own.display()))?;
    walk.found.sort_by(|a, b| a.1.cmp(&b.1));
    Ok(walk.found)
}

fn open(dir: &Path) -> Result<OwnedFd> {
    File::open(dir).map(OwnedFd::from).context(|| format!("open {}", dir.display()))
}

/// The layers below, the highest first.
#[derive(Debug)]
pub(crate) struct Below {
    layers: Vec<OwnedFd>,
}

/// How far one layer decides about a path.
enum Verdict {
    Here(FileStat),
    Gone,
    AskBelow,
}

impl Below {
    fn of(root: &Root, place: &Place) -> Result<Self> {
        let dirs = match &root.rootfs {
            Rootfs::Host => vec![place.dir().join("lower")],
            Rootfs::Dir(dir) => vec![dir.clone()],
            Rootfs::Image { layers, .. } => layers.iter().rev().cloned().collect(),
        };
        Ok(Self { layers: dirs.iter().map(|dir| open(dir)).collect::<Result<_>>()? })
    }

    /// What the layers together have at `path`.
    fn stat(&self, path: &Path) -> Result<Option<FileStat>> {
        for layer in &self.layers {
            match verdict(layer, path).context(|| format!("look for {} below", path.display()))? {
                Verdict::Here(stat) => return Ok(Some(stat)),
                Verdict::Gone => return Ok(None),
                Verdict::AskBelow => {}
            }
        }
        Ok(None)
    }

    /// The names which the layers together have in the directory `path`.
    fn names(&self, path: &Path) -> Result<Vec<OsString>> {
        let mut names = Vec::new();
        for layer in &self.layers {
            let how = OpenHow::new()
                .flags(OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC)
                .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS);
            let path = if path == Path::new("") { Path::new(".") } else { path };
            if let Ok(dir) = open_within(layer, path, how) {
                names.extend(tree::names(dir.as_fd())?);
            }
        }
        names.sort();
        names.dedup();
        let there = |name: &OsString| self.stat(&path.join(name)).is_ok_and(|stat| stat.is_some());
        names.retain(there);
        Ok(names)
    }
}

fn verdict(layer: &OwnedFd, path: &Path) -> nix::Result<Verdict> {
    let mut sofar = PathBuf::new();
    let mut opaque = false;
    for component in path.components() {
        sofar.push(component);
        let stat = match fstatat(layer, &sofar, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Err(Errno::ENOENT) => return Ok(if opaque { Verdict::Gone } else { Verdict::AskBelow }),
            stat => stat?,
        };
        if is_whiteout(&stat) {
            return Ok(Verdict::Gone);
        }
        if sofar == path {
            return Ok(Verdict::Here(stat));
        }
        if kind(&stat) != SFlag::S_IFDIR {
            return Ok(Verdict::Gone);
        }
        opaque |= tree::open_dir(layer.as_fd(), sofar.as_os_str()).is_ok_and(|dir| is_opaque(dir.as_fd()));
    }
    Ok(Verdict::AskBelow)
}

struct Walk<'a> {
    below: &'a Below,
    found: Vec<(Kind, PathBuf)>,
    /// The container's directory holds everything, touched or not; who it belongs to untouched.
    copied: Option<Owner<'a>>,
    prefix: &'a Path,
}

impl Walk<'_> {
    fn note(&mut self, kind: Kind, path: &Path) {
        self.found.push((kind, self.prefix.join(path)));
    }

    /// All below the container's directory `path`. `merged` says whether what the layers below have in it shows.
    fn directory(&mut self, dir: BorrowedFd<'_>, path: &Path, merged: bool) -> Result<()> {
        let names = tree::names(dir)?;
        if self.copied.is_some() || !merged {
            for name in self.below.names(path)? {
                if names.binary_search(&name).is_err() {
                    self.note(Kind::Deleted, &path.join(name));
                }
            }
        }
        names.iter().try_for_each(|name| self.entry(dir, name, &path.join(name), merged))
    }

    fn entry(&mut self, dir: BorrowedFd<'_>, name: &OsStr, path: &Path, merged: bool) -> Result<()> {
        let own = match fstatat(dir, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Err(Errno::ENOENT) => return Ok(()),
            own => own.context(|| format!("look at {}", path.display()))?,
        };
        let below = self.below.stat(path)?;
        if is_whiteout(&own) && self.copied.is_none() {
            if below.is_some() {
                self.note(Kind::Deleted, path);
            }
            return Ok(());
        }
        match &below {
            None => self.note(Kind::Added, path),
            Some(below) if self.copied.is_some_and(|owner| same(&own, below, owner)) => {}
            Some(_) => self.note(Kind::Changed, path),
        }
        if kind(&own) != SFlag::S_IFDIR {
            return Ok(());
        }
        let inner = tree::open_dir(dir, name).context(|| format!("open {}", path.display()))?;
        let shows = merged && !is_opaque(inner.as_fd()) && below.is_some_and(|below| kind(&below) == SFlag::S_IFDIR);
        self.directory(inner.as_fd(), path, shows)
    }
}

/// Whether a copy is still what it was copied from, by what a person would notice.
fn same(own: &FileStat, below: &FileStat, owner: Owner<'_>) -> bool {
    let marks = |stat: &FileStat| (stat.st_mode, stat.st_rdev);
    let times = |stat: &FileStat| (stat.st_size, stat.st_mtime, stat.st_mtime_nsec);
    let given = owner
        .of(below.st_uid, below.st_gid)
        .is_ok_and(|(uid, gid)| own.st_uid == uid.as_raw() && own.st_gid == gid.as_raw());
    given && marks(own) == marks(below) && (kind(own) == SFlag::S_IFDIR || times(own) == times(below))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use nix::sys::stat::{Mode, makedev, mknod};

    use crate::sys::xattr;

    use super::*;

    fn below(dirs: &[&Path]) -> Below {
        Below { layers: dirs.iter().map(|dir| open(dir).unwrap()).collect() }
    }

    fn shown(found: &[(Kind, PathBuf)]) -> Vec<String> {
        found.iter().map(|(kind, path)| format!("{kind} {}", path.display())).collect()
    }

    fn whiteout(path: &Path) {
        mknod(path, SFlag::S_IFCHR, Mode::empty(), makedev(0, 0)).unwrap();
    }

    #[test]
    fn a_layer_is_read_as_an_overlay_reads_it() {
        let dir = tempfile::tempdir().unwrap();
        let at = |path: &str| dir.path().join(path);
        for path in ["low/etc", "low/opt/x", "low/old", "mid/etc", "own/etc", "own/opt", "own/new/sub"] {
            fs::create_dir_all(at(path)).unwrap();
        }
        for path in ["low/etc/a", "low/etc/b", "low/old/f", "low/opt/x/y", "own/etc/a", "own/etc/new", "own/opt/z"] {
            fs::write(at(path), "x").unwrap();
        }
        // The middle layer deletes b, so it can neither be deleted again nor be changed.
        whiteout(&at("mid/etc/b"));
        fs::write(at("own/etc/b"), "back").unwrap();
        whiteout(&at("own/old"));
        whiteout(&at("own/never"));
        xattr::set(open(&at("own/opt")).unwrap().as_fd(), c"trusted.overlay.opaque", b"y").unwrap();
        let found = compare(&at("own"), &below(&[&at("mid"), &at("low")]), Path::new("/"), None).unwrap();
        let expected = [
            "C /etc",
            "C /etc/a",
            "A /etc/b",
            "A /etc/new",
            "A /new",
            "A /new/sub",
            "D /old",
            "C /opt",
            "D /opt/x",
            "A /opt/z",
        ];
        assert_eq!(shown(&found), expected);
    }

    #[test]
    fn a_copy_is_compared_with_its_origin() {
        let dir = tempfile::tempdir().unwrap();
        let at = |path: &str| dir.path().join(path);
        fs::create_dir_all(at("low/d")).unwrap();
        for path in ["low/d/same", "low/d/changed", "low/gone"] {
            fs::write(at(path), "x").unwrap();
        }
        fs::create_dir(at("own")).unwrap();
        tree::copy(open(&at("low")).unwrap().as_fd(), open(&at("own")).unwrap().as_fd(), &|_| true).unwrap();
        fs::write(at("own/d/changed"), "longer").unwrap();
        fs::remove_file(at("own/gone")).unwrap();
        fs::write(at("own/new"), "").unwrap();
        let found = compare(&at("own"), &below(&[&at("low")]), Path::new("/"), Some(Owner::Same)).unwrap();
        assert_eq!(shown(&found), ["C /d/changed", "D /gone", "A /new"]);
    }

    #[test]
    fn places_to_mount_on_are_no_changes() {
        let list = |paths: &[&str]| paths.iter().map(|path| (Kind::Added, PathBuf::from(path))).collect::<Vec<_>>();
        let all = list(&["/dev", "/etc", "/etc/hostname", "/etc/hosts", "/etc/resolv.conf", "/proc", "/sys"]);
        assert_eq!(without_mount_points(all), vec![]);
        let mine = list(&["/etc", "/etc/mine", "/proc"]);
        assert_eq!(without_mount_points(mine), list(&["/etc", "/etc/mine"]));
    }
}
