//! What is mounted into a container.

pub(crate) mod flag;

use std::fmt;
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// One mount.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// Where it is inside: absolute, without `.` and `..`.
    pub target: PathBuf,
    /// What is shown there.
    pub source: Source,
    /// What may be done with it.
    pub flags: Flags,
    /// Whether mounts made on one side appear on the other.
    pub propagation: Propagation,
    /// Whether owners are translated by the container's user namespace, so that the ids on the disk are those seen inside.
    pub idmap: bool,
    /// The options as they were typed, for `inspect`.
    pub mode: String,
}

/// What a mount shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// A file or directory of the host.
    Bind {
        /// Which one; absolute.
        path: PathBuf,
        /// Make it, as a directory, if it is missing.
        create: bool,
        /// Show what is mounted below it, too.
        recursive: bool,
    },
    /// A volume of xnet.
    Volume {
        /// Its name.
        name: String,
        /// It came into being for this container only.
        anonymous: bool,
        /// Leave it empty, instead of filling it with what the image has at the target.
        nocopy: bool,
    },
    /// An empty file system in memory.
    Tmpfs {
        /// Options of the file system, such as `size`.
        options: Vec<FsOption>,
    },
    /// Any other file system, by its kernel name.
    Other {
        /// Its type.
        kind: String,
        /// Its source, as the mount table shows it.
        device: String,
        /// Its options.
        options: Vec<FsOption>,
    },
}

/// An option of a file system; without a value it is a switch.
pub type FsOption = (String, Option<String>);

/// Flags of a mount, as differences to what the source has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Flags {
    /// Bits of linux/mount.h's `MOUNT_ATTR_*` to be set.
    pub set: u64,
    /// Bits to be cleared.
    pub clear: u64,
    /// Leave what is mounted below the source as it is.
    pub top_only: bool,
}

/// `MOUNT_ATTR_RDONLY`.
const RDONLY: u64 = 0x1;

/// The words for flags, with the bits that they set and clear. The times' words exclude each other.
const FLAG_WORDS: [(&str, u64, u64); 16] = [
    ("ro", RDONLY, 0),
    ("readonly", RDONLY, 0),
    ("rw", 0, RDONLY),
    ("nosuid", 0x2, 0),
    ("suid", 0, 0x2),
    ("nodev", 0x4, 0),
    ("dev", 0, 0x4),
    ("noexec", 0x8, 0),
    ("exec", 0, 0x8),
    ("relatime", 0, 0x70),
    ("noatime", 0x10, 0x70),
    ("strictatime", 0x20, 0x70),
    ("nodiratime", 0x80, 0),
    ("diratime", 0, 0x80),
    ("nosymfollow", 0x20_0000, 0),
    ("symfollow", 0, 0x20_0000),
];

impl Flags {
    /// Takes in an option word; false if it is not about flags. A later word wins over an earlier one.
    pub fn take(&mut self, word: &str) -> bool {
        let Some((_, set, clear)) = FLAG_WORDS.iter().find(|(known, ..)| *known == word) else { return false };
        self.set = (self.set & !clear) | set;
        self.clear = (self.clear & !set) | clear;
        true
    }

    /// Whether nothing can be written through the mount.
    #[must_use]
    pub fn readonly(&self) -> bool {
        self.set & RDONLY != 0
    }
}

/// Whether mounts made below a mount on one side appear on the other. All but the plain ones hold for the mounts below, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Propagation {
    /// Neither way, for this mount.
    Private,
    /// Neither way.
    #[default]
    Rprivate,
    /// From the host to the container, for this mount.
    Slave,
    /// From the host to the container.
    Rslave,
    /// Both ways, for this mount.
    Shared,
    /// Both ways.
    Rshared,
}

impl Propagation {
    /// The kernel's word for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Private => "private",
            Self::Rprivate => "rprivate",
            Self::Slave => "slave",
            Self::Rslave => "rslave",
            Self::Shared => "shared",
            Self::Rshared => "rshared",
        }
    }

    /// What a word means, if it is about propagation.
    #[must_use]
    pub fn of(word: &str) -> Option<Self> {
        let all = [Self::Private, Self::Rprivate, Self::Slave, Self::Rslave, Self::Shared, Self::Rshared];
        all.into_iter().find(|each| each.name() == word)
    }

    /// Whether it holds for the mounts below.
    #[must_use]
    pub fn is_recursive(self) -> bool {
        matches!(self, Self::Rprivate | Self::Rslave | Self::Rshared)
    }
}

impl Mount {
    /// A mount with nothing special about it.
    pub fn new(target: &str, source: Source) -> Result<Self> {
        Ok(Self {
            target: target_path(target)?,
            source,
            flags: Flags::default(),
            propagation: Propagation::default(),
            idmap: false,
            mode: String::new(),
        })
    }

    /// The name of the volume that it shows.
    #[must_use]
    pub fn volume(&self) -> Option<&str> {
        match &self.source {
            Source::Volume { name, .. } => Some(name),
            _ => None,
        }
    }
}

/// The path `text` inside a container: absolute, with `.` and `..` taken out; not the root itself.
pub(crate) fn target_path(text: &str) -> Result<PathBuf> {
    let path = Path::new(text);
    if !path.is_absolute() {
        return Err(Error::new(format!("invalid mount target {text:?}: it must be an absolute path in the container")));
    }
    let clean = clean(path);
    if clean == Path::new("/") {
        return Err(Error::new(format!(
            "invalid mount target {text:?}: nothing can be mounted over the container's root"
        )));
    }
    Ok(clean)
}

/// The path from the root, with `.` and `..` taken out as if there were no links.
pub(crate) fn clean(path: &Path) -> PathBuf {
    let mut clean = PathBuf::from("/");
    for component in path.components() {
        match component {
            Component::ParentDir => drop(clean.pop()),
            Component::Normal(name) => clean.push(name),
            _ => {}
        }
    }
    clean
}

/// The order in which mounts can be attached: what lies deeper comes later, and nothing else changes place.
pub(crate) fn sort(mounts: &mut [Mount]) -> Result<()> {
    mounts.sort_by_key(|mount| mount.target.components().count());
    for (at, mount) in mounts.iter().enumerate() {
        if mounts.iter().skip(at + 1).any(|other| other.target == mount.target) {
            return Err(Error::new(format!("duplicate mount point {}", mount.target.display())));
        }
    }
    Ok(())
}

impl fmt::Display for Mount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mode = if self.flags.readonly() { "ro" } else { "rw" };
        let target = self.target.display();
        match &self.source {
            Source::Bind { path, recursive, .. } => {
                let bind = if *recursive { "--rbind" } else { "--bind" };
                write!(f, "mount {bind} -o {mode} {} {target}", path.display())
            }
            Source::Volume { name, .. } => write!(f, "mount --bind -o {mode} VOLUMES/{name}/_data {target}"),
            Source::Tmpfs { options } => write!(f, "mount -t tmpfs -o {mode}{} tmpfs {target}", shown(options)),
            Source::Other { kind, device, options } => {
                write!(f, "mount -t {kind} -o {mode}{} {device} {target}", shown(options))
            }
        }
    }
}

fn shown(options: &[FsOption]) -> String {
    let one = |(key, value): &FsOption| match value {
        Some(value) => format!(",{key}={value}"),
        None => format!(",{key}"),
    };
    options.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_cleaned_and_never_the_root() {
        assert_eq!(target_path("/a/./b/../c/").unwrap(), Path::new("/a/c"));
        assert_eq!(target_path("/../../x").unwrap(), Path::new("/x"));
        for bad in ["", "a", "./a", "/", "/..", "/a/.."] {
            assert!(target_path(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_last_word_about_a_flag_holds() {
        let mut flags = Flags::default();
        for word in ["ro", "nosuid", "rw", "noexec", "suid"] {
            assert!(flags.take(word));
        }
        assert_eq!(flags, Flags { set: 0x8, clear: 0x3, top_only: false });
        assert!(!flags.take("nocopy"));
    }

    #[test]
    fn outer_mounts_come_first_and_none_twice() {
        let mount = |target: &str| Mount::new(target, Source::Tmpfs { options: vec![] }).unwrap();
        let mut mounts = vec![mount("/a/b"), mount("/z"), mount("/a")];
        sort(&mut mounts).unwrap();
        let targets: Vec<_> = mounts.iter().map(|m| m.target.to_str().unwrap()).collect();
        assert_eq!(targets, ["/z", "/a", "/a/b"]);
        assert!(sort(&mut [mount("/a"), mount("/b/../a")]).unwrap_err().message.contains("duplicate mount point /a"));
    }
}
