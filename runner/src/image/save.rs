//! Images as archives, for others to load.
//!
//! The usual archive is two things in one, as Docker's has been since version 25: what `docker load` reads
//! (`manifest.json`, plain layers), and an OCI layout of the same files. Docker, podman, skopeo and xnet read it. An
//! archive of the format `oci` is a layout with the blobs as they came, so that digests of manifests stay the same.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read, Write};
use std::str::FromStr;

use serde::Serialize;

use crate::error::{Context, Error, Result};

use super::compress::{Compression, Unpacked};
use super::digest::Digest;
use super::manifest::{Descriptor, FULL_NAME, Index, MANIFEST, Manifest, REF_NAME, encode};
use super::name::Reference;
use super::store::{Found, Image, Store};
use super::tar::Writer;

/// How an archive is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// For `docker load`, and a layout as well.
    #[default]
    Docker,
    /// A layout with the blobs as they came.
    Oci,
}

impl FromStr for Format {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "docker" | "docker-archive" => Ok(Self::Docker),
            "oci" | "oci-archive" => Ok(Self::Oci),
            _ => Err(Error::new(format!("unknown format {text:?}: expected docker or oci"))),
        }
    }
}

/// An image and the names that it is saved under.
pub type Saved = (Image, Vec<Reference>);

/// One line of Docker's list.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Line {
    config: String,
    repo_tags: Vec<String>,
    layers: Vec<String>,
}

struct Archive<'a, W: Write> {
    store: &'a Store,
    writer: Writer<W>,
    written: BTreeSet<Digest>,
}

impl Store {
    /// Writes the images into one archive; what they share is in it once.
    pub fn save(&self, images: &[Saved], format: Format, out: impl Write) -> Result<()> {
        let mut archive = Archive { store: self, writer: Writer::new(out), written: BTreeSet::new() };
        let (mut index, mut list) = (Vec::new(), Vec::new());
        for (image, names) in images {
            let manifest = match format {
                Format::Docker => archive.plain(image)?,
                Format::Oci => archive.as_it_came(image)?,
            };
            list.push(line(image, names));
            index.extend(described(&manifest, names));
        }
        archive.file("index.json", &encode(&Index::new(index))?)?;
        if format == Format::Docker {
            archive.file("manifest.json", &encode(&list)?)?;
        }
        archive.file("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        archive.writer.finish().context(|| "write the archive").map(drop)
    }
}

impl<W: Write> Archive<'_, W> {
    /// The image with its layers unpacked, under a manifest that says so.
    fn plain(&mut self, image: &Image) -> Result<Descriptor> {
        let manifest = self.store.manifest(&image.manifest)?;
        let mut layers = Vec::new();
        for ((layer, diff_id), size) in manifest.layers.iter().zip(image.diff_ids()).zip(self.store.tar_sizes(image)?) {
            let (unpacked, _) = Unpacked::new(self.open(&layer.digest)?)?;
            self.blob(diff_id, size, unpacked)?;
            layers.push(Descriptor::new(Compression::Plain.layer_type(), diff_id.clone(), size));
        }
        self.copy(&manifest.config)?;
        let bytes = encode(&Manifest::new(manifest.config, layers))?;
        let descriptor = Descriptor::new(MANIFEST, Digest::of(&bytes), bytes.len() as u64);
        self.blob(&descriptor.digest, descriptor.size, bytes.as_slice())?;
        Ok(descriptor)
    }

    fn as_it_came(&mut self, image: &Image) -> Result<Descriptor> {
        let bytes = self.store.document(&image.manifest)?;
        let manifest = self.store.manifest(&image.manifest)?;
        for blob in manifest.layers.iter().chain([&manifest.config]) {
            self.copy(blob)?;
        }
        let kind = if manifest.media_type.is_empty() { MANIFEST } else { &manifest.media_type };
        let descriptor = Descriptor::new(kind, image.manifest.clone(), bytes.len() as u64);
        self.blob(&descriptor.digest, descriptor.size, bytes.as_slice())?;
        Ok(descriptor)
    }

    fn copy(&mut self, blob: &Descriptor) -> Result<()> {
        let file = self.open(&blob.digest)?;
        self.blob(&blob.digest, blob.size, file)
    }

    fn open(&self, digest: &Digest) -> Result<File> {
        let path = self.store.blob(digest);
        File::open(&path).context(|| format!("open {}", path.display()))
    }

    fn blob(&mut self, digest: &Digest, size: u64, data: impl Read) -> Result<()> {
        if !self.written.insert(digest.clone()) {
            return Ok(());
        }
        let path = format!("blobs/sha256/{}", digest.hex());
        self.writer.file(&path, size, data).context(|| "write the archive")
    }

    fn file(&mut self, path: &str, data: &[u8]) -> Result<()> {
        self.writer.file(path, data.len() as u64, data).context(|| "write the archive")
    }
}

fn line(image: &Image, names: &[Reference]) -> Line {
    let path = |digest: &Digest| format!("blobs/sha256/{}", digest.hex());
    Line {
        config: path(&image.id),
        repo_tags: names.iter().map(Reference::familiar).collect(),
        layers: image.diff_ids().iter().map(path).collect(),
    }
}

/// A line of the index for each name, or one without.
fn described(manifest: &Descriptor, names: &[Reference]) -> Vec<Descriptor> {
    let named = |name: &Reference| {
        let tag = name.tag().unwrap_or_default().to_owned();
        let annotations = [(FULL_NAME.to_owned(), name.to_string()), (REF_NAME.to_owned(), tag)].into();
        Descriptor { annotations, ..manifest.clone() }
    };
    if names.is_empty() { vec![manifest.clone()] } else { names.iter().map(named).collect() }
}

impl Store {
    /// The image that `text` means, with the names to save it under: the one it was asked for by, or all of them if it
    /// was asked for by its id.
    pub fn to_be_saved(&self, text: &str) -> Result<Saved> {
        let (image, found) = self.find(text)?;
        let names = match found {
            Found::Name(name) => vec![name],
            Found::Id => image.names.clone(),
        };
        Ok((image, names))
    }
}
