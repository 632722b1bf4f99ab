//! `xnet pause` and `xnet unpause`.

use clap::Args;

use crate::container::control;
use crate::error::Result;
use crate::spec::Dirs;

use super::each;

/// Which containers to freeze, or to let go on.
#[derive(Debug, Args)]
pub(in crate::cli) struct Pause {
    /// Ids, names, or beginnings of ids
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

impl Pause {
    pub(in crate::cli) fn run(&self, dirs: &Dirs, frozen: bool) -> Result<u8> {
        each::at_once(dirs, &self.containers, |store, id| control::freeze(store, id, frozen))
    }
}
