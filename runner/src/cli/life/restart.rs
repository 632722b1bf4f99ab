//! `xnet restart`.

use clap::Args;

use crate::container::control;
use crate::error::Result;
use crate::spec::Dirs;
use crate::state::Wish;

use super::each;
use super::stop::Manner;

/// Which containers to end and start again.
#[derive(Debug, Args)]
pub(in crate::cli) struct Restart {
    #[command(flatten)]
    manner: Manner,
    /// Ids, names, or beginnings of ids
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

impl Restart {
    pub(in crate::cli) fn run(&self, dirs: &Dirs) -> Result<u8> {
        each::one_by_one(dirs, &self.containers, |store, id| {
            self.manner.stop(store, id, Wish::Person)?;
            control::start(store, dirs, id)
        })
    }
}
