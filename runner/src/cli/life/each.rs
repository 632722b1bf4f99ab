//! One command for several containers.

use std::thread;

use clap::Args;

use crate::cli::complain;
use crate::container;
use crate::error::Result;
use crate::id::Name;
use crate::spec::Dirs;
use crate::state::{Store, View};

use super::filter::Filters;

/// Which containers are meant.
#[derive(Debug, Args)]
pub(super) struct Which {
    /// All containers
    #[arg(long, conflicts_with = "containers")]
    all: bool,
    /// With --all: only those that `ps -a` with this filter lists
    #[arg(short, long = "filter", value_name = "KEY=VALUE", requires = "all")]
    filters: Vec<String>,
    /// Ids, names, or beginnings of ids
    #[arg(required_unless_present = "all", value_name = "CONTAINER")]
    containers: Vec<String>,
}

impl Which {
    /// Whether they were not named one by one.
    pub(super) fn is_all(&self) -> bool {
        self.all
    }

    /// What they are called. Of all, the oldest come first: a container that joins another was made after it.
    pub(super) fn references(&self, store: &Store) -> Result<Vec<String>> {
        if !self.all {
            return Ok(self.containers.clone());
        }
        let filters = Filters::parse(&self.filters, store)?;
        let wanted = View::all(store)?.into_iter().rev().filter(|view| filters.want(view, store));
        Ok(wanted.map(|view| view.called().to_owned()).collect())
    }
}

/// Does `deed` to every container of `references`, one after the other, and prints each reference when it is done. A failure
/// does not keep it from the others. Answers the exit status: 0 if all went well.
pub(super) fn one_by_one(
    dirs: &Dirs,
    references: &[String],
    mut deed: impl FnMut(&Store, &Name) -> Result<()>,
) -> Result<u8> {
    let store = container::open(dirs, &mut complain)?;
    let done = references.iter().filter(|reference| {
        let result = store.find(reference).and_then(|id| deed(&store, &id));
        told(reference, result)
    });
    Ok(u8::from(done.count() < references.len()))
}

/// As [`one_by_one`], for deeds that take time: all at once.
pub(super) fn at_once<'a>(
    dirs: &Dirs,
    references: &'a [String],
    deed: impl Fn(&Store, &Name) -> Result<()> + Sync,
) -> Result<u8> {
    let store = container::open(dirs, &mut complain)?;
    let (store, deed) = (&store, &deed);
    let done = thread::scope(|scope| {
        let start = |reference: &'a String| {
            scope.spawn(move || {
                let result = store.find(reference).and_then(|id| deed(store, &id));
                told(reference, result)
            })
        };
        let threads: Vec<_> = references.iter().map(start).collect();
        threads.into_iter().filter_map(|thread| thread.join().ok()).filter(|done| *done).count()
    });
    Ok(u8::from(done < references.len()))
}

/// Prints what has been done, or why not. Answers whether it has.
fn told(reference: &str, result: Result<()>) -> bool {
    match result {
        Ok(()) => println!("{reference}"),
        Err(ref error) => complain(error),
    }
    result.is_ok()
}
