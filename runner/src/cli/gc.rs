//! `xnet gc`.

use clap::Args;

use crate::error::Result;
use crate::spec::Dirs;
use crate::state::{Store, undo};

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
        let (done, failed) = undo::abandoned(&Store::open(&dirs.state)?, self.force)?;
        done.iter().for_each(|id| println!("{id}"));
        failed.iter().for_each(complain);
        Ok(u8::from(!failed.is_empty()))
    }
}
