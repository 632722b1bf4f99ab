//! `xnet gc`.

use clap::Args;

use crate::error::Result;
use crate::image;
use crate::net;
use crate::spec::Dirs;
use crate::state::{Store, recover};

use super::complain;

/// How far to go.
#[derive(Debug, Args)]
pub(super) struct Gc {
    /// Forget containers even if something of theirs could not be removed, such as when a plugin is gone for good
    #[arg(long)]
    force: bool,
}

impl Gc {
    /// Prints the ids of the containers that were cleaned up.
    pub(super) fn run(&self, dirs: &Dirs) -> Result<u8> {
        let store = Store::open(dirs)?;
        let mut recovered = recover::all(&store, dirs, self.force)?;
        recovered.failed.extend(net::remove::collect_all(&store, dirs));
        recovered.failed.extend(tidy_images(dirs).err());
        recovered.cleaned.iter().for_each(|id| println!("{id}"));
        recovered.failed.iter().for_each(complain);
        Ok(u8::from(!recovered.failed.is_empty()))
    }
}

/// Removes what imports that were killed have left; there may never have been any.
fn tidy_images(dirs: &Dirs) -> Result<()> {
    match dirs.data.join("images").is_dir() {
        true => image::Store::open(&dirs.data)?.tidy().map(drop),
        false => Ok(()),
    }
}
