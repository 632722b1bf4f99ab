//! Commands about images that are here: tag, rm, prune, inspect.

use clap::Args;

use crate::cli::complain;
use crate::cli::inspect::answer;
use crate::error::Result;
use crate::format::units::size;
use crate::image::Reference;
use crate::image::store::Removal;
use crate::spec::Dirs;

use super::store;

/// `xnet tag IMAGE NAME`.
#[derive(Debug, Args)]
pub(in crate::cli) struct Tag {
    /// An image by name or id
    image: String,
    /// The new name
    name: Reference,
}

impl Tag {
    pub(in crate::cli) fn run(&self, dirs: &Dirs) -> Result<u8> {
        let store = store(dirs)?;
        store.tag(&store.resolve(&self.image)?.id, &self.name)?;
        Ok(0)
    }
}

/// `xnet rmi IMAGE...`.
#[derive(Debug, Args)]
pub(in crate::cli) struct Remove {
    /// Images by name or id
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<String>,
    /// Take all names of an image, and the name of one that a container needs
    #[arg(short, long)]
    force: bool,
    /// For Docker's sake: images that others are built upon stay anyway
    #[arg(long)]
    no_prune: bool,
}

impl Remove {
    /// Prints what went; what could not be removed is told, and the rest is removed all the same.
    pub(in crate::cli) fn run(&self, dirs: &Dirs) -> Result<u8> {
        let store = store(dirs)?;
        let mut failed = false;
        for image in &self.images {
            match store.remove(image, self.force) {
                Ok(removals) => removals.iter().for_each(|removal| match removal {
                    Removal::Untagged(name) => println!("Untagged: {}", name.familiar()),
                    Removal::Deleted(id) => println!("Deleted: {id}"),
                }),
                Err(error) => {
                    complain(&error);
                    failed = true;
                }
            }
        }
        Ok(u8::from(failed))
    }
}

/// `xnet image prune`.
#[derive(Debug, Args)]
pub(super) struct Prune {
    /// Every image that no container needs, not only those without a name
    #[arg(short, long)]
    all: bool,
    /// For Docker's sake: nothing is asked anyway
    #[arg(short, long)]
    force: bool,
}

impl Prune {
    pub(super) fn run(&self, dirs: &Dirs) -> Result<u8> {
        let swept = store(dirs)?.prune(self.all)?;
        swept.images.iter().for_each(|id| println!("Deleted: {id}"));
        println!("Total reclaimed space: {}", size(swept.bytes));
        Ok(0)
    }
}

/// `xnet image inspect IMAGE...`.
#[derive(Debug, Args)]
pub(super) struct Inspect {
    /// Images by name or id
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<String>,
    /// A template to be filled in for each image
    #[arg(short, long, value_name = "TEMPLATE")]
    format: Option<String>,
}

impl Inspect {
    /// Prints what is known about those that exist, and fails if one does not.
    pub(super) fn run(&self, dirs: &Dirs) -> Result<u8> {
        let store = store(dirs)?;
        answer(&self.images, self.format.as_deref(), |name| store.inspect(&store.resolve(name)?))
    }
}
