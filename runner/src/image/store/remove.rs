//! Taking names and images away.

use crate::error::{Error, Result};
use crate::image::digest::Digest;
use crate::image::name::Reference;

use super::{Found, Store};

/// What a removal has done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Removal {
    /// A name means nothing any more.
    Untagged(Reference),
    /// An image is no more.
    Deleted(Digest),
}

impl Store {
    /// Takes the name `text` away, and with its last name the image. By its id an image goes with its only name, or with
    /// `force` with all of them. An image that somebody holds stays; with `force` without its names, until the last
    /// holder lets go and somebody prunes.
    pub fn remove(&self, text: &str, force: bool) -> Result<Vec<Removal>> {
        let (removals, deleted) = {
            let _lock = self.lock()?;
            self.unlist(text, force)?
        };
        if deleted {
            self.tidy()?;
        }
        Ok(removals)
    }

    fn unlist(&self, text: &str, force: bool) -> Result<(Vec<Removal>, bool)> {
        let (image, found) = self.find(text)?;
        let names = match found {
            Found::Name(name) => vec![name],
            Found::Id if image.names.len() > 1 && !force => {
                let names: Vec<String> = image.names.iter().map(Reference::familiar).collect();
                return Err(Error::new(format!(
                    "image {} has several names: {}; remove one of them, or use --force",
                    image.id.short(),
                    names.join(", ")
                )));
            }
            Found::Id => image.names.clone(),
        };
        let last = image.names.iter().all(|name| names.contains(name));
        let holders = if last { self.holders(&image.id)? } else { Vec::new() };
        if let (Some(holder), false) = (holders.first(), force) {
            let short = holder.short();
            return Err(Error::new(format!(
                "image {} is in use by container {short}; remove that first, or use --force to take the name only",
                image.shown()
            )));
        }
        let deleted = last && holders.is_empty();
        let mut index = self.index()?;
        if deleted {
            index.images.remove(&image.id);
        } else if let Some(record) = index.images.get_mut(&image.id) {
            record.names.retain(|name| !names.contains(name));
        }
        index.write(&self.index_path())?;
        let mut removals: Vec<Removal> = names.into_iter().map(Removal::Untagged).collect();
        removals.extend(deleted.then_some(Removal::Deleted(image.id)));
        Ok((removals, deleted))
    }
}
