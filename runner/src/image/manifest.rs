//! Manifests, indexes and descriptors: how the parts of an image name each other.
//!
//! The types are our own, and few: what is written here gets a digest for a name, so the order of everything in it must
//! not depend on a hash map's; and the digests in it become file names, so only checked ones are let in.

use std::collections::BTreeMap;
use std::io::Read;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::{Context, Error, Result};

use super::digest::Digest;
use super::limits::JSON;

pub(super) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(super) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(super) const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub(super) const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
pub(super) const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";

/// The annotation that names an image in a layout's index; often only its tag.
pub(super) const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// containerd's annotation with the whole name.
pub(super) const FULL_NAME: &str = "io.containerd.image.name";

/// What a blob is, how it is called, and how long it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// Media type.
    #[serde(default)]
    pub media_type: String,
    /// Name by content.
    pub digest: Digest,
    /// Bytes.
    pub size: u64,
    /// For which machines it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// Notes, in the order of their keys.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// A kind of machine, by Go's names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Platform {
    /// `amd64`, `arm64`, ...
    pub architecture: String,
    /// `linux`.
    pub os: String,
    /// `v7`, `v8`: of ARM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

/// One image: its configuration, and its layers with the lowest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// Always 2.
    pub schema_version: u32,
    /// OCI's or Docker's type.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub media_type: String,
    /// The configuration.
    pub config: Descriptor,
    /// The layers.
    pub layers: Vec<Descriptor>,
}

/// Several images, or one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Index {
    pub(super) schema_version: u32,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) media_type: String,
    pub(super) manifests: Vec<Descriptor>,
}

/// What a document that may be either says about itself.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Header {
    #[serde(default)]
    schema_version: u32,
    #[serde(default)]
    manifests: Option<serde::de::IgnoredAny>,
    #[serde(default)]
    layers: Option<serde::de::IgnoredAny>,
}

impl Header {
    /// Whether the document is an index; refused if it is neither index nor manifest, or both.
    pub(super) fn is_index(&self) -> Result<bool> {
        match (self.schema_version, &self.manifests, &self.layers) {
            (2, Some(_), None) => Ok(true),
            (2, None, Some(_)) => Ok(false),
            (1, ..) => {
                Err(Error::new("a manifest of schema 1, which nobody writes any more; xnet reads schema 2 and OCI"))
            }
            _ => Err(Error::new("neither an image manifest nor an image index")),
        }
    }
}

impl Descriptor {
    pub(super) fn new(media_type: &str, digest: Digest, size: u64) -> Self {
        Self { media_type: media_type.to_owned(), digest, size, platform: None, annotations: BTreeMap::new() }
    }
}

impl Manifest {
    pub(super) fn new(config: Descriptor, layers: Vec<Descriptor>) -> Self {
        Self { schema_version: 2, media_type: MANIFEST.to_owned(), config, layers }
    }
}

impl Index {
    pub(super) fn new(manifests: Vec<Descriptor>) -> Self {
        Self { schema_version: 2, media_type: INDEX.to_owned(), manifests }
    }

    /// The manifest for `wanted`; the only one there is if nothing is wanted and it does not say for which platform.
    pub(super) fn choose(&self, wanted: &Platform) -> Result<&Descriptor> {
        let images = || self.manifests.iter().filter(|m| is_image(m));
        let fits = |m: &&Descriptor| m.platform.as_ref().is_some_and(|platform| platform.serves(wanted));
        let exact = |m: &&Descriptor| m.platform.as_ref() == Some(wanted);
        let only = || images().next().filter(|m| m.platform.is_none() && images().count() == 1);
        images().find(exact).or_else(|| images().find(fits)).or_else(only).ok_or_else(|| {
            let all: Vec<String> = images().filter_map(|m| m.platform.as_ref().map(Platform::to_string)).collect();
            Error::new(format!(
                "no image for {wanted}; there are images for: {} (--platform chooses one)",
                all.join(", ")
            ))
        })
    }
}

/// Whether a descriptor of an index leads to something that runs; attestations stand beside images there.
pub(super) fn is_image(descriptor: &Descriptor) -> bool {
    let kind = [MANIFEST, DOCKER_MANIFEST, INDEX, DOCKER_LIST, ""].contains(&descriptor.media_type.as_str());
    kind && descriptor.platform.as_ref().is_none_or(|platform| platform.architecture != "unknown")
}

impl Platform {
    /// That of this machine.
    #[must_use]
    pub fn host() -> Self {
        let (architecture, variant) = match std::env::consts::ARCH {
            "x86_64" => ("amd64", None),
            "x86" => ("386", None),
            "aarch64" => ("arm64", None),
            "arm" => ("arm", Some("v7")),
            "powerpc64" => ("ppc64le", None),
            "loongarch64" => ("loong64", None),
            other => (other, None),
        };
        Self { architecture: architecture.to_owned(), os: "linux".to_owned(), variant: variant.map(str::to_owned) }
    }

    /// Whether an image for this platform runs where `wanted` is asked for. A variant counts only if both name one.
    pub(super) fn serves(&self, wanted: &Self) -> bool {
        let variants = self.variant.as_ref().zip(wanted.variant.as_ref()).is_none_or(|(a, b)| a == b);
        self.os == wanted.os && self.architecture == wanted.architecture && variants
    }
}

impl std::fmt::Display for Platform {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant.as_ref().map_or(Ok(()), |variant| write!(f, "/{variant}"))
    }
}

impl std::str::FromStr for Platform {
    type Err = Error;

    /// `linux/arm64/v8`, `linux/arm64`, or `arm64`.
    fn from_str(text: &str) -> Result<Self> {
        let known = |part: &&str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric());
        let parts: Vec<&str> = text.split('/').filter(known).collect();
        let (os, architecture, variant) = match parts.as_slice() {
            [architecture] => ("linux", *architecture, None),
            [os, architecture] => (*os, *architecture, None),
            [os, architecture, variant] => (*os, *architecture, Some((*variant).to_owned())),
            _ => return Err(Error::new(format!("invalid platform {text:?}: expected for example linux/arm64"))),
        };
        let architecture = match architecture {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        if text.split('/').count() != parts.len() || os != "linux" {
            return Err(Error::new(format!("invalid platform {text:?}: expected for example linux/arm64")));
        }
        Ok(Self { architecture: architecture.to_owned(), os: os.to_owned(), variant })
    }
}

/// Reads a document of at most [`JSON`] bytes.
pub(super) fn read_limited(reader: impl Read, what: &str) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.take(JSON + 1).read_to_end(&mut bytes).context(|| format!("read {what}"))?;
    match bytes.len() as u64 > JSON {
        true => Err(Error::new(format!("{what} is longer than {JSON} bytes"))),
        false => Ok(bytes),
    }
}

/// Decodes a document.
pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8], what: &str) -> Result<T> {
    if bytes.len() as u64 > JSON {
        return Err(Error::new(format!("{what} is longer than {JSON} bytes")));
    }
    serde_json::from_slice(bytes).context(|| what.to_owned())
}

/// Encodes a document.
pub(super) fn encode(value: &impl Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(value).context(|| "encode a document")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(platform: Option<&str>, letter: &str) -> Descriptor {
        let digest = format!("sha256:{}", letter.repeat(64)).parse().unwrap();
        let platform = platform.map(|p| p.parse().unwrap());
        Descriptor { platform, ..Descriptor::new(MANIFEST, digest, 1) }
    }

    #[test]
    fn an_index_gives_the_image_for_the_platform() {
        let index = Index::new(vec![of(Some("arm64"), "a"), of(Some("amd64"), "b"), of(Some("linux/arm/v7"), "c")]);
        let chosen = |text: &str| index.choose(&text.parse().unwrap()).map(|d| d.digest.hex()[..1].to_owned());
        assert_eq!(chosen("linux/amd64").unwrap(), "b");
        assert_eq!(chosen("linux/arm64/v8").unwrap(), "a");
        assert_eq!(chosen("arm").unwrap(), "c");
        let refused = chosen("riscv64").unwrap_err().message;
        assert!(refused.contains("linux/arm64, linux/amd64, linux/arm/v7"), "{refused}");
        assert_eq!(Index::new(vec![of(None, "a")]).choose(&Platform::host()).unwrap().digest.hex()[..1], *"a");
        assert!(Index::new(vec![of(None, "a"), of(None, "b")]).choose(&Platform::host()).is_err());
    }

    /// Requirement: P-20.
    #[test]
    fn documents_that_are_bombs_or_say_a_thing_twice_are_refused() {
        let big = vec![b' '; usize::try_from(JSON).unwrap() + 1];
        assert!(read_limited(&big[..], "x").is_err());
        let deep = [vec![b'['; 100_000], vec![b']'; 100_000]].concat();
        assert!(decode::<Index>(&deep, "x").is_err());
        // Where nothing is kept, depth costs nothing: this returns, and the stack is still there.
        let nested = format!("{{\"schemaVersion\":2,\"manifests\":[],\"x\":{}}}", String::from_utf8(deep).unwrap());
        assert_eq!(decode::<Index>(nested.as_bytes(), "x").map(|index| index.manifests.len()), Ok(0));
        let twice = br#"{"schemaVersion":2,"manifests":[],"manifests":[]}"#;
        assert!(decode::<Index>(twice, "x").unwrap_err().message.contains("duplicate"));
        let both: Header = decode(br#"{"schemaVersion":2,"manifests":[],"layers":[]}"#, "x").unwrap();
        assert!(both.is_index().is_err());
    }

    /// Requirement: P-20.
    #[test]
    fn damaged_documents_are_refused_or_mean_what_they_say() {
        let index = Index::new(vec![of(Some("arm64"), "a"), of(Some("linux/arm/v7"), "b"), of(None, "c")]);
        let manifest = Manifest::new(of(None, "d"), vec![of(None, "e"), of(None, "f")]);
        let good = [encode(&index).unwrap(), encode(&manifest).unwrap()];
        let words: [&[u8]; 4] = [b"\"digest\":", b"sha256:../../x", b"\"size\":-1,", b"\"manifests\":[],"];
        crate::mutation::each(&[&good[0], &good[1]], &words, 6_000, |text| {
            let _ = decode::<Header>(text, "x").and_then(|header| header.is_index());
            let named = decode::<Index>(text, "x").map(|index| index.manifests).unwrap_or_default();
            let layers = decode::<Manifest>(text, "x").map(|manifest| manifest.layers).unwrap_or_default();
            // What becomes a file name is one.
            assert!(named.iter().chain(&layers).all(|d| d.digest.hex().len() == 64), "{}", text.escape_ascii());
        });
    }
}
