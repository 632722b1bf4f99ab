//! Images into a registry.
//!
//! The parts go as they came here, so the digests stay the same: first the layers, then the configuration, and the manifest, which
//! names them all, last. What the repository has already is not sent, and what another repository of the same registry has, because
//! the image came from there, is only pointed at.

use std::fs::File;
use std::io::{self, Read};

use bytes::Bytes;
use futures_util::stream;
use oci_client::RegistryOperation;
use oci_client::errors::OciDistributionError;

use crate::error::{Context, Error, Result};
use crate::image::digest::Digest;
use crate::image::manifest::{Descriptor, MANIFEST};
use crate::image::name::Reference;
use crate::image::store::{Found, Image, Store};

use super::{Access, Remote, remote_name, told};

/// How much of a blob is in memory at once, in bytes.
const PIECE: usize = 128 << 10;

impl Store {
    /// The image that `text` means, and the name that it has in its registry: `name`, or the one that it was asked for by.
    pub fn to_be_pushed(&self, text: &str, name: Option<&Reference>) -> Result<(Image, Reference)> {
        let (image, found) = self.find(text)?;
        let name = match (name, found) {
            (Some(name), _) => name.clone(),
            (None, Found::Name(name)) => name,
            (None, Found::Id) => {
                return Err(Error::new(format!("{text} is no name: say where to, such as HOST/NAME:TAG")));
            }
        };
        match name.digest() {
            Some(_) => Err(Error::new(format!("{name} is pinned by a digest; an image is pushed under a tag"))),
            None => Ok((image, name)),
        }
    }

    /// Puts `image` into the registry of the name `to`, under that name. Answers the manifest's digest. `progress` is told a line at a time.
    pub fn push(
        &self,
        image: &Image,
        to: &Reference,
        access: &Access,
        progress: &mut dyn FnMut(&str),
    ) -> Result<Digest> {
        let document = self.document(&image.manifest)?;
        let manifest = self.manifest(&image.manifest)?;
        let asked = Remote::connect(to, access, async |client, name, auth| {
            client.auth(name, auth, RegistryOperation::Push).await
        });
        let (remote, _) = asked?;
        let near = image.digests.iter().filter(|other| other.registry() == to.registry());
        let near: Vec<_> = near.filter(|other| other.repository() != to.repository()).map(remote_name).collect();
        for blob in manifest.layers.iter().chain([&manifest.config]) {
            if remote.has(blob) || near.iter().any(|source| remote.takes_over(blob, source)) {
                progress(&format!("{}: the registry has it", blob.digest.short()));
            } else {
                progress(&format!("{}: sending {} bytes", blob.digest.short(), blob.size));
                let path = self.blob(&blob.digest);
                let file = File::open(&path).context(|| format!("open {}", path.display()))?;
                remote.send(blob, file).context(|| format!("blob {}", blob.digest))?;
            }
        }
        let kind = if manifest.media_type.is_empty() { MANIFEST } else { &manifest.media_type };
        let kind = kind.parse().map_err(|_| Error::new(format!("the manifest's type {kind:?} cannot be sent")))?;
        let Remote { runtime, client, name, .. } = &remote;
        runtime.block_on(client.push_manifest_raw(name, document, kind)).map_err(|error| told(&error))?;
        self.note_origin(&image.id, &to.pinned(&image.manifest))?;
        Ok(image.manifest.clone())
    }
}

impl Remote {
    /// Whether the repository has a blob. One that does not say shall get it.
    fn has(&self, blob: &Descriptor) -> bool {
        self.runtime.block_on(self.client.blob_exists(&self.name, blob.digest.as_str())).unwrap_or(false)
    }

    /// Whether the registry lets the repository have a blob of its repository `source`. Not all do.
    fn takes_over(&self, blob: &Descriptor, source: &oci_client::Reference) -> bool {
        self.runtime.block_on(self.client.mount_blob(&self.name, source, blob.digest.as_str())).is_ok()
    }

    fn send(&self, blob: &Descriptor, file: File) -> Result<()> {
        let pieces = stream::iter(Pieces(file.take(blob.size)));
        let sent = self.client.push_blob_stream(&self.name, pieces, blob.digest.as_str(), Some(blob.size));
        self.runtime.block_on(sent).map(drop).map_err(|error| told(&error))
    }
}

/// A file, piece by piece. It is read when the connection takes more, and nothing else is waiting then.
struct Pieces<R>(R);

impl<R: Read> Iterator for Pieces<R> {
    type Item = Result<Bytes, OciDistributionError>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut buffer = vec![0; PIECE];
        match io::Read::read(&mut self.0, &mut buffer) {
            Ok(0) => None,
            Ok(count) => {
                buffer.truncate(count);
                Some(Ok(buffer.into()))
            }
            Err(error) => Some(Err(error.into())),
        }
    }
}
