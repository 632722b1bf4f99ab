//! `xnet rename`.

use clap::Args;

use crate::cli::complain;
use crate::container::{self, control};
use crate::error::Result;
use crate::id::Name;
use crate::spec::Dirs;

/// Which container gets which name.
#[derive(Debug, Args)]
pub(in crate::cli) struct Rename {
    /// An id, a name, or the beginning of an id
    #[arg(value_name = "CONTAINER")]
    container: String,
    /// The new name
    #[arg(value_name = "NAME")]
    name: Name,
}

impl Rename {
    pub(in crate::cli) fn run(&self, dirs: &Dirs) -> Result<u8> {
        let store = container::open(dirs, &mut complain)?;
        control::rename(&store, &store.find(&self.container)?, &self.name)?;
        Ok(0)
    }
}
