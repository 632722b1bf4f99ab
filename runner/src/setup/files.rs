//! The three files of /etc that every container has for itself.

use std::io::Write;
use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, unlinkat};
use serde::{Deserialize, Serialize};

use crate::error::{Context, Result};

use super::path::Root;

/// Contents of `/etc/hostname`, `/etc/hosts` and `/etc/resolv.conf`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Files {
    /// Without a newline; empty when the container has the host's name.
    pub(crate) hostname: String,
    pub(crate) hosts: String,
    pub(crate) resolv: String,
}

impl Files {
    /// Replaces the three files. What is there, be it a link into /proc, is unlinked and never written through.
    pub(crate) fn write(&self, root: &Root) -> Result<()> {
        let etc = root.mount_point("etc")?;
        let texts = [
            ("hostname", format!("{}\n", self.hostname)),
            ("hosts", self.hosts.clone()),
            ("resolv.conf", self.resolv.clone()),
        ];
        for (name, text) in texts {
            replace(etc.as_fd(), name, &text).context(|| format!("write /etc/{name}"))?;
        }
        Ok(())
    }
}

fn replace(etc: impl AsFd, name: &str, text: &str) -> Result<()> {
    match unlinkat(&etc, name, UnlinkatFlags::NoRemoveDir) {
        Err(Errno::ENOENT) => Ok(()),
        other => other,
    }
    .context(|| "remove what is there")?;
    let flags = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_WRONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let file = openat(&etc, name, flags, Mode::from_bits_truncate(0o644)).context(|| "create")?;
    std::fs::File::from(file).write_all(text.as_bytes()).context(|| "write")
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_link_is_replaced_and_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let victim = dir.path().join("victim");
        fs::write(&victim, "old").unwrap();
        fs::create_dir(dir.path().join("etc")).unwrap();
        symlink(&victim, dir.path().join("etc/hosts")).unwrap();
        let files = Files { hostname: "h".into(), hosts: "hosts\n".into(), resolv: String::new() };
        files.write(&Root::open(dir.path()).unwrap()).unwrap();
        assert_eq!(fs::read_to_string(&victim).unwrap(), "old");
        assert_eq!(fs::read_to_string(dir.path().join("etc/hosts")).unwrap(), "hosts\n");
        assert_eq!(fs::read_to_string(dir.path().join("etc/hostname")).unwrap(), "h\n");
    }
}
