//! Changes that somebody has made in a container's layer behind its back.
//!
//! The kernel calls it undefined to change a layer on which an overlay is mounted: what the overlay has seen already it keeps
//! showing, so a file that is deleted there is still read inside. What can be proved is told: a name that is something else in
//! the layer than inside, and a file that a process has open under its name though the layer has none any more. What
//! was deleted and is held open by nobody leaves no trace to be found: nothing lists what an overlay remembers.
//!
//! The container goes on working meanwhile, so what differs is looked at again, and must differ each time.

use std::fs::{self, File};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag};
use nix::sys::stat::{FileStat, SFlag, fstat};
use nix::sys::statfs::{OVERLAYFS_SUPER_MAGIC, fstatfs};

use crate::spec::{Dirs, Storage};
use crate::state::{Task, View};
use crate::storage::Place;
use crate::storage::tree::{self, kind};
use crate::sys::{ns, xattr};
use crate::top;
use crate::within::open_within;

use super::Report;

/// How many entries of the layer are compared.
const MOST: usize = 20_000;
/// How often what differs is looked at, and the time between.
const LOOKS: usize = 3;
const PAUSE: Duration = Duration::from_millis(20);

pub(super) fn check(report: &mut Report, dirs: &Dirs, view: &View, first: Task) {
    const CHECK: &str = "layer";
    if view.spec.root.storage != Storage::Overlay {
        return report.skip(CHECK, "the root file system is a copy, which may be changed from anywhere");
    }
    let place = Place::of(&dirs.data, view.id());
    let Some(both) = open_both(&place, first) else {
        return report.skip(CHECK, "it cannot be compared with what shows inside");
    };
    let found = changed(&both.layer, &both.inside).or_else(|| deleted_and_open(&both, view, first));
    // The process may have ended meanwhile, and its number be another's.
    if !first.is_alive() {
        return report.skip(CHECK, "the container has ended");
    }
    match found {
        None => report.ok(CHECK, "no change behind the container's back is to be seen"),
        Some(what) => report.warn(
            CHECK,
            format!("changed behind the mounted overlay in {}: {what}", place.diff().display()),
            format!("xnet restart {}", view.called()),
        ),
    }
}

/// A layer, and what shows it.
struct Both {
    layer: OwnedFd,
    /// The container's root.
    inside: OwnedFd,
    /// The number of the root's mount.
    mount: String,
}

/// The layer, and the root that shows it inside.
fn open_both(place: &Place, first: Task) -> Option<Both> {
    let _held = first.open().filter(|_| ns::in_initial_user())?;
    let mounts = fs::read_to_string(format!("/proc/{}/mountinfo", first.pid)).ok()?;
    // A first process that has gone to another root is not asked.
    let is_root = |line: &str| {
        let fields: Vec<&str> = line.split(' ').collect();
        fields.get(3..5) == Some(&["/", "/"][..]) && line.contains(" - overlay ")
    };
    let mount = mounts.lines().find(|line| is_root(line))?.split(' ').next()?.to_owned();
    let layer = File::open(place.diff()).ok()?;
    let inside = File::open(format!("/proc/{}/root", first.pid)).ok()?;
    let is_overlay = fstatfs(&inside).is_ok_and(|found| found.filesystem_type() == OVERLAYFS_SUPER_MAGIC);
    is_overlay.then(|| Both { layer: layer.into(), inside: inside.into(), mount })
}

/// The first name that is something else in the layer than inside.
fn changed(layer: &OwnedFd, inside: &OwnedFd) -> Option<String> {
    let (mut dirs, mut seen) = (vec![PathBuf::new()], 0);
    while let Some(dir) = dirs.pop() {
        let names = open(layer, &dir, OFlag::O_RDONLY | OFlag::O_DIRECTORY).map(|fd| tree::names(fd.as_fd()));
        for name in names.ok().and_then(Result::ok).unwrap_or_default() {
            seen += 1;
            let path = dir.join(name);
            if let Some(what) = differs_for_long(layer, inside, &path) {
                return Some(format!("{} {what}", Path::new("/").join(path).display()));
            }
            if look(layer, &path).is_ok_and(|stat| kind(&stat) == SFlag::S_IFDIR) && seen < MOST {
                dirs.push(path);
            }
        }
        if seen >= MOST {
            return None;
        }
    }
    None
}

fn differs_for_long(layer: &OwnedFd, inside: &OwnedFd, path: &Path) -> Option<&'static str> {
    let first = differs(layer, inside, path)?;
    let again = (1..LOOKS).all(|_| {
        std::thread::sleep(PAUSE);
        differs(layer, inside, path) == Some(first)
    });
    again.then_some(first)
}

/// What an overlay cannot show of a layer that nobody has touched.
fn differs(layer: &OwnedFd, inside: &OwnedFd, path: &Path) -> Option<&'static str> {
    let own = look(layer, path).ok()?;
    let shown = look(inside, path);
    // The container has changed it between the two.
    if look(layer, path).ok().is_none_or(|now| now.st_ino != own.st_ino) {
        return None;
    }
    match (tree::is_whiteout(&own), shown) {
        (true, Ok(_)) => Some("is deleted there, and still shows inside"),
        (false, Err(Errno::ENOENT)) => Some("is there, and does not show inside"),
        (false, Ok(shown)) if kind(&shown) != kind(&own) => Some("is of another kind inside"),
        // A copy of something below keeps that one's number.
        (false, Ok(shown)) if is_new(layer, path, &own) && shown.st_ino != own.st_ino => {
            Some("was replaced there, and shows as it was inside")
        }
        _ => None,
    }
}

/// Whether a file of the layer was made in it, and not copied up from below.
fn is_new(layer: &OwnedFd, path: &Path, stat: &FileStat) -> bool {
    if kind(stat) != SFlag::S_IFREG {
        return false;
    }
    let file = open(layer, path, OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK);
    file.is_ok_and(|file| xattr::get(file.as_fd(), c"trusted.overlay.origin") == Err(Errno::ENODATA))
}

/// A file of the overlay that a process has open under its name, and that has no name in the layer.
fn deleted_and_open(both: &Both, view: &View, first: Task) -> Option<String> {
    let device = fstat(&both.inside).ok()?.st_dev;
    top::rows(&view.cgroups, first.pid).iter().find_map(|row| {
        let fds = fs::read_dir(format!("/proc/{}/fd", row.pid)).into_iter().flatten().flatten();
        fds.map(|fd| fd.path()).find_map(|fd| {
            // What is on other file systems is not touched: one of the container's own need not answer.
            let number = fd.file_name()?.to_str()?;
            let info = fs::read_to_string(format!("/proc/{}/fdinfo/{number}", row.pid)).ok()?;
            info.lines().find(|line| line.strip_prefix("mnt_id:").is_some_and(|id| id.trim() == both.mount))?;
            let meta = fs::metadata(&fd).ok()?;
            let is_gone = meta.is_file() && meta.nlink() == 0 && meta.dev() == device;
            // The kernel says so of one that was deleted inside.
            let name = fs::read_link(&fd).ok().filter(|name| !name.to_string_lossy().ends_with(" (deleted)"))?;
            is_gone.then(|| format!("{} is deleted there, and process {} has it open", name.display(), row.pid))
        })
    })
}

fn look(root: &OwnedFd, path: &Path) -> nix::Result<FileStat> {
    open(root, path, OFlag::O_PATH | OFlag::O_NOFOLLOW).and_then(fstat)
}

/// Below `root`, over no link and into no other mount.
fn open(root: &OwnedFd, path: &Path, flags: OFlag) -> nix::Result<OwnedFd> {
    let stay = ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS | ResolveFlag::RESOLVE_NO_XDEV;
    let how = OpenHow::new().flags(flags | OFlag::O_CLOEXEC).resolve(stay);
    let path = if path == Path::new("") { Path::new(".") } else { path };
    open_within(root, path, how)
}
