//! `xnet kill`.

use clap::Args;

use crate::container::control;
use crate::error::Result;
use crate::spec::{Dirs, Signal};

use super::each;

/// Which containers to send which signal.
#[derive(Debug, Args)]
pub(in crate::cli) struct Kill {
    /// The signal, by name or number
    #[arg(short, long, value_name = "SIGNAL", default_value = "SIGKILL")]
    signal: Signal,
    /// Ids, names, or beginnings of ids
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

impl Kill {
    pub(in crate::cli) fn run(&self, dirs: &Dirs) -> Result<u8> {
        each::one_by_one(dirs, &self.containers, |store, id| control::kill(store, id, self.signal))
    }
}
