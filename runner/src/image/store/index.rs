//! The list of images: which names mean what.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{Context, Error, Result};
use crate::image::digest::Digest;
use crate::image::name::Reference;

/// What is known about one image besides its blobs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    /// Its manifest.
    pub(super) manifest: Digest,
    /// Its names with tags, each of which no other image has.
    #[serde(default)]
    pub(super) names: Vec<Reference>,
    /// The repositories it came from, each pinned to the manifest.
    #[serde(default)]
    pub(super) digests: Vec<Reference>,
    /// When it came to be here, in RFC 3339.
    pub(super) loaded: String,
}

/// All images, by their ids.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Index {
    version: u32,
    pub(super) images: BTreeMap<Digest, Record>,
}

const VERSION: u32 = 1;

impl Index {
    /// The list at `path`; empty if there is none yet.
    pub(super) fn read(path: &Path) -> Result<Self> {
        let text = match fs::read(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Ok(Self { version: VERSION, ..Self::default() });
            }
            text => text.context(|| format!("read {}", path.display()))?,
        };
        let index: Self = serde_json::from_slice(&text).context(|| format!("the list of images {}", path.display()))?;
        match index.version {
            VERSION => Ok(index),
            other => Err(Error::new(format!("{} is of version {other}; this xnet knows {VERSION}", path.display()))),
        }
    }

    /// Replaces the list at `path` in one step that a crash cannot cut in two.
    pub(super) fn write(&self, path: &Path) -> Result<()> {
        let new = path.with_extension("new");
        let text = serde_json::to_vec_pretty(self).context(|| "encode the list of images")?;
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let mut file = options.open(&new).context(|| format!("create {}", new.display()))?;
        file.write_all(&text).and_then(|()| file.sync_all()).context(|| format!("write {}", new.display()))?;
        fs::rename(&new, path).context(|| format!("rename {}", new.display()))?;
        sync_dir(path.parent().unwrap_or(path))
    }

    /// Gives `name` to the image `id`, and takes it from whoever had it.
    pub(super) fn name(&mut self, id: &Digest, name: &Reference) {
        for record in self.images.values_mut() {
            record.names.retain(|old| old != name);
        }
        if let Some(record) = self.images.get_mut(id) {
            record.names.push(name.clone());
            record.names.sort();
        }
    }
}

/// Makes what was renamed in a directory outlast a crash.
pub(super) fn sync_dir(dir: &Path) -> Result<()> {
    File::open(dir).and_then(|dir| dir.sync_all()).context(|| format!("write {} to disk", dir.display()))
}
