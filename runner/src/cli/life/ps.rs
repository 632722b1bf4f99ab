//! `xnet ps`.

use clap::Args;

use crate::cli::complain;
use crate::container;
use crate::error::Result;
use crate::spec::Dirs;
use crate::state::View;
use crate::storage::Place;
use crate::storage::size::{self, Sizes};

/// Which containers to list, and how.
#[derive(Debug, Args)]
pub(in crate::cli) struct Ps {
    /// Also those that do not run
    #[arg(short, long)]
    all: bool,
    /// Ids only
    #[arg(short, long)]
    quiet: bool,
    /// Whole ids and commands
    #[arg(long)]
    no_trunc: bool,
    /// What each has written, and takes in all
    #[arg(short, long)]
    size: bool,
}

impl Ps {
    pub(in crate::cli) fn run(&self, dirs: &Dirs) -> Result<u8> {
        let store = container::open(dirs, &mut complain)?;
        let shown = View::all(&store)?.into_iter().filter(|view| self.all || view.status.is_alive());
        for view in shown {
            let id = if self.no_trunc { view.id().as_str() } else { view.id().short() };
            if self.quiet {
                println!("{id}");
            } else {
                let size = if self.size { format!("  {}", sizes(&view, dirs)?) } else { String::new() };
                println!("{id}  {}  {}{size}", view.status, view.called());
            }
        }
        Ok(0)
    }
}

fn sizes(view: &View, dirs: &Dirs) -> Result<Sizes> {
    size::of(&view.spec.root, &Place::of(&dirs.data, view.id()))
}
