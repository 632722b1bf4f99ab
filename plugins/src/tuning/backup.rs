//! The file that holds what an interface had before.
//!
//! Its path and its first members are those of the Go suite, which reads and removes it when it comes to delete an
//! attachment of ours, as ours does for its. The last member, `xnet`, says what the Go suite leaves out: whose the file is,
//! of which life of the namespace and the link, and what the parameters were.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use cni::decode;
use cni::plugin::Attachment;
use kernel::link::{Link, Settings};
use serde::{Deserialize, Serialize};
use serde_json::Serializer;
use serde_json::ser::PrettyFormatter;

/// What the machine's life is known by.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// What an interface had before.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Backup {
    #[serde(skip_serializing_if = "String::is_empty")]
    mac: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    promisc: Option<bool>,
    #[serde(skip_serializing_if = "is_zero")]
    mtu: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    allmulti: Option<bool>,
    #[serde(rename = "txQLen", skip_serializing_if = "Option::is_none")]
    tx_qlen: Option<u32>,
    /// None in a file of the Go suite's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) xnet: Option<Ours>,
}

/// What the Go suite does not keep.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Ours {
    /// The owner's tag.
    pub(super) owner: String,
    /// Where the namespace was, for GC, which is not told.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) netns: String,
    /// The life of namespace and link.
    pub(super) life: Life,
    /// The parameters, in the order in which they were set.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) sysctl: Vec<Was>,
}

/// One parameter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Was {
    /// Below `/proc/sys`, with slashes.
    pub(super) name: String,
    /// Its value.
    pub(super) was: String,
    /// When it was read, in nanoseconds since the machine started: of two attachments that set one parameter of their
    /// namespace, the later one has seen the earlier one's value.
    pub(super) at: u64,
}

/// Which link of which namespace, so that one of the same name in a later namespace at the same path is not taken for it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Life {
    /// Where the machine's life and the namespace's are known by, empty when the kernel does not tell.
    pub(super) namespace: String,
    /// `ifindex`; 0 for no link.
    pub(super) link: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl Backup {
    /// Where the backup of an attachment is.
    pub(super) fn path(data_dir: &Path, attachment: &Attachment) -> PathBuf {
        data_dir.join(format!("{}_{}.json", attachment.container_id, attachment.ifname))
    }

    /// Reads a backup; none if there is no file. A file that is no backup is an empty one: nothing is known from it.
    ///
    /// # Errors
    ///
    /// When it is there and can't be read.
    pub(super) fn read(path: &Path) -> io::Result<Option<Self>> {
        match fs::read(path) {
            Ok(bytes) => Ok(Some(decode::from_slice(&bytes).unwrap_or_default())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes it, whole or not at all, into a directory that is made where it is missing.
    ///
    /// # Errors
    ///
    /// When the file system refuses.
    pub(super) fn write(&self, path: &Path) -> io::Result<()> {
        let folder = path.parent().unwrap_or(Path::new("."));
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let temporary = folder.join(format!(".{}", std::process::id()));
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        let written = file.write_all(&self.to_json()).and_then(|()| fs::rename(&temporary, path));
        if written.is_err() {
            let _ = fs::remove_file(&temporary);
        }
        written
    }

    /// Indented by one space, as Go writes it.
    fn to_json(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        // Writing to a vector does not fail, and neither do strings and numbers.
        let _ = self.serialize(&mut Serializer::with_formatter(&mut bytes, PrettyFormatter::with_indent(b" ")));
        bytes
    }

    /// What the link had.
    pub(super) fn link(&self) -> Settings {
        Settings {
            mac: self.mac.parse().ok(),
            mtu: Some(self.mtu).filter(|&mtu| mtu != 0),
            promiscuous: self.promisc,
            all_multicast: self.allmulti,
            queue_length: self.tx_qlen,
        }
    }

    /// Adds what `found` has and what is not kept yet. What was kept first stays.
    pub(super) fn keep(&mut self, found: &Settings) {
        if let (true, Some(mac)) = (self.mac.is_empty(), found.mac) {
            self.mac = mac.to_string();
        }
        if self.mtu == 0 {
            self.mtu = found.mtu.unwrap_or_default();
        }
        self.promisc = self.promisc.or(found.promiscuous);
        self.allmulti = self.allmulti.or(found.all_multicast);
        self.tx_qlen = self.tx_qlen.or(found.queue_length);
    }

    /// Whether the link that is `life` now, and that has `now` of what is `wanted`, is the one that this speaks of.
    ///
    /// The Go suite's files do not say. It leaves files behind when a namespace is gone, so one that is there may be of an
    /// earlier life of the same container. It is taken for one of this life if it explains what is seen: an attribute is
    /// as wanted already, and was not before.
    pub(super) fn is_about(&self, life: &Life, wanted: &Settings, now: &Settings) -> bool {
        match &self.xnet {
            Some(ours) if ours.life.is_known() && life.is_known() => ours.life == *life,
            _ => explains(&self.link(), wanted, now),
        }
    }
}

/// Whether an attribute is as wanted now, and was not `before`.
fn explains(before: &Settings, wanted: &Settings, now: &Settings) -> bool {
    fn explains<T: PartialEq>(before: Option<T>, wanted: Option<T>, now: Option<T>) -> bool {
        wanted.is_some() && wanted == now && before.is_some() && before != now
    }
    explains(before.mac, wanted.mac, now.mac)
        || explains(before.mtu, wanted.mtu, now.mtu)
        || explains(before.promiscuous, wanted.promiscuous, now.promiscuous)
        || explains(before.all_multicast, wanted.all_multicast, now.all_multicast)
        || explains(before.queue_length, wanted.queue_length, now.queue_length)
}

impl Life {
    /// The life of a namespace, known by its cookie, and of a link in it.
    pub(super) fn of(cookie: Option<u64>, link: Option<&Link>) -> Self {
        let boot = fs::read_to_string(BOOT_ID);
        let namespace = match (boot, cookie) {
            (Ok(boot), Some(cookie)) => format!("{}/{cookie}", boot.trim()),
            _ => String::new(),
        };
        Self { namespace, link: link.map_or(0, |link| link.index) }
    }

    /// Whether the kernel tells.
    pub(super) fn is_known(&self) -> bool {
        !self.namespace.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use kernel::Mac;

    use super::*;

    const MAC: Mac = Mac::new([0x0e, 0x5c, 8, 0x0f, 4, 0x9a]);

    fn everything() -> Settings {
        Settings {
            mac: Some(MAC),
            mtu: Some(1500),
            promiscuous: Some(false),
            all_multicast: Some(false),
            queue_length: Some(0),
        }
    }

    /// As the Go suite writes it.
    const GO: &str = r#"{
 "mac": "0e:5c:08:0f:04:9a",
 "promisc": false,
 "mtu": 1500,
 "allmulti": false,
 "txQLen": 0
}"#;

    #[test]
    fn the_go_suites_format_to_the_byte() {
        let mut backup = Backup::default();
        backup.keep(&everything());
        assert_eq!(String::from_utf8(backup.to_json()).unwrap(), GO);
        let read: Backup = decode::from_slice(GO.as_bytes()).unwrap();
        assert_eq!((read.link(), read), (everything(), backup));
        assert_eq!(Backup::default().to_json(), b"{}");
        let some = Settings { mtu: Some(1400), ..Settings::default() };
        let mut backup = Backup::default();
        backup.keep(&some);
        assert_eq!(backup.to_json(), b"{\n \"mtu\": 1400\n}");
    }

    #[test]
    fn what_was_kept_first_stays() {
        let mut backup: Backup = decode::from_slice(br#"{"mtu": 9000, "promisc": true}"#).unwrap();
        backup.keep(&everything());
        assert_eq!(backup.link(), Settings { mtu: Some(9000), promiscuous: Some(true), ..everything() });
    }

    #[test]
    fn files_come_whole_and_with_their_folder() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b/cid1_eth0.json");
        assert_eq!(Backup::read(&path).unwrap(), None);
        let sysctl = vec![Was { name: "net/x".into(), was: "a	<b>".into(), at: u64::MAX }];
        let life = Life { namespace: "boot/1".into(), link: 7 };
        let mut backup =
            Backup { xnet: Some(Ours { owner: "tag".into(), netns: "/n".into(), life, sysctl }), ..Backup::default() };
        backup.keep(&everything());
        for _ in 0..2 {
            backup.write(&path).unwrap();
            assert_eq!(Backup::read(&path).unwrap(), Some(backup.clone()));
        }
        let mode = |path: &Path| std::os::unix::fs::PermissionsExt::mode(&fs::metadata(path).unwrap().permissions());
        assert_eq!((mode(&path) & 0o777, mode(&folder.path().join("a")) & 0o777), (0o600, 0o700));
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
        fs::write(&path, "{").unwrap();
        assert_eq!(Backup::read(&path).unwrap(), Some(Backup::default()));
        assert!(Backup::read(folder.path()).is_err());
        let blocked = path.join("c/cid1_eth0.json");
        assert!(backup.write(&blocked).is_err());
    }

    #[test]
    fn an_earlier_life_is_not_taken_for_this_one() {
        let wanted = Settings { mtu: Some(1400), mac: Some(MAC), ..Settings::default() };
        let life = |namespace: &str, link| Life { namespace: namespace.into(), link };
        let ours = |life| {
            let ours = Ours { life, ..Ours::default() };
            Backup { mtu: 1500, xnet: Some(ours), ..Backup::default() }
        };
        let theirs = Backup { mtu: 1500, ..Backup::default() };
        let (now, tuned) = (Settings { mtu: Some(1500), ..wanted }, wanted);
        let table = [
            (ours(life("b/1", 5)), life("b/1", 5), now, true),
            (ours(life("b/1", 5)), life("b/1", 6), tuned, false),
            (ours(life("b/1", 5)), life("b/2", 5), tuned, false),
            (ours(life("", 5)), life("", 5), now, false),
            (ours(life("", 5)), life("", 6), tuned, true),
            (theirs.clone(), life("b/1", 5), now, false),
            (theirs.clone(), life("b/1", 5), tuned, true),
            (Backup::default(), life("b/1", 5), tuned, false),
        ];
        for (at, (backup, life, now, expected)) in table.iter().enumerate() {
            assert_eq!(backup.is_about(life, &wanted, now), *expected, "row {at}");
        }
    }
}
