//! What is remembered of a device while a container has it: a file an attachment, in a directory that a reboot empties.
//!
//! The device itself carries its name in the host, as alias, where the Go suite looks for it too. What it had besides
//! (addresses, whether it was up) has no place on the device.

use std::fmt;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use cni::Owner;
use kernel::Mac;
use kernel::link::Link;
use kernel::plan::Home;
use serde::{Deserialize, Serialize};

use crate::lifecycle::Request;

/// Where the files are.
pub(super) const DIRECTORY: &str = "/run/cni/host-device";

/// The content of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Document {
    owner: String,
    netns: String,
    ifname: String,
    device: String,
    mac: String,
    #[serde(default)]
    physical: bool,
    up: bool,
    addresses: Vec<String>,
}

/// A record: whose the device is for now, and how it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    path: PathBuf,
    /// The owner's tag.
    pub(super) owner: String,
    /// The container's namespace.
    pub(super) netns: String,
    /// The device's name there.
    pub(super) ifname: String,
    /// How the device was in the host.
    pub(super) home: Home,
    /// Its hardware address.
    pub(super) mac: Option<Mac>,
    /// It is made of more than messages: when its namespace dies, the kernel sends it back.
    pub(super) physical: bool,
}

impl Record {
    /// A record to be written.
    pub(super) fn new(directory: &Path, request: &Request<'_>, home: Home, device: &Link) -> Self {
        let (owner, attachment) = (&request.owner, request.attachment);
        let (netns, ifname) = (attachment.netns.clone(), attachment.ifname.to_string());
        let (mac, physical) = (device.mac, device.kind.is_none());
        Self { path: path(directory, owner), owner: owner.tag(), netns, ifname, home, mac, physical }
    }

    /// A record of somebody's, for tests.
    #[cfg(test)]
    pub(super) fn sample(directory: &Path, home: Home, mac: Option<Mac>) -> Self {
        let (owner, netns, ifname) =
            ("43d91f8451058a70-0b65a318f52e521b".into(), "/run/netns/c1".into(), "eth0".into());
        Self { path: directory.join("sample.json"), owner, netns, ifname, home, mac, physical: false }
    }

    /// The record of an attachment, if there is one that can be read.
    pub(super) fn read(directory: &Path, owner: &Owner) -> Option<Self> {
        Self::load(path(directory, owner))
    }

    /// All records.
    pub(super) fn all(directory: &Path) -> io::Result<Vec<Self>> {
        let entries = match fs::read_dir(directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        entries.map(|entry| entry.map(|entry| Self::load(entry.path()))).filter_map(Result::transpose).collect()
    }

    fn load(path: PathBuf) -> Option<Self> {
        let Document { owner, netns, ifname, device, mac, physical, up, addresses } =
            serde_json::from_slice(&fs::read(&path).ok()?).ok()?;
        let addresses = addresses.iter().filter_map(|address| address.parse().ok()).collect();
        let home = Home { name: device, up, addresses };
        Some(Self { path, owner, netns, ifname, home, mac: mac.parse().ok(), physical })
    }

    /// Writes it, whole or not at all.
    pub(super) fn write(&self) -> io::Result<()> {
        let document = Document {
            owner: self.owner.clone(),
            netns: self.netns.clone(),
            ifname: self.ifname.clone(),
            device: self.home.name.clone(),
            mac: self.mac.map(|mac| mac.to_string()).unwrap_or_default(),
            physical: self.physical,
            up: self.home.up,
            addresses: self.home.addresses.iter().map(ToString::to_string).collect(),
        };
        if let Some(directory) = self.path.parent() {
            fs::create_dir_all(directory)?;
        }
        let draft = draft(&self.path);
        let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
        file.write_all(serde_json::to_string(&document)?.as_bytes())?;
        fs::rename(&draft, &self.path)
    }

    /// Removes what an ADD of the attachment that was killed while it wrote may have left.
    pub(super) fn remove_draft(directory: &Path, owner: &Owner) {
        let _ = fs::remove_file(draft(&path(directory, owner)));
    }

    /// Removes it.
    pub(super) fn remove(&self) -> io::Result<()> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

/// Where it is written before it is whole.
fn draft(path: &Path) -> PathBuf {
    path.with_extension("new")
}

/// Names of containers and interfaces are names of files; the network's may be as long as it likes, so it is a hash.
fn path(directory: &Path, owner: &Owner) -> PathBuf {
    directory.join(format!("{}_{}_{}.json", owner.network_prefix(), owner.id, owner.ifname))
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.path.display().fmt(f)
    }
}
