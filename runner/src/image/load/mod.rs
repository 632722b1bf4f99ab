//! Images from archives and directories: OCI layouts, and what `docker save` writes.
//!
//! Both are a set of named files, in a directory or in a tar ([`source`]). Newer archives of Docker are a layout as well,
//! and then read as that, because a layout has digests for everything; names are taken from both.

mod docker;
mod layout;
mod source;

use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::atomic::AtomicU64;

use crate::error::{Context, Error, Result};

use super::compress::{Compression, Unpacked};
use super::config::ImageConfig;
use super::digest::Digest;
use super::limits::{Counted, Guarded, Limits};
use super::manifest::{Descriptor, Manifest, Platform, decode, read_limited};
use super::name::Reference;
use super::store::{Image, Ingest, Names, Store};

pub(super) use layout::manifest as chosen_manifest;
use source::{Directory, Source, Tarball};

/// Where an archive is.
#[derive(Debug)]
pub enum Input {
    /// An OCI layout that is a directory.
    Directory(PathBuf),
    /// A file that can be read anywhere.
    File(File),
    /// A stream, such as standard input.
    Stream(File),
}

/// An image, and the names that it got by being loaded.
pub type Loaded = (Image, Vec<Reference>);

/// Where the parts of an image come from.
pub(super) trait Parts {
    /// The bytes of the blob that `wanted` describes. They are checked by whoever reads them.
    fn open(&mut self, wanted: &Descriptor) -> Result<Box<dyn Read + '_>>;
}

impl Store {
    /// Brings in the images of an archive that are for `platform`. An image without a name in the archive gets `name`.
    pub fn load(
        &self,
        input: Input,
        platform: &Platform,
        name: Option<&Reference>,
        limits: Limits,
    ) -> Result<Vec<Loaded>> {
        match input {
            Input::Directory(dir) => self.load_from(&Directory::open(&dir)?, platform, name, limits),
            Input::File(file) | Input::Stream(file) => {
                let file = self.plain(file, limits)?;
                self.load_from(&Tarball::index(file, limits)?, platform, name, limits)
            }
        }
    }

    fn load_from(
        &self,
        source: &dyn Source,
        platform: &Platform,
        name: Option<&Reference>,
        limits: Limits,
    ) -> Result<Vec<Loaded>> {
        if source.has("index.json") {
            return layout::load(self, source, platform, name, limits);
        }
        if source.has("manifest.json") {
            return docker::load(self, source, platform, name, limits);
        }
        Err(Error::new(
            "neither an OCI layout (index.json) nor an archive of `docker save` (manifest.json); \
             `xnet import` makes an image of a plain root file system",
        ))
    }

    /// The archive as a file without compression, in which any part can be found.
    fn plain(&self, file: File, limits: Limits) -> Result<File> {
        let seekable = file.metadata().context(|| "the archive")?.is_file();
        let mut head = io::BufReader::new(&file);
        let plain = Compression::of(&mut head)? == Compression::Plain;
        if seekable && plain {
            return Ok(file);
        }
        // Nothing but the first bytes was read, and those are still in `head`.
        let packed = AtomicU64::new(if plain { u64::MAX } else { 0 });
        let (unpacked, _) = Unpacked::new(Counted::new(head, &packed))?;
        let ingest = Ingest::begin(self, limits)?;
        let (path, mut spool) = ingest.scratch()?;
        std::fs::remove_file(&path).context(|| format!("remove {}", path.display()))?;
        io::copy(&mut Guarded::new(unpacked, &packed, limits), &mut spool).context(|| "read the archive")?;
        Ok(spool)
    }

    /// Brings in one image, whose manifest is known and whose parts are somewhere.
    pub(super) fn bring_in(&self, parts: &mut dyn Parts, bytes: &[u8], names: &Names, limits: Limits) -> Result<Image> {
        let manifest: Manifest = decode(bytes, "the image's manifest")?;
        let mut ingest = Ingest::begin(self, limits)?;
        if let Some(image) = ingest.again(&manifest.config.digest, &Digest::of(bytes), names)? {
            return Ok(image);
        }
        let text = document(parts, &manifest.config)?;
        let config = ImageConfig::parse(&text)?;
        let diff_ids = &config.rootfs.diff_ids;
        if diff_ids.len() != manifest.layers.len() {
            let (layers, named) = (manifest.layers.len(), diff_ids.len());
            return Err(Error::new(format!("the manifest has {layers} layers, and the configuration names {named}")));
        }
        for (layer, diff_id) in manifest.layers.iter().zip(diff_ids) {
            if !ingest.has(layer) {
                ingest.fetch(layer, parts.open(layer)?)?;
            }
            ingest.stack(layer, Some(diff_id))?;
        }
        ingest.document(&manifest.config.media_type, &text)?;
        ingest.finish(&manifest, bytes, names)
    }
}

/// A small blob, checked.
pub(super) fn document(parts: &mut dyn Parts, wanted: &Descriptor) -> Result<Vec<u8>> {
    let bytes = read_limited(parts.open(wanted)?, &format!("blob {}", wanted.digest))?;
    let (digest, size) = (Digest::of(&bytes), bytes.len() as u64);
    match digest == wanted.digest && size == wanted.size {
        true => Ok(bytes),
        false => Err(Error::new(format!(
            "blob {} of {} bytes is not what it is called: it has {size} bytes with digest {digest}",
            wanted.digest, wanted.size
        ))),
    }
}
