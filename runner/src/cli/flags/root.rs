//! Options about the file system of a container.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use clap::Args;
use nix::sys::stat::{major, minor};

use crate::cgroup::devices::Rule;
use crate::error::{Context, Error, Result};
use crate::spec::mount::{self, flag, target_path};
use crate::spec::{HostDevice, Mount, Root, Rootfs, SHM_BYTES, Source, Storage};

/// What the container sees as `/`.
#[derive(Debug, Args)]
#[command(next_help_heading = "File system")]
pub(in crate::cli) struct RootFlags {
    /// A directory to run in, in the place of an image; it is never written to
    #[arg(long, value_name = "DIR")]
    rootfs: Option<PathBuf>,
    /// Let nothing be written to the root file system itself
    #[arg(long)]
    read_only: bool,
    /// How the container's changes are kept: overlay or vfs
    #[arg(long, value_name = "DRIVER", default_value = "overlay", value_parser = storage)]
    storage: Storage,
    /// Show a directory, a file or a volume inside; a missing directory is made
    #[arg(short, long, value_name = "[SOURCE:]TARGET[:OPTIONS]")]
    volume: Vec<String>,
    /// Mount something inside: type=bind|volume|tmpfs,source=...,target=...
    #[arg(long, value_name = "KEY=VALUE,...")]
    mount: Vec<String>,
    /// Mount an empty file system in memory
    #[arg(long, value_name = "TARGET[:OPTIONS]")]
    tmpfs: Vec<String>,
    /// Mount what another container has mounted
    #[arg(long, value_name = "CONTAINER[:ro|rw]")]
    pub(in crate::cli) volumes_from: Vec<String>,
    /// What /dev/shm holds: bytes, or with k, m, g
    #[arg(long, value_name = "SIZE", value_parser = shm_size, default_value_t = SHM_BYTES, hide_default_value = true)]
    shm_size: u64,
    /// Give the container a device of the host
    #[arg(long, value_name = "HOST[:INSIDE][:rwm]")]
    device: Vec<String>,
}

impl RootFlags {
    /// What was asked for, as far as the host has it. `warn` gets what is ignored.
    pub(in crate::cli) fn root(&self, rootfs: Rootfs, warn: &mut dyn FnMut(&Error)) -> Result<Root> {
        Ok(Root {
            storage: self.storage,
            readonly: self.read_only,
            mounts: self.mounts(warn)?,
            devices: self.devices()?,
            shm_bytes: self.shm_size,
            ..Root::new(rootfs)
        })
    }

    /// The directory of `--rootfs`.
    pub(in crate::cli) fn directory(&self) -> Result<Option<Rootfs>> {
        self.rootfs.as_deref().map(|dir| directory(dir).map(Rootfs::Dir)).transpose()
    }

    fn mounts(&self, warn: &mut dyn FnMut(&Error)) -> Result<Vec<Mount>> {
        let mut mounts = Vec::new();
        for text in &self.volume {
            let (mount, ignored) = flag::volume(text)?;
            for word in ignored {
                warn(&Error::new(format!("-v {text}: {word:?} has no effect here")));
            }
            mounts.push(mount);
        }
        for text in &self.mount {
            let mount = flag::mount(text)?;
            if let Source::Bind { path, .. } = &mount.source {
                fs::metadata(path).context(|| format!("--mount: the source {}", path.display()))?;
            }
            mounts.push(mount);
        }
        for text in &self.tmpfs {
            mounts.push(flag::tmpfs(text)?);
        }
        mount::sort(&mut mounts)?;
        Ok(mounts)
    }

    fn devices(&self) -> Result<Vec<HostDevice>> {
        let mut devices = Vec::new();
        for text in &self.device {
            add_devices(&device(text)?, &mut devices)?;
        }
        Ok(devices)
    }
}

fn directory(dir: &Path) -> Result<PathBuf> {
    let dir = dir.canonicalize().context(|| format!("the root file system {}", dir.display()))?;
    if !dir.is_dir() {
        return Err(Error::new(format!("the root file system {} is not a directory", dir.display())));
    }
    Ok(dir)
}

fn storage(text: &str) -> Result<Storage> {
    match text {
        "overlay" | "overlay2" => Ok(Storage::Overlay),
        "vfs" => Ok(Storage::Vfs),
        _ => Err(Error::new("there are the drivers overlay and vfs")),
    }
}

/// A number of bytes with an optional suffix b, k, m or g.
fn shm_size(text: &str) -> Result<u64> {
    let invalid = || Error::new(format!("invalid size {text:?}: expected a number with an optional b, k, m or g"));
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match text.get(digits.len()..).unwrap_or_default().to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" => 10,
        "m" | "mb" => 20,
        "g" | "gb" => 30,
        _ => return Err(invalid()),
    };
    let bytes = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(1 << shift));
    bytes.filter(|bytes| *bytes > 0).ok_or_else(invalid)
}

/// `HOST`, `HOST:ACCESS`, `HOST:INSIDE` or `HOST:INSIDE:ACCESS`.
fn device(text: &str) -> Result<HostDevice> {
    let invalid = |why: &str| Error::new(format!("invalid --device {text:?}: {why}"));
    let is_access = |word: &str| !word.is_empty() && word.chars().all(|c| "rwm".contains(c));
    let parts: Vec<&str> = text.split(':').collect();
    let (host, inside, access) = match parts[..] {
        [host] => (host, host, "rwm"),
        [host, access] if is_access(access) => (host, host, access),
        [host, inside] => (host, inside, "rwm"),
        [host, inside, access] if is_access(access) => (host, inside, access),
        [_, _, access] => return Err(invalid(&format!("{access:?} is not made of r, w and m"))),
        _ => return Err(invalid("expected HOST[:INSIDE][:rwm]")),
    };
    if !Path::new(host).is_absolute() {
        return Err(invalid("the device of the host must be an absolute path"));
    }
    Ok(HostDevice { host: host.into(), inside: target_path(inside)?, access: access.to_owned() })
}

/// What the container's groups must allow for `device` to be of use.
pub(in crate::cli) fn rule(device: &HostDevice) -> Result<Rule> {
    let meta = fs::metadata(&device.host).context(|| format!("--device {}", device.host.display()))?;
    let kind = if meta.file_type().is_block_device() { 'b' } else { 'c' };
    format!("{kind} {}:{} {}", major(meta.rdev()), minor(meta.rdev()), device.access).parse()
}

/// A directory stands for all devices in it.
fn add_devices(device: &HostDevice, devices: &mut Vec<HostDevice>) -> Result<()> {
    let shown = device.host.display();
    let kind = fs::metadata(&device.host).context(|| format!("--device {shown}"))?.file_type();
    if kind.is_char_device() || kind.is_block_device() {
        devices.push(device.clone());
        return Ok(());
    }
    if !kind.is_dir() {
        return Err(Error::new(format!("--device {shown}: it is not a device")));
    }
    for entry in fs::read_dir(&device.host).context(|| format!("--device {shown}"))? {
        let name = entry.context(|| format!("--device {shown}"))?.file_name();
        let each = HostDevice {
            host: device.host.join(&name),
            inside: device.inside.join(&name),
            access: device.access.clone(),
        };
        let kind = fs::metadata(&each.host).map(|meta| meta.file_type());
        if kind.is_ok_and(|kind| kind.is_dir() || kind.is_char_device() || kind.is_block_device()) {
            add_devices(&each, devices)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_devices() {
        let read = |text: &str| device(text).map(|d| (d.host, d.inside, d.access)).ok();
        let expect = |host: &str, inside: &str, access: &str| Some((host.into(), inside.into(), access.to_owned()));
        assert_eq!(read("/dev/fuse"), expect("/dev/fuse", "/dev/fuse", "rwm"));
        assert_eq!(read("/dev/fuse:r"), expect("/dev/fuse", "/dev/fuse", "r"));
        assert_eq!(read("/dev/fuse:/dev/x"), expect("/dev/fuse", "/dev/x", "rwm"));
        assert_eq!(read("/dev/fuse:/dev/x:rw"), expect("/dev/fuse", "/dev/x", "rw"));
        for bad in ["", "fuse", "/dev/a:/dev/b:x", "/dev/a:b", "/a:/b:r:w"] {
            assert_eq!(read(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn what_is_no_device_is_refused() {
        assert!(add_devices(&device("/etc/passwd").unwrap(), &mut Vec::new()).is_err());
        let mut found = Vec::new();
        add_devices(&device("/dev/null:/x").unwrap(), &mut found).unwrap();
        assert_eq!(found.len(), 1);
    }

    #[test]
    fn sizes_of_shm() {
        assert_eq!(shm_size("64m"), Ok(64 << 20));
        assert_eq!(shm_size("4096"), Ok(4096));
        for bad in ["", "0", "m", "1x", "-1"] {
            assert!(shm_size(bad).is_err(), "{bad:?}");
        }
    }
}
