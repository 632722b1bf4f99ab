//! OCI layouts: `index.json` names manifests, which name blobs, all by digest.

use std::io::Read;

use serde::Deserialize;

use crate::error::{Context, Error, Result};
use crate::image::digest::Digest;
use crate::image::limits::Limits;
use crate::image::manifest::{
    Descriptor, FULL_NAME, Header, Index, Manifest, Platform, REF_NAME, decode, is_image, read_limited,
};
use crate::image::name::Reference;
use crate::image::store::{Names, Store};

use super::source::Source;
use super::{Loaded, Parts, document};

/// Indexes that lead to indexes.
const NESTED: usize = 4;

struct Blobs<'a>(&'a dyn Source);

impl Parts for Blobs<'_> {
    fn open(&mut self, wanted: &Descriptor) -> Result<Box<dyn Read + '_>> {
        self.0.need(&format!("blobs/sha256/{}", wanted.digest.hex()))
    }
}

/// Docker's own list beside it, of which only the names matter here.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Named {
    config: String,
    repo_tags: Option<Vec<String>>,
}

/// Brings in every image of the layout that is for `platform`.
pub(super) fn load(
    store: &Store,
    source: &dyn Source,
    platform: &Platform,
    name: Option<&Reference>,
    limits: Limits,
) -> Result<Vec<Loaded>> {
    let index: Index = decode(&read_limited(source.need("index.json")?, "index.json")?, "index.json")?;
    let named = names_of_docker(source)?;
    let fits = |d: &&Descriptor| is_image(d) && d.platform.as_ref().is_none_or(|p| p.serves(platform));
    let mut wanted: Vec<&Descriptor> = index.manifests.iter().filter(fits).collect();
    if wanted.is_empty() {
        wanted.push(index.choose(platform)?);
    }
    let mut images = Vec::new();
    for descriptor in wanted {
        let mut names = annotated(descriptor)?;
        let mut blobs = Blobs(source);
        let bytes = manifest(&mut blobs, descriptor, platform)?;
        let manifest: Manifest = decode(&bytes, "the image's manifest")?;
        names
            .extend(named.iter().filter(|(config, _)| *config == manifest.config.digest).map(|(_, name)| name.clone()));
        names.sort();
        names.dedup();
        if names.is_empty() {
            names.extend(name.cloned());
        }
        let digest = Digest::of(&bytes);
        let digests = names.iter().map(|name| name.pinned(&digest)).collect();
        let names = Names { names, digests };
        images.push((store.bring_in(&mut blobs, &bytes, &names, limits)?, names.names));
    }
    Ok(images)
}

/// The manifest that a descriptor leads to, if need be by way of indexes.
pub(in crate::image) fn manifest(
    parts: &mut dyn Parts,
    descriptor: &Descriptor,
    platform: &Platform,
) -> Result<Vec<u8>> {
    let mut descriptor = descriptor.clone();
    for _ in 0..NESTED {
        let bytes = document(parts, &descriptor)?;
        let header: Header = decode(&bytes, "a manifest")?;
        if !header.is_index()? {
            return Ok(bytes);
        }
        descriptor = decode::<Index>(&bytes, "an index")?.choose(platform)?.clone();
    }
    Err(Error::new(format!("indexes in indexes, more than {NESTED} deep")))
}

/// Names in annotations. A bare tag, as some tools write it, names nothing.
fn annotated(descriptor: &Descriptor) -> Result<Vec<Reference>> {
    let full = descriptor.annotations.get(FULL_NAME);
    let name = full.or_else(|| descriptor.annotations.get(REF_NAME).filter(|name| name.contains(['/', ':'])));
    let name = name.map(|name| name.parse::<Reference>()).transpose().context(|| "index.json")?;
    Ok(name.map(|name| name.unpinned()).filter(|name| name.tag().is_some()).into_iter().collect())
}

fn names_of_docker(source: &dyn Source) -> Result<Vec<(Digest, Reference)>> {
    let Some(file) = source.open("manifest.json")? else { return Ok(Vec::new()) };
    let all: Vec<Named> = decode(&read_limited(file, "manifest.json")?, "manifest.json")?;
    let mut names = Vec::new();
    for Named { config, repo_tags } in all {
        let hex = config.rsplit('/').next().unwrap_or_default().trim_end_matches(".json");
        let Ok(digest) = format!("sha256:{hex}").parse::<Digest>() else { continue };
        for tag in repo_tags.unwrap_or_default() {
            names.push((digest.clone(), tag.parse().context(|| "manifest.json")?));
        }
    }
    Ok(names)
}
