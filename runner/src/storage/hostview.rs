//! The default root file system: what every system has in common, taken from the host.
//!
//! Nothing needs to be downloaded, and no byte of the host can be written. `/usr` is the host's, below a layer of the
//! container's own. All else is in a small layer made once and shared by all containers: empty directories where hosts
//! keep people's and services' data, and of /etc copies of what is known to be harmless. What is not on a list does not
//! show, so neither a secret of the host nor one that is put there tomorrow can be read.
//!
//! The layer is `DATA/hostview/KEY`. The key is made from the marks of the host's files that change when something is installed or a
//! user is added; with another key comes another layer, and layers that no container refers to (`DATA/overlay/*/lower`)
//! go. Who uses layers holds the directory's lock shared, who makes or removes one holds it alone.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::ErrorKind;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, symlink};
use std::path::{Path, PathBuf};

use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{FileStat, Mode, SFlag, fchmod, mkdirat};
use nix::unistd::symlinkat;

use crate::error::{Context, Result};
use crate::sys::ns::in_initial_user;

use super::Place;
use super::tree::{self, Copier, Owner};

/// Programs, libraries, and the stores of Nix and Guix, which are public by design. Links are copied, directories mounted.
pub(crate) const SYSTEM: [&str; 9] = ["bin", "gnu", "lib", "lib32", "lib64", "libx32", "nix", "sbin", "usr"];

/// Present but empty, with these modes.
const EMPTY: [(&str, u32); 13] = [
    ("dev", 0o755),
    ("etc", 0o755),
    ("home", 0o755),
    ("media", 0o755),
    ("mnt", 0o755),
    ("opt", 0o755),
    ("proc", 0o555),
    ("root", 0o700),
    ("run", 0o755),
    ("srv", 0o755),
    ("sys", 0o555),
    ("tmp", 0o1777),
    ("var", 0o755),
];

/// What programs expect under an empty /var.
const VAR: [(&str, u32); 5] = [("cache", 0o755), ("lib", 0o755), ("log", 0o755), ("spool", 0o755), ("tmp", 0o1777)];

/// What of /etc is copied, as far as everybody may read it.
const ETC: [&str; 56] = [
    "alpine-release",
    "alternatives",
    "bash.bashrc",
    "bash_completion.d",
    "ca-certificates",
    "ca-certificates.conf",
    "crypto-policies",
    "debian_version",
    "ethertypes",
    "fonts",
    "gai.conf",
    "group",
    "host.conf",
    "inputrc",
    "iproute2",
    "issue",
    "issue.net",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "locale.alias",
    "locale.conf",
    "localtime",
    "login.defs",
    "lsb-release",
    "magic",
    "magic.mime",
    "mime.types",
    "mke2fs.conf",
    "networks",
    "nsswitch.conf",
    "os-release",
    "pam.d",
    "passwd",
    "perl",
    "pki",
    "profile",
    "profile.d",
    "protocols",
    "python2.7",
    "python3",
    "python3.11",
    "python3.12",
    "python3.13",
    "redhat-release",
    "rpc",
    "security",
    "services",
    "shells",
    "skel",
    "ssl",
    "system-release",
    "terminfo",
    "timezone",
    "vim",
    "xattr.conf",
];

/// Files of /etc that are there, but empty, with these modes: programs that change them expect them.
const EMPTY_FILES: [(&str, u32); 2] = [("shadow", 0o600), ("gshadow", 0o600)];

/// Host files whose marks tell when the layer is out of date.
const WATCHED: [&str; 9] = [
    "/",
    "/etc",
    "/etc/alternatives",
    "/etc/group",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/etc/nsswitch.conf",
    "/etc/passwd",
    "/etc/ssl/certs",
];

/// A layer that nobody removes while this is held.
#[derive(Debug)]
pub(crate) struct Layer {
    pub(crate) dir: OwnedFd,
    _lock: File,
}

/// The layer for today's host, for the container at `place`; made if there is none.
pub(crate) fn layer(data: &Path, place: &Place) -> Result<Layer> {
    let all = data.join("hostview");
    let lock = match File::open(&all) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let made = DirBuilder::new().recursive(true).mode(0o700).create(&all);
            made.and_then(|()| File::open(&all))
        }
        opened => opened,
    }
    .context(|| format!("open {}", all.display()))?;
    let key = key();
    let dir = all.join(&key);
    lock.lock_shared().context(|| format!("lock {}", all.display()))?;
    refer(place, &dir)?;
    if !dir.exists() {
        lock.lock().context(|| format!("lock {}", all.display()))?;
        make(&all, &key)?;
        sweep(&all, data);
    }
    let dir = File::open(&dir).context(|| format!("open {}", dir.display()))?.into();
    Ok(Layer { dir, _lock: lock })
}

/// Where the layer for today's host is, if there is one.
pub(crate) fn path(data: &Path) -> PathBuf {
    data.join("hostview").join(key())
}

/// Directories of the host that are mounted as they are, except /usr.
pub(crate) fn mounted() -> impl Iterator<Item = &'static str> {
    let is_dir = |name: &&str| fs::symlink_metadata(format!("/{name}")).is_ok_and(|meta| meta.is_dir());
    SYSTEM.into_iter().filter(|name| *name != "usr").filter(is_dir)
}

fn key() -> String {
    let mut hasher = DefaultHasher::new();
    for path in WATCHED {
        let mark = fs::symlink_metadata(path).map(|m| (m.ino(), m.mode(), m.mtime(), m.mtime_nsec(), m.ctime_nsec()));
        mark.ok().hash(&mut hasher);
    }
    env!("CARGO_PKG_VERSION").hash(&mut hasher);
    (EMPTY, VAR, &ETC[..]).hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

/// Notes that the container uses this layer, in place of what it used before.
fn refer(place: &Place, dir: &Path) -> Result<()> {
    let link = place.dir().join("lower");
    let make = || symlink(dir, &link);
    match make() {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => fs::remove_file(&link).and_then(|()| make()),
        made => made,
    }
    .context(|| format!("make {}", link.display()))
}

fn make(all: &Path, key: &str) -> Result<()> {
    if all.join(key).exists() {
        return Ok(());
    }
    // Whoever has left something here is dead: the lock is ours.
    let new = all.join(".new");
    let _ = fs::remove_dir_all(&new);
    DirBuilder::new().mode(0o755).create(&new).context(|| format!("make {}", new.display()))?;
    let root: OwnedFd = File::open(&new).context(|| format!("open {}", new.display()))?.into();
    fill(root.as_fd()).context(|| "make the view of the host's root")?;
    fs::rename(&new, all.join(key)).context(|| format!("rename {}", new.display()))
}

fn fill(root: BorrowedFd<'_>) -> Result<()> {
    fchmod(root, Mode::from_bits_truncate(0o755)).context(|| "chmod")?;
    for (name, mode) in EMPTY {
        directory(root, name, mode)?;
    }
    let var = tree::open_dir(root, OsStr::new("var")).context(|| "open var")?;
    for (name, mode) in VAR {
        directory(var.as_fd(), name, mode)?;
    }
    for (name, target) in [("run", "/run"), ("lock", "/run/lock")] {
        symlinkat(target, &var, name).context(|| format!("ln -s {target} /var/{name}"))?;
    }
    for name in SYSTEM {
        system(root, name)?;
    }
    let etc = tree::open_dir(root, OsStr::new("etc")).context(|| "open etc")?;
    fill_etc(etc.as_fd())
}

/// A link as it is, a directory as a place for a mount.
fn system(root: BorrowedFd<'_>, name: &str) -> Result<()> {
    let host = PathBuf::from("/").join(name);
    match fs::symlink_metadata(&host) {
        Ok(meta) if meta.is_symlink() => {
            let target = fs::read_link(&host).context(|| format!("read {}", host.display()))?;
            symlinkat(&target, root, name).context(|| format!("ln -s {} /{name}", target.display()))
        }
        Ok(meta) if meta.is_dir() => directory(root, name, 0o755),
        _ => Ok(()),
    }
}

fn fill_etc(etc: BorrowedFd<'_>) -> Result<()> {
    let host: OwnedFd = File::open("/etc").context(|| "open /etc")?.into();
    let mut copier = Copier::new(etc, &public)?;
    // The host's root is nobody in a user namespace.
    copier.owner = if in_initial_user() { Owner::Same } else { Owner::One(0, 0) };
    for name in ETC {
        copier.entry(host.as_fd(), OsStr::new(name), etc, OsStr::new(name))?;
    }
    for (name, mode) in EMPTY_FILES.into_iter().chain([("hostname", 0o644), ("hosts", 0o644), ("resolv.conf", 0o644)]) {
        let flags = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_WRONLY | OFlag::O_CLOEXEC;
        let file = openat(etc, name, flags, Mode::from_bits_truncate(mode)).context(|| format!("make /etc/{name}"))?;
        fchmod(&file, Mode::from_bits_truncate(mode)).context(|| format!("chmod /etc/{name}"))?;
    }
    symlinkat("/proc/self/mounts", etc, "mtab").context(|| "ln -s /proc/self/mounts /etc/mtab")
}

/// What everybody may read on the host.
fn public(stat: &FileStat) -> bool {
    match tree::kind(stat) {
        SFlag::S_IFDIR => stat.st_mode & 0o005 == 0o005,
        SFlag::S_IFREG => stat.st_mode & 0o004 != 0,
        SFlag::S_IFLNK => true,
        _ => false,
    }
}

/// A new directory with exactly this mode, whatever the umask.
fn directory(parent: BorrowedFd<'_>, name: &str, mode: u32) -> Result<()> {
    mkdirat(parent, name, Mode::from_bits_truncate(0o700)).context(|| format!("mkdir {name}"))?;
    let dir = tree::open_dir(parent, OsStr::new(name)).context(|| format!("open {name}"))?;
    fchmod(&dir, Mode::from_bits_truncate(mode)).context(|| format!("chmod {name}"))
}

/// Removes the layers that no container refers to. What cannot be removed now will be another time.
fn sweep(all: &Path, data: &Path) {
    let entries = |dir: &Path| fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    let used: Vec<PathBuf> =
        entries(&data.join(super::ALL)).filter_map(|dir| fs::read_link(dir.join("lower")).ok()).collect();
    for dir in entries(all).filter(|dir| !used.contains(dir)) {
        let _ = fs::remove_dir_all(dir);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(data: &Path, id: &str) -> Place {
        let place = Place::of(data, &id.parse().unwrap());
        place.create().unwrap();
        place
    }

    #[test]
    fn the_layer_is_made_once_and_holds_no_secret() {
        let data = tempfile::tempdir().unwrap();
        layer(data.path(), &place(data.path(), "a")).unwrap();
        layer(data.path(), &place(data.path(), "b")).unwrap();
        let layers: Vec<_> = fs::read_dir(data.path().join("hostview")).unwrap().map(|e| e.unwrap().path()).collect();
        assert_eq!(layers.len(), 1, "{layers:?}");
        let only = &layers[0];
        assert!(fs::read(only.join("etc/passwd")).unwrap().starts_with(b"root:"));
        assert_eq!(fs::metadata(only.join("etc/shadow")).unwrap().len(), 0);
        assert!(!only.join("etc/ssl/private").exists() && !only.join("etc/machine-id").exists());
        assert_eq!(fs::read_dir(only.join("home")).unwrap().count(), 0);
        assert_eq!(fs::metadata(only.join("tmp")).unwrap().mode() & 0o7777, 0o1777);
        assert_eq!(fs::read_link("/bin").ok(), fs::read_link(only.join("bin")).ok());
    }

    #[test]
    fn only_layers_that_nobody_uses_are_swept() {
        let data = tempfile::tempdir().unwrap();
        let all = data.path().join("hostview");
        for name in ["used", "old", ".new"] {
            fs::create_dir_all(all.join(name)).unwrap();
        }
        refer(&place(data.path(), "a"), &all.join("used")).unwrap();
        sweep(&all, data.path());
        let left: Vec<_> = fs::read_dir(&all).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(left, ["used"]);
    }
}
