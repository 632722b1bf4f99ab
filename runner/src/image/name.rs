//! Names of images, as people write them and as they are kept.
//!
//! `nginx` means `docker.io/library/nginx:latest`. The rules are those of the distribution reference grammar: the first
//! component is a registry if it holds a dot or a colon or is `localhost`; names are lower case; a tag has at most 128
//! characters; a digest pins the manifest.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result};
use crate::written::written_as_text;

use super::digest::Digest;

const DOCKER: &str = "docker.io";
const LIBRARY: &str = "library/";
const LATEST: &str = "latest";

/// A name in full: registry, repository, and a tag, a digest, or both.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

impl Reference {
    /// `docker.io`, `localhost:5000`, ...
    #[must_use]
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The path in the registry, such as `library/nginx`.
    #[must_use]
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag; none if the name is pinned by a digest only.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The manifest that the name is pinned to.
    #[must_use]
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// The same repository, pinned to `digest`, without a tag.
    #[must_use]
    pub fn pinned(&self, digest: &Digest) -> Self {
        Self { tag: None, digest: Some(digest.clone()), ..self.clone() }
    }

    /// The same repository and tag, not pinned.
    #[must_use]
    pub fn unpinned(&self) -> Self {
        Self { digest: None, ..self.clone() }
    }

    /// The repository as people write it: without what is understood.
    #[must_use]
    pub fn familiar_repository(&self) -> String {
        match (self.registry == DOCKER, self.repository.strip_prefix(LIBRARY)) {
            (true, Some(short)) => short.to_owned(),
            (true, None) => self.repository.clone(),
            (false, _) => format!("{}/{}", self.registry, self.repository),
        }
    }

    /// The whole name as people write it, such as `nginx:latest` or `nginx@sha256:...`.
    #[must_use]
    pub fn familiar(&self) -> String {
        self.written(&self.familiar_repository())
    }

    fn written(&self, repository: &str) -> String {
        let tag = self.tag.as_ref().map(|tag| format!(":{tag}")).unwrap_or_default();
        let digest = self.digest.as_ref().map(|digest| format!("@{digest}")).unwrap_or_default();
        format!("{repository}{tag}{digest}")
    }
}

impl FromStr for Reference {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let bad = |why: &str| Error::new(format!("invalid image name {text:?}: {why}"));
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest.parse().map_err(|e: Error| bad(&e.message))?)),
            None => (text, None),
        };
        // A colon behind the last slash begins a tag; one before it belongs to the registry's port.
        let (path, tag) = match rest.rsplit_once(':') {
            Some((path, tag)) if !tag.contains('/') => (path, Some(tag)),
            _ => (rest, None),
        };
        if let Some(tag) = tag.filter(|tag| !is_tag(tag)) {
            return Err(bad(&format!("{tag:?} is no tag: 1 to 128 letters, digits, '_', '.' and '-'")));
        }
        let (registry, repository) = match path.split_once('/') {
            Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" => (first, rest.to_owned()),
            _ => (DOCKER, path.to_owned()),
        };
        let registry = if registry == "index.docker.io" { DOCKER } else { registry };
        let official = registry == DOCKER && !repository.contains('/');
        let repository = if official { format!("{LIBRARY}{repository}") } else { repository };
        if !is_registry(registry) {
            return Err(bad("the part before the first slash is no host, with or without a port"));
        }
        if repository.len() + registry.len() > 255 || !repository.split('/').all(is_component) {
            return Err(bad(
                "a repository has components of lower-case letters and digits, with single '.', '_', '__' or dashes between them",
            ));
        }
        let tag = tag.map(str::to_owned).or_else(|| digest.is_none().then(|| LATEST.to_owned()));
        Ok(Self { registry: registry.to_owned(), repository, tag, digest })
    }
}

fn is_tag(tag: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    (1..=128).contains(&tag.len())
        && tag.bytes().next().is_some_and(word)
        && tag.bytes().all(|b| word(b) || b".-".contains(&b))
}

fn is_registry(text: &str) -> bool {
    let (host, port) = text.rsplit_once(':').unwrap_or((text, "1"));
    let label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    port.parse::<u16>().is_ok() && host.split('.').all(label)
}

/// Lower-case letters and digits, with separators inside: one dot, one or two underscores, any number of dashes.
fn is_component(text: &str) -> bool {
    let word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = text.as_bytes();
    let ends = bytes.first().zip(bytes.last()).is_some_and(|(a, b)| word(*a) && word(*b));
    let separators = bytes.chunk_by(|a, b| word(*a) == word(*b)).filter(|run| !word(run[0]));
    ends && separators.into_iter().all(|run| matches!(run, b"." | b"_" | b"__") || run.iter().all(|b| *b == b'-'))
}

impl fmt::Display for Reference {
    /// The name in full.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written(&format!("{}/{}", self.registry, self.repository)))
    }
}

written_as_text!(Reference);

#[cfg(test)]
mod tests {
    use super::*;

    fn full(text: &str) -> String {
        text.parse::<Reference>().unwrap().to_string()
    }

    /// Requirement: S4-10.
    #[test]
    fn what_is_left_out_is_understood() {
        assert_eq!(full("nginx"), "docker.io/library/nginx:latest");
        assert_eq!(full("docker.io/nginx"), "docker.io/nginx:latest".replace("nginx", "library/nginx"));
        assert_eq!(full("nginx:1.27"), "docker.io/library/nginx:1.27");
        assert_eq!(full("bitnami/redis"), "docker.io/bitnami/redis:latest");
        assert_eq!(full("quay.io/a/b_c/d-e"), "quay.io/a/b_c/d-e:latest");
        assert_eq!(full("localhost/x"), "localhost/x:latest");
        assert_eq!(full("localhost:5000/x:y"), "localhost:5000/x:y");
        assert_eq!(full("index.docker.io/library/a"), "docker.io/library/a:latest");
        let digest = format!("sha256:{}", "a".repeat(64));
        assert_eq!(full(&format!("nginx@{digest}")), format!("docker.io/library/nginx@{digest}"));
        assert_eq!(full(&format!("nginx:1@{digest}")), format!("docker.io/library/nginx:1@{digest}"));
    }

    #[test]
    fn names_are_shown_as_people_write_them() {
        for text in ["nginx:latest", "a/b:c", "localhost:5000/x:latest", "quay.io/x:1"] {
            assert_eq!(text.parse::<Reference>().unwrap().familiar(), text);
        }
    }

    #[test]
    fn what_is_no_name_is_refused() {
        let long = format!("a:{}", "t".repeat(129));
        let bads =
            ["", "/", "a/", "/a", "A", "a//b", "a:", "a: b", "-a", "a..b", "a___b", "a@sha256:1", "../x", "a/../b"];
        for bad in bads.iter().copied().chain([long.as_str(), "x.y:99999/a", "a\n", "a:b:c"]) {
            assert!(bad.parse::<Reference>().is_err(), "{bad:?}");
        }
    }

    /// Requirement: P-20.
    #[test]
    fn damaged_names_are_refused_or_stay_what_they_are() {
        let digest = format!("localhost:5000/a/b:tag@sha256:{}", "a".repeat(64));
        let good: [&[u8]; 3] = [b"docker.io/library/nginx:1.25", digest.as_bytes(), b"x"];
        crate::mutation::each(&good, &[b"@sha256:", b"docker.io/", b"__"], 6_000, |text| {
            let Some(name) = std::str::from_utf8(text).ok().and_then(|text| text.parse::<Reference>().ok()) else {
                return;
            };
            assert_eq!(name.to_string().parse::<Reference>().as_ref(), Ok(&name));
            let parts = name.repository().split('/');
            assert!(parts.into_iter().all(|part| !part.is_empty() && !part.starts_with('.')), "{name}");
        });
    }
}
