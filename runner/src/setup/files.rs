//! The three files of /etc that every container has for itself.
//!
//! They are in a directory of the host and are mounted over what the root file system has under these names. So they can be
//! written to in the container also where its root is read-only, they can be brought up to date from outside, and a
//! container that joins another's network has the other's very files.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open, openat};
use nix::sys::stat::{Mode, SFlag, fstat};
use nix::unistd::{UnlinkatFlags, unlinkat};
use serde::{Deserialize, Serialize};

use crate::error::{Context, Error, Result};
use crate::sys;
use crate::sys::mount::attr;

use super::path::Root;

/// Where `hostname`, `hosts` and `resolv.conf` are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Files {
    /// A directory of the host; empty when there are no such files.
    pub(crate) dir: PathBuf,
}

const NAMES: [&str; 3] = ["hostname", "hosts", "resolv.conf"];

impl Files {
    /// Mounts the three files: `trees`, if the parent had to open them.
    pub(crate) fn attach(&self, root: &Root, trees: &[OwnedFd]) -> Result<()> {
        if self.dir == Path::new("") {
            return Ok(());
        }
        let own;
        let trees = if trees.is_empty() {
            own = self.open(None)?;
            &own
        } else {
            trees
        };
        let etc = root.mount_point("etc")?;
        let mount = |(name, tree): (&str, &OwnedFd)| {
            let target = target(&etc, name)?;
            sys::mount::attach(tree.as_fd(), target.as_fd()).context(|| "attach it")
        };
        let mut all = NAMES.into_iter().zip(trees);
        all.try_for_each(|(name, tree)| mount((name, tree)).context(|| format!("mount /etc/{name}")))
    }

    /// The three files as detached mounts, owned by root of `userns` if there is one.
    pub(crate) fn open(&self, userns: Option<BorrowedFd<'_>>) -> Result<Vec<OwnedFd>> {
        if self.dir == Path::new("") {
            return Ok(Vec::new());
        }
        NAMES.iter().map(|name| open_file(&self.dir.join(name), userns)).collect()
    }
}

fn open_file(file: &Path, userns: Option<BorrowedFd<'_>>) -> Result<OwnedFd> {
    let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let source = open(file, flags, Mode::empty()).context(|| format!("open {}", file.display()))?;
    let tree = sys::mount::copy_tree(source.as_fd()).context(|| "copy the mount")?;
    sys::mount::set_flags(tree.as_fd(), attr::NOSUID | attr::NODEV | attr::NOEXEC).context(|| "set its flags")?;
    if let Some(userns) = userns {
        sys::mount::map_ids(tree.as_fd(), userns, true).context(|| "translate its owner")?;
    }
    Ok(tree)
}

/// A regular file to mount on. What else is there, be it a link into /proc, is replaced and never followed.
fn target(etc: impl AsFd, name: &str) -> Result<OwnedFd> {
    let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    match openat(&etc, name, flags, Mode::empty()) {
        Ok(fd) if is_regular(&fd)? => return Ok(fd),
        Ok(_) => unlinkat(&etc, name, UnlinkatFlags::NoRemoveDir).map_err(|errno| match errno {
            Errno::EISDIR => Error::new("the root file system has a directory of that name"),
            errno => Error::new(format!("remove what is there: {}", errno.desc())),
        })?,
        Err(Errno::ENOENT) => {}
        Err(errno) => return Err(errno).context(|| "look at what is there"),
    }
    let create = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_WRONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    openat(&etc, name, create, Mode::from_bits_truncate(0o644)).context(|| "create a file to mount on")
}

fn is_regular(fd: impl AsFd) -> Result<bool> {
    let mode = fstat(fd).context(|| "stat")?.st_mode;
    Ok(SFlag::from_bits_truncate(mode) & SFlag::S_IFMT == SFlag::S_IFREG)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use nix::mount::{MsFlags, mount};
    use nix::sched::{CloneFlags, unshare};

    use super::*;

    #[test]
    fn a_link_is_replaced_and_not_followed() {
        unshare(CloneFlags::CLONE_NEWNS).unwrap();
        mount(None::<&str>, "/", None::<&str>, MsFlags::MS_PRIVATE | MsFlags::MS_REC, None::<&str>).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let (victim, root, files) = (dir.path().join("victim"), dir.path().join("root"), dir.path().join("files"));
        fs::write(&victim, "old").unwrap();
        fs::create_dir_all(root.join("etc")).unwrap();
        fs::create_dir(&files).unwrap();
        NAMES.iter().for_each(|name| fs::write(files.join(name), name).unwrap());
        symlink(&victim, root.join("etc/hosts")).unwrap();
        fs::write(root.join("etc/hostname"), "image").unwrap();
        Files { dir: files }.attach(&Root::open(&root).unwrap(), &[]).unwrap();
        assert_eq!(fs::read_to_string(&victim).unwrap(), "old");
        for name in NAMES {
            assert_eq!(fs::read_to_string(root.join("etc").join(name)).unwrap(), name);
        }
    }
}
