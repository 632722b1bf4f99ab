//! The result cache: one file per attachment, in libcni's format, so that either side can finish what the other began.
//!
//! A record is complete or absent at every instant. It is written beside its directory under a name that nobody reads,
//! brought to the disk, and renamed into place; a process that dies on the way leaves the earlier state and at most a
//! stray file, which the next GC removes. libcni writes in place, so what it (or a full disk) has left half-written
//! is met here all the same: such a file counts as corrupt, never as somebody's record.
//!
//! The file's name is `NETWORK-ID-IFNAME`, and since all three may hold a dash, two attachments can claim one name. The
//! identity inside the file decides whose it is: another's record is neither used, nor removed, nor overwritten.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{RuntimeConf, answer, base64, json};
use crate::error::reason;
use crate::result::AddResult;
use crate::{Code, ContainerId, Error, IfName, NetName, Version, decode};

/// Where libcni keeps its cache, and with it every engine that uses libcni.
pub const DEFAULT_DIR: &str = "/var/lib/cni";

const KIND: &str = "cniCacheV1";
const TEMPORARY: &str = ".result-";
/// No write takes this long, so an older temporary file belongs to no living writer.
const STRAY_AGE: Duration = Duration::from_secs(3600);

/// What ADD has left on record of one attachment.
#[derive(Debug, Clone, PartialEq)]
pub struct Attachment {
    /// The network's name.
    pub network: NetName,
    /// The container and what ADD was given for it.
    pub conf: RuntimeConf,
    /// The list that ADD ran, as text.
    pub config: Vec<u8>,
}

/// A directory of records. Nothing is held open.
#[derive(Debug, Clone)]
pub struct Cache {
    dir: PathBuf,
}

/// The identity of an attachment, all parts fit for a path.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Key<'a> {
    pub(super) network: &'a NetName,
    pub(super) container_id: &'a ContainerId,
    pub(super) ifname: &'a IfName,
}

/// The file's members in their order there.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct File {
    kind: String,
    container_id: String,
    config: String,
    if_name: String,
    network_name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    netns: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    cni_args: Vec<(String, String)>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    capability_args: Map<String, Value>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    result: Map<String, Value>,
}

/// What is found under an attachment's name.
pub(super) enum Found {
    Nothing,
    /// A record of another attachment whose name is spelt the same.
    Foreign(Box<Attachment>),
    Record(Box<Record>),
}

/// A record as it was read, of either format.
pub(super) struct Record {
    /// What a record of the current format holds besides the result; `None` for a bare result.
    pub(super) attachment: Option<Attachment>,
    /// ADD's final result, in whatever version it was cached.
    result: Option<Value>,
}

impl Cache {
    /// The cache under `dir`, normally [`DEFAULT_DIR`]; the records are in its folder `results`.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// Every attachment on record, in the order of the file names; of one container only, if its id is given. What is
    /// not a record of the current format is passed over, as are files that can not be read.
    ///
    /// # Errors
    /// Code 5, if the folder exists and can not be listed.
    pub fn attachments(&self, container_id: Option<&ContainerId>) -> Result<Vec<Attachment>, Error> {
        let part = container_id.map(|id| format!("-{id}-"));
        let mut names = names(&self.results())?;
        // No network's name begins with a dot.
        names.retain(|name| !name.starts_with('.') && part.as_ref().is_none_or(|part| name.contains(part.as_str())));
        names.sort_unstable();
        let records = names.iter().filter_map(|name| {
            let file = decode::from_slice(&fs::read(self.results().join(name)).ok()?).ok()?;
            attachment(file).ok()
        });
        Ok(records.filter(|found| container_id.is_none_or(|id| found.conf.container_id == *id)).collect())
    }

    pub(super) fn path(&self, key: Key<'_>) -> PathBuf {
        self.results().join(key.file_name())
    }

    fn results(&self) -> PathBuf {
        self.dir.join("results")
    }

    /// Looks the attachment up.
    ///
    /// # Errors
    /// The file exists, but is no record: unreadable (5), empty, cut off, or something else (6).
    pub(super) fn find(&self, key: Key<'_>) -> Result<Found, Error> {
        let path = self.path(key);
        let bytes = match fs::read(&path) {
            Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
            Err(err) => return Err(io_error("open", &path, &err)),
            Ok(bytes) => bytes,
        };
        recognise(&bytes, key).map_err(|err| err.context(format_args!("cache file {}", path.display())))
    }

    /// Sees to it that there is a folder for records.
    ///
    /// # Errors
    /// Code 5, with the path and the system's reason.
    pub(super) fn create(&self) -> Result<(), Error> {
        let results = self.results();
        let created = DirBuilder::new().recursive(true).mode(0o700).create(&results);
        created.map_err(|err| io_error("mkdir", &results, &err))
    }

    /// Puts ADD's outcome on record, in the folder of [`Cache::create`].
    ///
    /// # Errors
    /// Code 5, with the path and the system's reason.
    pub(super) fn store(&self, attachment: &Attachment, result: Map<String, Value>) -> Result<(), Error> {
        let text = record(attachment, result)?;
        let (path, results) = (self.path(attachment.conf.key(&attachment.network)), self.results());
        match replace(&path, &self.dir, &text) {
            // The folder is a mount of its own.
            Err(err) if err.kind() == io::ErrorKind::CrossesDevices => replace(&path, &results, &text),
            done => done,
        }
        .map_err(|err| io_error("write", &path, &err))
    }

    /// Strikes the record out. That it can not be removed is no failure of the DEL that has just succeeded: a record
    /// without an attachment is what GC is there for.
    pub(super) fn remove(&self, key: Key<'_>) {
        let _ = fs::remove_file(self.path(key));
    }

    /// Removes the temporary files of writers that died.
    pub(super) fn sweep(&self) {
        for folder in [&self.dir, &self.results()] {
            for name in names(folder).unwrap_or_default().iter().filter(|name| name.starts_with(TEMPORARY)) {
                let path = folder.join(name);
                let written = fs::symlink_metadata(&path).and_then(|meta| meta.modified());
                let age = written.ok().and_then(|written| SystemTime::now().duration_since(written).ok());
                if age.is_some_and(|age| age > STRAY_AGE) {
                    let _ = fs::remove_file(&path);
                }
            }
        }
    }
}

impl RuntimeConf {
    pub(super) fn key<'a>(&'a self, network: &'a NetName) -> Key<'a> {
        Key { network, container_id: &self.container_id, ifname: &self.ifname }
    }
}

impl Key<'_> {
    fn file_name(self) -> String {
        format!("{}-{}-{}", self.network, self.container_id, self.ifname)
    }
}

impl Record {
    /// ADD's result as a `prevResult` of `version`.
    pub(super) fn prev_result(&self, version: Version) -> Result<Option<Map<String, Value>>, Error> {
        let Some(cached) = &self.result else {
            return Ok(None);
        };
        answer::document(&parse(cached)?, version)
            .map(Some)
            .map_err(|err| err.context(format_args!("failed to convert cached result to config version \"{version}\"")))
    }
}

/// What the file is: a record of `key`, one of another attachment, or a bare result as libcni wrote it until 0.7.
fn recognise(bytes: &[u8], key: Key<'_>) -> Result<Found, Error> {
    let file: File = decode::from_slice(bytes).unwrap_or_default();
    if file.kind != KIND {
        let result = decode::document(bytes)
            .map_err(|err| answer::undecodable(err).context("decoding version from network config"))?;
        if result.get("cniVersion").is_none() {
            return Err(Error::new(Code::DECODING_FAILURE, "neither a record nor a result"));
        }
        parse(&result)?;
        return Ok(Found::Record(Box::new(Record { attachment: None, result: Some(result) })));
    }
    let result = file.result.clone();
    let attachment = attachment(file)?;
    if attachment.conf.key(&attachment.network) != key {
        return Ok(Found::Foreign(Box::new(attachment)));
    }
    let result = (!result.is_empty()).then_some(Value::Object(result));
    Ok(Found::Record(Box::new(Record { attachment: Some(attachment), result })))
}

fn attachment(file: File) -> Result<Attachment, Error> {
    let undecodable = || Error::new(Code::DECODING_FAILURE, "config is not base64");
    if file.kind != KIND {
        return Err(Error::new(Code::DECODING_FAILURE, format!("wrong kind: {}", file.kind)));
    }
    Ok(Attachment {
        network: file.network_name.parse()?,
        conf: RuntimeConf {
            container_id: file.container_id.parse()?,
            netns: file.netns,
            ifname: file.if_name.parse()?,
            args: file.cni_args,
            capability_args: file.capability_args,
        },
        config: base64::decode(&file.config).ok_or_else(undecodable)?,
    })
}

/// A result on record, of the version that it states itself.
fn parse(result: &Value) -> Result<AddResult, Error> {
    AddResult::parse_answer(result.to_string().as_bytes(), Version::V0_1_0)
}

/// The record as one line of JSON, to libcni's byte.
fn record(attachment: &Attachment, result: Map<String, Value>) -> Result<String, Error> {
    let conf = &attachment.conf;
    json::line(&File {
        kind: KIND.to_owned(),
        container_id: conf.container_id.to_string(),
        config: base64::encode(&attachment.config),
        if_name: conf.ifname.to_string(),
        network_name: attachment.network.to_string(),
        netns: conf.netns.clone(),
        cni_args: conf.args.clone(),
        capability_args: json::sorted_map(&conf.capability_args),
        result: json::sorted_map(&result),
    })
    .map_err(|err| Error::internal(err.to_string()))
}

/// Brings `text` to the disk under a name in `via`, then to `target` in one step.
fn replace(target: &Path, via: &Path, text: &str) -> io::Result<()> {
    static SEQUENCE: AtomicU64 = AtomicU64::new(0);
    let instant = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_nanos();
    let number = SEQUENCE.fetch_add(1, Ordering::Relaxed);
    let temporary = via.join(format!("{TEMPORARY}{}-{number}-{instant}", process::id()));
    let done = write_new(&temporary, text).and_then(|()| fs::rename(&temporary, target));
    if done.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    done
}

/// Without the sync, a power cut shortly after the rename can leave the new name with no content.
fn write_new(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_data()
}

fn names(folder: &Path) -> Result<Vec<String>, Error> {
    let unreadable = |err: io::Error| io_error("open", folder, &err);
    match fs::read_dir(folder) {
        Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        entries => entries
            .map_err(unreadable)?
            // A record's name is UTF-8, as the names that it is made of are.
            .filter_map(|entry| entry.map(|entry| entry.file_name().into_string().ok()).transpose())
            .collect::<io::Result<_>>()
            .map_err(unreadable),
    }
}

fn io_error(attempt: &str, path: &Path, err: &io::Error) -> Error {
    Error::new(Code::IO_FAILURE, format!("{attempt} {}: {}", path.display(), reason(err)))
}
