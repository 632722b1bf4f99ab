//! `xnet rm`.

use clap::Args;

use crate::container::control;
use crate::error::Result;
use crate::spec::Dirs;

use super::each;

/// Which containers to remove.
#[derive(Debug, Args)]
pub(in crate::cli) struct Rm {
    /// Kill those that run
    #[arg(short, long)]
    force: bool,
    /// Remove the volumes that were made for them, too
    #[arg(short, long)]
    volumes: bool,
    /// Ids, names, or beginnings of ids
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

impl Rm {
    pub(in crate::cli) fn run(&self, dirs: &Dirs) -> Result<u8> {
        each::at_once(dirs, &self.containers, |store, id| control::remove(store, id, self.force, self.volumes))
    }
}
