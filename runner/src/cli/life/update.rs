//! `xnet update`.

use clap::Args;

use crate::cli::flags::CommonLimitFlags;
use crate::container::update::update;
use crate::error::{Error, Result};
use crate::spec::{Dirs, Limits, Restart};

use super::each;

/// Which containers to change, and how.
#[derive(Debug, Args)]
pub(in crate::cli) struct Update {
    #[command(flatten)]
    limits: CommonLimitFlags,
    /// no, always, unless-stopped, on-failure or on-failure:NUMBER
    #[arg(long, value_name = "POLICY")]
    restart: Option<Restart>,
    /// Ids, names, or beginnings of ids
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

impl Update {
    pub(in crate::cli) fn run(&self, dirs: &Dirs) -> Result<u8> {
        let changes = self.limits.limits();
        if changes == Limits::default() && self.restart.is_none() {
            return Err(Error::new("nothing to change: give a limit, such as --memory 64m, or --restart"));
        }
        each::one_by_one(dirs, &self.containers, |store, id| update(store, id, &changes, self.restart))
    }
}
