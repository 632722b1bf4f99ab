//! Sweeping: what nothing refers to goes.

use std::collections::BTreeSet;
use std::fs::{self, TryLockError};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::error::{Context, Result};
use crate::image::digest::Digest;

use super::index::Index;
use super::{Store, layers};

/// What was swept away.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Swept {
    /// Images that are no more.
    pub images: Vec<Digest>,
    /// Layers that are no more.
    pub layers: usize,
    /// Bytes of disk that are free again.
    pub bytes: u64,
}

impl Store {
    /// Removes images without a name, or with `all` every image, except for those that somebody holds; and whatever no
    /// image refers to, such as what an import left behind that was killed.
    pub fn prune(&self, all: bool) -> Result<Swept> {
        let lock = self.lock_file("use")?;
        lock.lock().context(|| "wait for images on their way in")?;
        let _list = self.lock()?;
        let mut index = self.index()?;
        let mut gone = Vec::new();
        for (id, record) in &index.images {
            if (all || record.names.is_empty()) && self.holders(id)?.is_empty() {
                gone.push(id.clone());
            }
        }
        index.images.retain(|id, _| !gone.contains(id));
        if !gone.is_empty() {
            index.write(&self.index_path())?;
        }
        Ok(Swept { images: gone, ..self.sweep(&index)? })
    }

    /// Removes what no image refers to, and no image itself; unless an image is just coming in: then it is left to the
    /// next time.
    pub fn tidy(&self) -> Result<Swept> {
        let lock = self.lock_file("use")?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(Swept::default()),
            Err(TryLockError::Error(error)) => return Err(error).context(|| "lock the store"),
        }
        let _list = self.lock()?;
        self.sweep(&self.index()?)
    }

    fn sweep(&self, index: &Index) -> Result<Swept> {
        // All that is needed is known before the first thing goes; a list that cannot be read keeps everything.
        let (mut blobs, mut chains) = (BTreeSet::new(), BTreeSet::new());
        for (id, record) in &index.images {
            let image = self.image(id, record)?;
            chains.extend(layers::chain(image.diff_ids()).iter().map(|chain| chain.hex().to_owned()));
            let manifest = self.manifest(&record.manifest)?;
            blobs.extend(manifest.layers.iter().map(|layer| layer.digest.hex().to_owned()));
            blobs.extend([id.hex().to_owned(), record.manifest.hex().to_owned()]);
        }
        let mut swept = Swept::default();
        for path in strangers(&self.blobs(), &blobs)? {
            swept.bytes += usage(&path);
            fs::remove_file(&path).context(|| format!("remove {}", path.display()))?;
        }
        for path in strangers(&self.layers, &chains)? {
            swept.bytes += usage(&path);
            swept.layers += 1;
            // A layer is complete or absent: it leaves its place before it is taken apart.
            let away = self.temp().join(path.file_name().unwrap_or_default());
            fs::rename(&path, &away).context(|| format!("remove {}", path.display()))?;
        }
        self.clear_temp()?;
        Ok(swept)
    }

    /// Removes what is on its way. Only for those who hold the lock `use` alone.
    pub(super) fn clear_temp(&self) -> Result<()> {
        for path in strangers(&self.temp(), &BTreeSet::new())? {
            let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            removed.context(|| format!("remove {}", path.display()))?;
        }
        Ok(())
    }
}

/// The entries of `dir` that are not among `known`.
fn strangers(dir: &Path, known: &BTreeSet<String>) -> Result<Vec<std::path::PathBuf>> {
    let entries = fs::read_dir(dir).context(|| format!("list {}", dir.display()))?;
    let stranger = |entry: &fs::DirEntry| entry.file_name().to_str().is_none_or(|name| !known.contains(name));
    Ok(entries.flatten().filter(stranger).map(|entry| entry.path()).collect())
}

/// The bytes of disk that a file or a tree takes.
fn usage(path: &Path) -> u64 {
    let Ok(meta) = fs::symlink_metadata(path) else { return 0 };
    let below =
        |path: &Path| fs::read_dir(path).into_iter().flatten().flatten().map(|entry| usage(&entry.path())).sum();
    // Every name of a file with several counts for its part.
    let own = meta.blocks() * 512 / if meta.is_dir() { 1 } else { meta.nlink().max(1) };
    own + if meta.is_dir() { below(path) } else { 0 }
}
