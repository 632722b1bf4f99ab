//! What `docker save` has written before it wrote layouts: `manifest.json` names a configuration and tars.
//!
//! There are no digests but those in the configuration: its own, which is the image's id, and those of the plain layers.
//! They are enough: what does not fit them is refused.

use serde::Deserialize;

use crate::error::{Context, Error, Result};
use crate::image::config::ImageConfig;
use crate::image::limits::Limits;
use crate::image::manifest::{CONFIG, Manifest, Platform, decode, encode, read_limited};
use crate::image::name::Reference;
use crate::image::store::{Ingest, Names, Store};

use super::Loaded;
use super::source::Source;

/// One image of the archive.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

/// Brings in every image of the archive.
pub(super) fn load(
    store: &Store,
    source: &dyn Source,
    platform: &Platform,
    name: Option<&Reference>,
    limits: Limits,
) -> Result<Vec<Loaded>> {
    let all: Vec<Saved> = decode(&read_limited(source.need("manifest.json")?, "manifest.json")?, "manifest.json")?;
    if all.is_empty() {
        return Err(Error::new("manifest.json names no image"));
    }
    all.iter().map(|saved| one(store, source, saved, platform, name, limits)).collect()
}

fn one(
    store: &Store,
    source: &dyn Source,
    saved: &Saved,
    platform: &Platform,
    name: Option<&Reference>,
    limits: Limits,
) -> Result<Loaded> {
    let text = read_limited(source.need(&saved.config)?, &saved.config)?;
    let config = ImageConfig::parse(&text)?;
    if !config.platform().serves(platform) {
        return Err(Error::new(format!(
            "the image is for {} (--platform {0} takes it all the same)",
            config.platform()
        )));
    }
    let diff_ids = &config.rootfs.diff_ids;
    if diff_ids.len() != saved.layers.len() {
        let (layers, named) = (saved.layers.len(), diff_ids.len());
        return Err(Error::new(format!("manifest.json names {layers} layers, and the configuration {named}")));
    }
    let mut ingest = Ingest::begin(store, limits)?;
    let mut layers = Vec::new();
    for (path, diff_id) in saved.layers.iter().zip(diff_ids) {
        let blob = ingest.layer_blob(source.need(path)?).context(|| path.clone())?;
        ingest.stack(&blob, Some(diff_id))?;
        layers.push(blob);
    }
    let manifest = Manifest::new(ingest.document(CONFIG, &text)?, layers);
    let names = saved.repo_tags.iter().flatten().map(|tag| tag.parse()).collect::<Result<Vec<Reference>>>();
    let mut names = names.context(|| "manifest.json")?;
    if names.is_empty() {
        names.extend(name.cloned());
    }
    let bytes = encode(&manifest)?;
    let names = Names { names, digests: Vec::new() };
    Ok((ingest.finish(&manifest, &bytes, &names)?, names.names))
}
