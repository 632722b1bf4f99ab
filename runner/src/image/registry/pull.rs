//! Images from a registry.
//!
//! What a registry brings is checked here as if it came from anywhere. Blobs that are here already are not fetched again, so a
//! pull that broke off goes on where it stopped.

use std::io::{self, Read};

use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use oci_client::client::SizedStream;
use tokio::runtime::Runtime;

use crate::error::{Error, Result};
use crate::image::digest::Digest;
use crate::image::limits::Limits;
use crate::image::load::{Parts, chosen_manifest};
use crate::image::manifest::{DOCKER_LIST, DOCKER_MANIFEST, Descriptor, INDEX, MANIFEST, Platform};
use crate::image::name::Reference;
use crate::image::store::{Image, Names, Store};

use super::{Access, Remote, told};

/// What a name may stand for.
const ACCEPTED: [&str; 4] = [MANIFEST, INDEX, DOCKER_MANIFEST, DOCKER_LIST];

impl Store {
    /// Brings in the image that `name` stands for in its registry, for `platform`. `progress` is told a line at a time.
    pub fn pull(
        &self,
        name: &Reference,
        platform: &Platform,
        access: &Access,
        limits: Limits,
        progress: &mut dyn FnMut(&str),
    ) -> Result<Image> {
        let asked = Remote::connect(name, access, async |client, name, auth| {
            client.pull_manifest_raw(name, auth, &ACCEPTED).await
        });
        let (remote, (top, _)) = asked?;
        check(name, &top)?;
        let descriptor = Descriptor::new("", Digest::of(&top), top.len() as u64);
        let mut pull = Pull { remote, first: top.to_vec(), progress };
        let manifest = chosen_manifest(&mut pull, &descriptor, platform)?;
        let pinned = [descriptor.digest, Digest::of(&manifest)].map(|digest| name.pinned(&digest));
        let names = Names { names: name.tag().map(|_| name.unpinned()).into_iter().collect(), digests: pinned.into() };
        self.bring_in(&mut pull, &manifest, &names, limits)
    }
}

/// A repository, of which parts are wanted.
struct Pull<'a> {
    remote: Remote,
    /// The document that the name stands for.
    first: Vec<u8>,
    progress: &'a mut dyn FnMut(&str),
}

impl Pull<'_> {
    /// Another manifest of the same repository.
    fn document(&self, digest: &Digest) -> Result<Vec<u8>> {
        let Remote { runtime, client, name, auth } = &self.remote;
        let (registry, repository) = (name.registry().to_owned(), name.repository().to_owned());
        let name = oci_client::Reference::with_digest(registry, repository, digest.to_string());
        let answer = runtime.block_on(client.pull_manifest_raw(&name, auth, &ACCEPTED));
        answer.map(|(bytes, _)| bytes.to_vec()).map_err(|error| told(&error))
    }
}

impl Parts for Pull<'_> {
    fn open(&mut self, wanted: &Descriptor) -> Result<Box<dyn Read + '_>> {
        if Digest::of(&self.first) == wanted.digest {
            return Ok(Box::new(self.first.as_slice()));
        }
        if ACCEPTED.contains(&wanted.media_type.as_str()) {
            return Ok(Box::new(io::Cursor::new(self.document(&wanted.digest)?)));
        }
        (self.progress)(&format!("{}: fetching {} bytes", wanted.digest.short(), wanted.size));
        let Remote { runtime, client, name, .. } = &self.remote;
        let answer = runtime.block_on(client.pull_blob_stream(name, &wanted.digest.as_str()));
        let SizedStream { stream, .. } = answer.map_err(|error| told(&error))?;
        Ok(Box::new(Blob { runtime, stream, chunk: io::Cursor::new(Vec::new()) }))
    }
}

/// A blob as it arrives.
struct Blob<'a> {
    runtime: &'a Runtime,
    stream: BoxStream<'static, io::Result<bytes::Bytes>>,
    chunk: io::Cursor<Vec<u8>>,
}

impl Read for Blob<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let count = self.chunk.read(buffer)?;
            if count > 0 || buffer.is_empty() {
                return Ok(count);
            }
            match self.runtime.block_on(self.stream.next()) {
                None => return Ok(0),
                Some(chunk) => self.chunk = io::Cursor::new(chunk?.to_vec()),
            }
        }
    }
}

/// A name that is pinned means one document only.
fn check(name: &Reference, bytes: &[u8]) -> Result<()> {
    match name.digest() {
        Some(wanted) if *wanted != Digest::of(bytes) => {
            Err(Error::new(format!("the registry's answer for {name} has digest {}", Digest::of(bytes))))
        }
        _ => Ok(()),
    }
}
