//! Images from a registry.
//!
//! The crate `oci-client` speaks with the registry; what it brings is checked here as if it came from anywhere. It needs
//! an executor, which lives in this thread for as long as one pull takes: nothing else in xnet waits for one. Blobs that
//! are here already are not fetched again, so a pull that broke off goes on where it stopped.

mod auth;

use std::io::{self, Read};

use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use oci_client::Client;
use oci_client::client::{ClientConfig, ClientProtocol, SizedStream};
use oci_client::errors::{OciDistributionError, OciErrorCode};
use oci_client::secrets::RegistryAuth;
use tokio::runtime::{Builder, Runtime};

use crate::error::{Context, Error, Result};

use super::digest::Digest;
use super::limits::Limits;
use super::load::{Parts, chosen_manifest};
use super::manifest::{DOCKER_LIST, DOCKER_MANIFEST, Descriptor, INDEX, MANIFEST, Platform};
use super::name::Reference;
use super::store::{Image, Names, Store};

pub use auth::{Credentials, Known};

/// How to speak with the registry.
#[derive(Debug, Clone)]
pub struct Access {
    /// Whether its certificate must be good, and encryption is a must. A registry on this machine (`localhost`) may do
    /// without.
    pub verify: bool,
    /// Who to be, instead of whom the configuration files name.
    pub credentials: Option<Credentials>,
}

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
        // Fails if it was done before, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let runtime = Builder::new_current_thread().enable_all().build().context(|| "start to wait for the network")?;
        let (mut remote, top) = Remote::connect(&runtime, name, access, progress)?;
        let descriptor = Descriptor::new("", Digest::of(&top), top.len() as u64);
        remote.first = top;
        let manifest = chosen_manifest(&mut remote, &descriptor, platform)?;
        let pinned = [descriptor.digest, Digest::of(&manifest)].map(|digest| name.pinned(&digest));
        let names = Names { names: name.tag().map(|_| name.unpinned()).into_iter().collect(), digests: pinned.into() };
        self.bring_in(&mut remote, &manifest, &names, limits)
    }
}

/// A repository in a registry.
struct Remote<'a> {
    runtime: &'a Runtime,
    client: Client,
    name: oci_client::Reference,
    auth: RegistryAuth,
    /// The document that the name stands for.
    first: Vec<u8>,
    progress: &'a mut dyn FnMut(&str),
}

/// What a name may stand for.
const ACCEPTED: [&str; 4] = [MANIFEST, INDEX, DOCKER_MANIFEST, DOCKER_LIST];

impl<'a> Remote<'a> {
    /// Speaks with the registry in the first way that it answers to, and asks what the name stands for.
    fn connect(
        runtime: &'a Runtime,
        name: &Reference,
        access: &Access,
        progress: &'a mut dyn FnMut(&str),
    ) -> Result<(Self, Vec<u8>)> {
        let auth = match &access.credentials {
            Some(credentials) => credentials.clone().into(),
            None => Known::read()?.for_registry(name.registry())?.map_or(RegistryAuth::Anonymous, Into::into),
        };
        let asked = remote_name(name);
        let careless = !access.verify || is_local(name.registry());
        let mut ways = vec![(ClientProtocol::Https, careless)];
        if careless {
            ways.push((ClientProtocol::Http, true));
        }
        let mut refused = Error::new("no way to ask");
        for (protocol, careless) in ways {
            let config = ClientConfig {
                protocol,
                accept_invalid_certificates: careless,
                user_agent: "xnet",
                ..ClientConfig::default()
            };
            let client = Client::try_from(config).map_err(|error| told(&error))?;
            match runtime.block_on(client.pull_manifest_raw(&asked, &auth, &ACCEPTED)) {
                Ok((bytes, _)) => {
                    let remote = Self { runtime, client, name: asked, auth, first: Vec::new(), progress };
                    return check(name, &bytes).map(|()| (remote, bytes.to_vec()));
                }
                Err(error @ OciDistributionError::RequestError(_)) => refused = told(&error),
                Err(error) => return Err(told(&error)),
            }
        }
        Err(refused)
    }

    /// Another manifest of the same repository.
    fn document(&self, digest: &Digest) -> Result<Vec<u8>> {
        let (registry, repository) = (self.name.registry().to_owned(), self.name.repository().to_owned());
        let name = oci_client::Reference::with_digest(registry, repository, digest.to_string());
        let answer = self.runtime.block_on(self.client.pull_manifest_raw(&name, &self.auth, &ACCEPTED));
        answer.map(|(bytes, _)| bytes.to_vec()).map_err(|error| told(&error))
    }
}

impl Parts for Remote<'_> {
    fn open(&mut self, wanted: &Descriptor) -> Result<Box<dyn Read + '_>> {
        if Digest::of(&self.first) == wanted.digest {
            return Ok(Box::new(self.first.as_slice()));
        }
        if ACCEPTED.contains(&wanted.media_type.as_str()) {
            return Ok(Box::new(io::Cursor::new(self.document(&wanted.digest)?)));
        }
        (self.progress)(&format!("{}: fetching {} bytes", wanted.digest.short(), wanted.size));
        let answer = self.runtime.block_on(self.client.pull_blob_stream(&self.name, &wanted.digest.as_str()));
        let SizedStream { stream, .. } = answer.map_err(|error| told(&error))?;
        Ok(Box::new(Blob { runtime: self.runtime, stream, chunk: io::Cursor::new(Vec::new()) }))
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

fn remote_name(name: &Reference) -> oci_client::Reference {
    let (registry, repository) = (name.registry().to_owned(), name.repository().to_owned());
    match (name.digest(), name.tag()) {
        (Some(digest), _) => oci_client::Reference::with_digest(registry, repository, digest.to_string()),
        (None, tag) => oci_client::Reference::with_tag(registry, repository, tag.unwrap_or("latest").to_owned()),
    }
}

/// Whether a registry is on this machine, where nobody listens on the way.
fn is_local(registry: &str) -> bool {
    let host = registry.rsplit_once(':').map_or(registry, |(host, _)| host);
    host == "localhost" || host.starts_with("127.") && host.parse::<std::net::Ipv4Addr>().is_ok()
}

const ABSENT: &str = "there is no such image in the registry";

/// The whole reason: the causes of a failed request are in its sources.
fn told(error: &OciDistributionError) -> Error {
    let absent = [OciErrorCode::ManifestUnknown, OciErrorCode::NameUnknown];
    let mut text = match error {
        OciDistributionError::ImageManifestNotFoundError(_) => ABSENT.to_owned(),
        OciDistributionError::RegistryError { envelope, .. }
            if envelope.errors.iter().any(|error| absent.contains(&error.code)) =>
        {
            ABSENT.to_owned()
        }
        OciDistributionError::UnauthorizedError { .. } | OciDistributionError::AuthenticationFailure(_) => {
            "the registry wants somebody it knows: there is no such image, or it needs a login (~/.docker/config.json, --creds)".to_owned()
        }
        other => other.to_string(),
    };
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    Error::new(text.replace('\n', " "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_local() {
        for local in ["localhost", "localhost:5000", "127.0.0.1:5000"] {
            assert!(is_local(local), "{local}");
        }
        for other in ["docker.io", "127.evil.com", "localhost.evil.com:443", "10.0.0.1:5000"] {
            assert!(!is_local(other), "{other}");
        }
    }
}
