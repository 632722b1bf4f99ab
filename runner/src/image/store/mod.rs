//! The store: what is kept of images, and who may touch it when.
//!
//! Under `DATA`, all for root's eyes only:
//!
//!  * `images/blobs/sha256/HEX`: manifests, configurations and layers as they came, called by what they are;
//!  * `images/images.json`: which names mean which image ([`index`]);
//!  * `images/holders/IMAGE/HOLDER`: who needs an image, such as a container;
//!  * `images/tmp/`: what is on its way;
//!  * `layers/HEX/diff`: a layer, unpacked once for all images that have it upon the same layers. HEX is the chain id,
//!    which stands for a layer and everything below it: what an archive leaves unsaid about a directory comes from there.
//!
//! An image comes in by an [`ingest::Ingest`]: its parts are made in `tmp`, brought to disk, and renamed to their places
//! before the list names them, so whatever instant the machine dies, the list tells the truth. Who brings an image in
//! shares the lock `use`; who sweeps away what nothing refers to needs it alone, and may then take all that is in `tmp`
//! for left behind. `lock` is held for the moment of a change to the list or to the holders.

mod index;
mod ingest;
mod layers;
mod remove;
mod sweep;

#[cfg(test)]
mod tests;

pub(super) use ingest::{Ingest, Names};
pub use remove::Removal;
pub use sweep::Swept;

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::error::{Context, Error, Result};
use crate::id::Name;

use super::config::ImageConfig;
use super::digest::Digest;
use super::manifest::{Manifest, decode, read_limited};
use super::name::Reference;

use index::{Index, Record};

/// All images under one data directory.
#[derive(Debug, Clone)]
pub struct Store {
    images: PathBuf,
    layers: PathBuf,
}

/// An image that is complete: its layers are unpacked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// The digest of its configuration.
    pub id: Digest,
    /// The digest of its manifest.
    pub manifest: Digest,
    /// Its names.
    pub names: Vec<Reference>,
    /// Where it came from, by digest.
    pub digests: Vec<Reference>,
    /// When it came to be here, in RFC 3339.
    pub loaded: String,
    /// Its configuration.
    pub config: ImageConfig,
    /// The directories of its layers, lowest first.
    pub layers: Vec<PathBuf>,
}

impl Image {
    /// The digests of its plain layers, lowest first.
    #[must_use]
    pub fn diff_ids(&self) -> &[Digest] {
        &self.config.rootfs.diff_ids
    }

    /// The name that people know it by, or the beginning of its id.
    #[must_use]
    pub fn shown(&self) -> String {
        self.names.first().map_or_else(|| self.id.short().to_owned(), Reference::familiar)
    }
}

/// How an image was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Found {
    /// By this name.
    Name(Reference),
    /// By its id or the beginning of it, or by its manifest's digest.
    Id,
}

impl Store {
    /// Opens the store under `data`, and makes it if need be.
    pub fn open(data: &Path) -> Result<Self> {
        let store = Self { images: data.join("images"), layers: data.join("layers") };
        for dir in [&store.layers, &store.blobs(), &store.images.join("holders"), &store.temp()] {
            make_private(dir)?;
        }
        Ok(store)
    }

    /// The image that `text` means: a name, an id, the beginning of exactly one id, or a name with a digest.
    pub fn resolve(&self, text: &str) -> Result<Image> {
        self.find(text).map(|(image, _)| image)
    }

    /// All images, the newest first.
    pub fn images(&self) -> Result<Vec<Image>> {
        let index = self.index()?;
        let mut images: Vec<Image> =
            index.images.iter().map(|(id, record)| self.image(id, record)).collect::<Result<_>>()?;
        images.sort_by(|a, b| b.config.created.cmp(&a.config.created));
        Ok(images)
    }

    /// Notes that `holder`, such as a container, needs the image: it and its layers stay until [`Store::release`].
    pub fn hold(&self, image: &Digest, holder: &Name) -> Result<()> {
        let _lock = self.lock()?;
        if !self.index()?.images.contains_key(image) {
            return Err(Error::new(format!("the image {image} is gone")));
        }
        let dir = self.holders_of(image);
        make_private(&dir)?;
        let path = dir.join(holder.as_str());
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(0o600);
        options.open(&path).context(|| format!("hold {}", path.display())).map(drop)
    }

    /// Takes back what [`Store::hold`] has noted, for every image. Nothing happens if there is nothing.
    pub fn release(&self, holder: &Name) -> Result<()> {
        let _lock = self.lock()?;
        let all = self.images.join("holders");
        for entry in fs::read_dir(&all).context(|| format!("list {}", all.display()))?.flatten() {
            let path = entry.path().join(holder.as_str());
            match fs::remove_file(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(error).context(|| format!("release {}", path.display()));
                }
                _ => {}
            }
            // Fails while others hold the image.
            let _ = fs::remove_dir(entry.path());
        }
        Ok(())
    }

    /// Who holds the image.
    pub fn holders(&self, image: &Digest) -> Result<Vec<Name>> {
        let entries = fs::read_dir(self.holders_of(image)).into_iter().flatten().flatten();
        Ok(entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect())
    }

    /// Gives the image another name, taking it from whichever has it now.
    pub fn tag(&self, image: &Digest, name: &Reference) -> Result<()> {
        if name.tag().is_none() || name.digest().is_some() {
            return Err(Error::new(format!("{name} is pinned by a digest; a new name has a tag only")));
        }
        let _lock = self.lock()?;
        let mut index = self.index()?;
        if !index.images.contains_key(image) {
            return Err(Error::new(format!("the image {image} is gone")));
        }
        index.name(image, name);
        index.write(&self.index_path())
    }

    /// Notes that `pinned` means the image, too, because it is there now.
    pub(super) fn note_origin(&self, image: &Digest, pinned: &Reference) -> Result<()> {
        let _lock = self.lock()?;
        let mut index = self.index()?;
        match index.images.get_mut(image) {
            Some(record) if !record.digests.contains(pinned) => record.digests.push(pinned.clone()),
            _ => return Ok(()),
        }
        index.write(&self.index_path())
    }

    /// The manifest of an image.
    pub(super) fn manifest(&self, digest: &Digest) -> Result<Manifest> {
        decode(&self.document(digest)?, "the image's manifest")
    }

    /// The bytes of a small blob.
    pub(super) fn document(&self, digest: &Digest) -> Result<Vec<u8>> {
        let path = self.blob(digest);
        let file = File::open(&path).context(|| format!("open {}", path.display()))?;
        let bytes = read_limited(file, &path.display().to_string())?;
        match Digest::of(&bytes) == *digest {
            true => Ok(bytes),
            false => Err(Error::new(format!("{} is damaged: its content is not what its name says", path.display()))),
        }
    }

    /// The file of a blob.
    pub(super) fn blob(&self, digest: &Digest) -> PathBuf {
        self.blobs().join(digest.hex())
    }

    pub(super) fn find(&self, text: &str) -> Result<(Image, Found)> {
        let index = self.index()?;
        if let Ok(name) = text.parse::<Reference>() {
            let by_tag = |record: &Record| name.digest().is_none() && record.names.contains(&name);
            let by_digest =
                |record: &Record| name.digest().is_some_and(|digest| record.digests.contains(&name.pinned(digest)));
            if let Some((id, record)) = index.images.iter().find(|(_, record)| by_tag(record)) {
                return Ok((self.image(id, record)?, Found::Name(name)));
            }
            if let Some((id, record)) = index.images.iter().find(|(_, record)| by_digest(record)) {
                return Ok((self.image(id, record)?, Found::Id));
            }
        }
        let hex = text.strip_prefix("sha256:").unwrap_or(text);
        let is_id = !hex.is_empty() && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let mut ids = index.images.iter().filter(|(id, _)| is_id && id.hex().starts_with(hex));
        match (ids.next(), ids.count()) {
            (Some((id, record)), 0) => Ok((self.image(id, record)?, Found::Id)),
            (Some(_), more) => {
                Err(Error::new(format!("{text:?} is ambiguous: the ids of {} images begin with it", more + 1)))
            }
            (None, _) => Err(Error::new(format!(
                "no image is called {text:?}; `xnet pull`, `xnet load` or `xnet import` brings one in"
            ))),
        }
    }

    fn image(&self, id: &Digest, record: &Record) -> Result<Image> {
        let config = ImageConfig::parse(&self.document(id)?).context(|| format!("image {}", id.short()))?;
        let layers = layers::chain(&config.rootfs.diff_ids).iter().map(|chain| self.tree(chain)).collect();
        let Record { manifest, names, digests, loaded } = record.clone();
        Ok(Image { id: id.clone(), manifest, names, digests, loaded, config, layers })
    }

    fn index(&self) -> Result<Index> {
        Index::read(&self.index_path())
    }

    fn index_path(&self) -> PathBuf {
        self.images.join("images.json")
    }

    fn blobs(&self) -> PathBuf {
        self.images.join("blobs/sha256")
    }

    fn temp(&self) -> PathBuf {
        self.images.join("tmp")
    }

    fn holders_of(&self, image: &Digest) -> PathBuf {
        self.images.join("holders").join(image.hex())
    }

    /// Held for the moment of a change to the list or the holders.
    fn lock(&self) -> Result<File> {
        let file = self.lock_file("lock")?;
        file.lock().context(|| "lock the list of images")?;
        Ok(file)
    }

    fn lock_file(&self, name: &str) -> Result<File> {
        let path = self.images.join(name);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        options.open(&path).context(|| format!("open {}", path.display()))
    }
}

/// A directory, with those on the way, that only root can enter.
fn make_private(dir: &Path) -> Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir).context(|| format!("make {}", dir.display()))
}
