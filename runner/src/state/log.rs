//! The undo log: an append-only list of what will have to be undone.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::cgroup::systemd::Unit;
use crate::error::{Context, Result};
use crate::id::Name;

use super::exit::Exit;

/// Something that is about to be done, with all that is needed to undo it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "done")]
pub(crate) enum Record {
    /// The container is to go when this run ends: it is being made, or was asked to be removed.
    Container {
        /// Its directory of lasting things, with a log of its own.
        data: PathBuf,
    },
    /// The container stays after all, whatever was written before.
    Keep,
    /// The run has ended. Nothing is to be undone about that; those who wait read it here.
    Ended {
        /// How.
        exit: Exit,
    },
    /// A name was taken.
    Name {
        /// The name.
        name: Name,
    },
    /// An image was held, so that its layers stay.
    Image {
        /// The data directory.
        data: PathBuf,
    },
    /// The directory of the container's changes was made.
    Layer {
        /// Which one.
        dir: PathBuf,
    },
    /// A volume that belongs to this container was made.
    Volume {
        /// The data directory.
        data: PathBuf,
        /// Its name.
        name: String,
    },
    /// Version 2 controllers were switched on in a `cgroup.subtree_control` file.
    Controllers {
        /// The file.
        control: PathBuf,
        /// The controllers that were off before.
        controllers: Vec<String>,
    },
    /// Groups were made.
    Cgroups {
        /// Their directories.
        dirs: Vec<PathBuf>,
    },
    /// systemd was asked for a scope.
    Scope {
        /// Which one.
        unit: Unit,
    },
    /// The first process was started. Written right after the fact: until it is told to go on, that process ends by
    /// itself when its parent does.
    Process {
        /// Its number.
        pid: i32,
        /// Its start time, in clock ticks since boot, which tells it from a later process of the same number.
        start: u64,
    },
    /// A network namespace was pinned.
    Netns {
        /// The file on which it is mounted.
        path: PathBuf,
    },
    /// Files of /etc were written into a directory.
    Files {
        /// The directory.
        dir: PathBuf,
    },
    /// Plugins were asked to wire the container.
    Network {
        /// The network's name.
        network: String,
        /// The list of plugins as it was then; not the file of today.
        conflist: String,
        /// Where the plugins are. Empty: inside xnet.
        plugin_path: Vec<PathBuf>,
        /// The interface's name inside.
        ifname: String,
        /// The pinned namespace.
        netns: PathBuf,
    },
}

/// For how long a thing that was done lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Until the container's first process has ended: groups, namespaces, attachments.
    Run,
    /// Until the container is removed: its name, its writable layer.
    Container,
}

impl Record {
    /// Which of the two logs it belongs into.
    pub(crate) fn scope(&self) -> Scope {
        match self {
            Self::Name { .. } | Self::Image { .. } | Self::Layer { .. } | Self::Volume { .. } => Scope::Container,
            Self::Container { .. }
            | Self::Keep
            | Self::Ended { .. }
            | Self::Controllers { .. }
            | Self::Cgroups { .. }
            | Self::Scope { .. }
            | Self::Process { .. }
            | Self::Netns { .. }
            | Self::Files { .. }
            | Self::Network { .. } => Scope::Run,
        }
    }

    /// A short name, for fault injection.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Container { .. } => "container",
            Self::Keep => "keep",
            Self::Ended { .. } => "ended",
            Self::Name { .. } => "name",
            Self::Image { .. } => "image",
            Self::Layer { .. } => "layer",
            Self::Volume { .. } => "volume",
            Self::Controllers { .. } => "controllers",
            Self::Cgroups { .. } => "cgroups",
            Self::Scope { .. } => "scope",
            Self::Process { .. } => "process",
            Self::Netns { .. } => "netns",
            Self::Files { .. } => "files",
            Self::Network { .. } => "network",
        }
    }
}

/// Appends `record` to the log. It is a single write, so a reader sees all of it or a line without an end.
pub(crate) fn append(log: &mut File, record: &Record) -> Result<()> {
    let mut line = serde_json::to_string(record).context(|| "encode a log entry")?;
    line.push('\n');
    log.write_all(line.as_bytes()).context(|| "write the container's log")
}

/// All records of the log at `path`, oldest first. A last line without an end was never acted on.
pub(crate) fn read(path: &Path) -> Result<Vec<Record>> {
    let text = match std::fs::read_to_string(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        text => text.context(|| format!("read {}", path.display()))?,
    };
    parse(&text).context(|| path.display().to_string())
}

/// All records in the text of a log.
pub(crate) fn parse(text: &str) -> Result<Vec<Record>> {
    let whole = text.rfind('\n').map_or("", |end| text.get(..=end).unwrap_or_default());
    whole.lines().map(|line| serde_json::from_str(line).context(|| "an unknown entry")).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn records_read_back_and_a_torn_line_is_ignored() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut file = File::create(&path).unwrap();
        let records = [
            Record::Name { name: "web".parse().unwrap() },
            Record::Process { pid: 7, start: 99 },
            Record::Network {
                network: "x".into(),
                conflist: "{\n\"name\": \"x\"}\n".into(),
                plugin_path: vec![],
                ifname: "eth0".into(),
                netns: "/run/netns/x".into(),
            },
        ];
        for record in &records {
            append(&mut file, record).unwrap();
        }
        file.write_all(b"{\"done\":\"netns\",\"pa").unwrap();
        assert_eq!(read(&path).unwrap(), records);
        fs::write(&path, "nonsense\n").unwrap();
        assert!(read(&path).is_err());
    }
}
