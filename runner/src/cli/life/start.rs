//! `xnet start`.

use clap::Args;

use crate::cli::complain;
use crate::container::{self, control};
use crate::error::{Error, Result};
use crate::spec::Dirs;

use super::each;

/// Which containers to start, and whether to stay.
#[derive(Debug, Args)]
pub(in crate::cli) struct Start {
    /// Stay until the container has ended, and pass its output and status on
    #[arg(short, long)]
    attach: bool,
    /// Ids, names, or beginnings of ids
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

impl Start {
    pub(in crate::cli) fn run(&self, dirs: &Dirs) -> Result<u8> {
        match self.containers.as_slice() {
            [one] if self.attach => {
                let store = container::open(dirs, &mut complain)?;
                control::start_attached(&store, dirs, &store.find(one)?, &mut complain)
            }
            _ if self.attach => Err(Error::new("only one container can be attached to")),
            all => each::one_by_one(dirs, all, |store, id| control::start(store, dirs, id)),
        }
    }
}
