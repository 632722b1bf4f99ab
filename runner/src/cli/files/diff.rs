//! `xnet diff`.

use clap::Args;

use crate::container;
use crate::error::Result;
use crate::spec::Dirs;
use crate::state::View;
use crate::storage::{Place, changes};

use crate::cli::complain;

/// Whose changes.
#[derive(Debug, Args)]
pub(in crate::cli) struct Diff {
    /// An id, a name, or the beginning of an id
    container: String,
}

impl Diff {
    /// A line for each name that the container has added, changed or deleted.
    pub(in crate::cli) fn run(&self, dirs: &Dirs) -> Result<u8> {
        let store = container::open(dirs, &mut complain)?;
        let id = store.find(&self.container)?;
        let view = View::of(&store, &id)?;
        for (kind, path) in changes::of(&view.spec, &Place::of(&dirs.data, &id))? {
            println!("{kind} {}", path.display());
        }
        Ok(0)
    }
}
