//! New images: from a tree or an archive, alone or on top of another image.

use std::io::Read;
use std::os::fd::BorrowedFd;

use crate::error::Result;
use crate::spec::Users;

use super::config::{Config, History, ImageConfig};
use super::digest::Digest;
use super::limits::Limits;
use super::manifest::{CONFIG, Manifest, Platform, encode};
use super::name::Reference;
use super::store::{Image, Ingest, Names, Store};
use super::tar::{Flavour, write_tree};

/// What the new layer is made of.
pub enum Content<'a> {
    /// A tar archive, plain or compressed by gzip or zstd.
    Tar(&'a mut dyn Read),
    /// The upper directory of a container's overlay.
    Upper(BorrowedFd<'a>),
    /// A whole root file system, and the user namespace that it is seen through.
    Tree(BorrowedFd<'a>, Option<&'a Users>),
}

impl std::fmt::Debug for Content<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Tar(_) => "Tar",
            Self::Upper(_) => "Upper",
            Self::Tree(..) => "Tree",
        })
    }
}

/// What is said about the new image.
#[derive(Debug, Clone, Default)]
pub struct About {
    /// What containers of it do by default.
    pub config: Config,
    /// Who made it.
    pub author: String,
    /// A note in its history.
    pub comment: String,
    /// The command that made the layer, for its history.
    pub created_by: String,
    /// The machine it is for; by default that of the parent, or this one.
    pub platform: Option<Platform>,
}

impl Store {
    /// Makes an image of `content` on top of `parent`, and names it. What was called `name` before has the name no more.
    pub fn commit(
        &self,
        parent: Option<&Image>,
        content: Content<'_>,
        about: &About,
        name: Option<&Reference>,
        limits: Limits,
    ) -> Result<Image> {
        about.config.check()?;
        let mut ingest = Ingest::begin(self, limits)?;
        let mut layers = Vec::new();
        if let Some(parent) = parent {
            layers = self.manifest(&parent.manifest)?.layers;
            for (layer, diff_id) in layers.iter().zip(parent.diff_ids()) {
                ingest.stack_known(layer, diff_id)?;
            }
        }
        let layer = match content {
            Content::Tar(reader) => ingest.layer_blob(reader)?,
            Content::Upper(dir) => ingest.compressed(|out| write_tree(dir, Flavour::Layer, None, out))?,
            Content::Tree(dir, users) => ingest.compressed(|out| write_tree(dir, Flavour::Whole, users, out))?,
        };
        let diff_id = ingest.stack(&layer, None)?;
        layers.push(layer);
        let config = encode(&configuration(parent, about, diff_id))?;
        let manifest = Manifest::new(ingest.document(CONFIG, &config)?, layers);
        let bytes = encode(&manifest)?;
        ingest.finish(&manifest, &bytes, &Names { names: name.into_iter().cloned().collect(), digests: Vec::new() })
    }
}

fn configuration(parent: Option<&Image>, about: &About, diff_id: Digest) -> ImageConfig {
    let mut config = parent.map_or_else(ImageConfig::default, |parent| parent.config.clone());
    let platform =
        about.platform.clone().or_else(|| parent.map(|p| p.config.platform())).unwrap_or_else(Platform::host);
    let created = Some(jiff::Timestamp::now().to_string());
    config.rootfs.diff_ids.push(diff_id);
    config.history.push(History {
        created: created.clone(),
        created_by: about.created_by.clone(),
        author: about.author.clone(),
        comment: about.comment.clone(),
        empty_layer: false,
    });
    ImageConfig {
        created,
        author: about.author.clone(),
        architecture: platform.architecture,
        os: platform.os,
        variant: platform.variant,
        config: about.config.clone(),
        ..config
    }
}
