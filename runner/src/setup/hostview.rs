//! The default root file system: the host's own, of which only the system directories show.
//!
//! The host's root is the overlay's lower layer, so nothing needs to be downloaded and no byte of the host can
//! be written. What must not be read is hidden by putting something above it in the writable layer before the
//! overlay is mounted: an empty directory, an empty file, or a whiteout. Names are hidden unless they are known to
//! be harmless, so a directory that some administrator has put into / is not shown by accident. In /etc the rule is
//! the host's own: what only root may read there (shadow, host keys, passwords of services) is empty inside,
//! because root inside is root for the file system.

use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{Mode, SFlag, fchmod, makedev, mkdirat, mknodat};
use nix::unistd::{Gid, Uid, fchown, symlinkat};

use crate::error::{Context, Result};
use crate::sys;

use super::path::Root;

/// Shown as they are: programs, libraries, and the stores of Nix and Guix, which are public by design.
const SHOWN: [&str; 9] = ["bin", "gnu", "lib", "lib32", "lib64", "libx32", "nix", "sbin", "usr"];

/// Covered by mounts of their own later.
const MOUNTED: [&str; 3] = ["dev", "proc", "sys"];

/// Present but empty, with these modes.
const EMPTY: [(&str, u32); 9] = [
    ("home", 0o755),
    ("media", 0o755),
    ("mnt", 0o755),
    ("opt", 0o755),
    ("root", 0o700),
    ("run", 0o755),
    ("srv", 0o755),
    ("tmp", 0o1777),
    ("var", 0o755),
];

/// What programs expect under an empty /var.
const VAR: [(&str, u32); 5] = [("cache", 0o755), ("lib", 0o755), ("log", 0o755), ("spool", 0o755), ("tmp", 0o1777)];

/// Fills the writable layer `upper` so that an overlay over the host's `/` shows the system directories only.
pub(crate) fn hide(upper: BorrowedFd<'_>) -> Result<()> {
    for (name, mode) in EMPTY {
        opaque_dir(upper, Path::new(name), mode)?;
    }
    fill_var(upper)?;
    for entry in fs::read_dir("/").context(|| "list /")? {
        let entry = entry.context(|| "list /")?;
        let name = entry.file_name();
        let known = |names: &[&str]| names.iter().any(|n| name == *n);
        if !(known(&SHOWN) || known(&MOUNTED) || known(&EMPTY.map(|e| e.0)) || name == "etc") {
            whiteout(upper, Path::new(&name))?;
        }
    }
    hide_etc(upper)
}

/// System directories that are mounts of their own on the host do not show through an overlay over `/`; they are
/// attached read-only.
pub(crate) fn attach_mounts(root: &Root) -> Result<()> {
    let device = |path: &str| fs::symlink_metadata(path).map(|m| (m.is_dir(), m.dev())).ok();
    let Some((_, root_device)) = device("/") else { return Ok(()) };
    for name in SHOWN {
        let path = format!("/{name}");
        if !matches!(device(&path), Some((true, dev)) if dev != root_device) {
            continue;
        }
        let source = Root::open(Path::new(&path)).context(|| format!("open {path}"))?;
        let tree = sys::mount::copy_tree(source.as_fd()).context(|| format!("copy the mount {path}"))?;
        sys::mount::set_flags(tree.as_fd(), sys::mount::attr::RDONLY).context(|| format!("make {path} read-only"))?;
        let target = root.mount_point(name)?;
        sys::mount::attach(tree.as_fd(), target.as_fd()).context(|| format!("mount {path}"))?;
    }
    Ok(())
}

fn fill_var(upper: BorrowedFd<'_>) -> Result<()> {
    let var = open_dir(upper, Path::new("var")).context(|| "open var in the writable layer")?;
    for (name, mode) in VAR {
        directory(var.as_fd(), Path::new(name), mode)?;
    }
    for (name, target) in [("run", "/run"), ("lock", "/run/lock")] {
        symlinkat(target, &var, name).context(|| format!("ln -s {target} /var/{name}"))?;
    }
    Ok(())
}

/// Something that the host lets only its owner or group read.
#[derive(Debug, PartialEq, Eq)]
struct Private {
    path: PathBuf,
    is_dir: bool,
    mode: u32,
}

/// All that is private below `dir`. Private directories are not looked into, symbolic links not followed.
fn private(dir: &Path, found: &mut Vec<Private>) -> std::io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        // An entry that vanishes meanwhile need not be hidden.
        let Ok(meta) = entry.metadata() else { continue };
        let (mode, path) = (meta.mode() & 0o7777, entry.path());
        let hidden = if meta.is_dir() { mode & 0o005 != 0o005 } else { meta.is_file() && mode & 0o004 == 0 };
        if hidden {
            found.push(Private { path, is_dir: meta.is_dir(), mode });
        } else if meta.is_dir() {
            private(&path, found)?;
        }
    }
    Ok(())
}

/// Puts empty files and directories above all that is private in the host's /etc.
fn hide_etc(upper: BorrowedFd<'_>) -> Result<()> {
    let mut found = Vec::new();
    private(Path::new("/etc"), &mut found).context(|| "look for private files in /etc")?;
    for Private { path, is_dir, mode } in &found {
        let parent = mirror(upper, path.parent().unwrap_or(Path::new("/")))?;
        let name = Path::new(path.file_name().unwrap_or_default());
        if *is_dir {
            opaque_dir(parent.as_fd(), name, *mode)?;
        } else {
            let flags = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_WRONLY | OFlag::O_CLOEXEC;
            openat(&parent, name, flags, Mode::from_bits_truncate(*mode))
                .context(|| format!("hide {}", path.display()))?;
        }
    }
    Ok(())
}

/// The directory of the upper layer that stands for the host's directory `path`, made with the same owner and mode.
fn mirror(upper: BorrowedFd<'_>, path: &Path) -> Result<OwnedFd> {
    let failed = || format!("prepare {} in the writable layer", path.display());
    let mut here = upper.try_clone_to_owned().context(failed)?;
    let mut host = PathBuf::from("/");
    for component in path.components().skip(1) {
        let name = Path::new(component.as_os_str());
        host.push(name);
        match mkdirat(&here, name, Mode::from_bits_truncate(0o700)) {
            Err(Errno::EEXIST) => here = open_dir(here.as_fd(), name).context(failed)?,
            made => {
                made.context(failed)?;
                here = open_dir(here.as_fd(), name).context(failed)?;
                let meta = fs::metadata(&host).context(failed)?;
                fchown(&here, Some(Uid::from_raw(meta.uid())), Some(Gid::from_raw(meta.gid()))).context(failed)?;
                fchmod(&here, Mode::from_bits_truncate(meta.mode() & 0o7777)).context(failed)?;
            }
        }
    }
    Ok(here)
}

fn open_dir(parent: BorrowedFd<'_>, name: &Path) -> nix::Result<OwnedFd> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    openat(parent, name, flags, Mode::empty())
}

/// A new directory with exactly this mode, whatever the umask.
fn directory(parent: BorrowedFd<'_>, name: &Path, mode: u32) -> Result<OwnedFd> {
    let failed = || format!("make {} in the writable layer", name.display());
    mkdirat(parent, name, Mode::from_bits_truncate(0o700)).context(failed)?;
    let dir = open_dir(parent, name).context(failed)?;
    fchmod(&dir, Mode::from_bits_truncate(mode)).context(failed)?;
    Ok(dir)
}

/// A directory that hides the one of the same name in the layer below, instead of being merged with it.
fn opaque_dir(parent: BorrowedFd<'_>, name: &Path, mode: u32) -> Result<OwnedFd> {
    let dir = directory(parent, name, mode)?;
    sys::set_xattr(dir.as_fd(), c"trusted.overlay.opaque", b"y").context(|| format!("hide {}", name.display()))?;
    Ok(dir)
}

/// What an overlay reads as "there is no such name": a character device 0:0.
fn whiteout(parent: BorrowedFd<'_>, name: &Path) -> Result<()> {
    mknodat(parent, name, SFlag::S_IFCHR, Mode::empty(), makedev(0, 0)).context(|| format!("hide {}", name.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn private_is_what_others_cannot_read() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let file = |name: &str, mode: u32| {
            fs::write(at(name), "x").unwrap();
            fs::set_permissions(at(name), fs::Permissions::from_mode(mode)).unwrap();
        };
        let subdir = |name: &str, mode: u32| {
            fs::create_dir(at(name)).unwrap();
            fs::set_permissions(at(name), fs::Permissions::from_mode(mode)).unwrap();
        };
        file("passwd", 0o644);
        file("shadow", 0o640);
        subdir("ssh", 0o755);
        file("ssh/key", 0o600);
        file("ssh/key.pub", 0o644);
        subdir("private", 0o710);
        file("private/inner", 0o600);
        symlink("/etc/shadow", at("link")).unwrap();

        let mut found = Vec::new();
        private(dir.path(), &mut found).unwrap();
        let mut found: Vec<_> = found.iter().map(|p| (p.path.strip_prefix(dir.path()).unwrap(), p.is_dir)).collect();
        found.sort();
        let expected = [("private", true), ("shadow", false), ("ssh/key", false)].map(|(p, d)| (Path::new(p), d));
        assert_eq!(found, expected);
    }
}
