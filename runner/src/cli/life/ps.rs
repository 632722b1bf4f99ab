//! `xnet ps`.

use clap::Args;
use serde_json::Value as Json;

use crate::cli::complain;
use crate::container;
use crate::error::Result;
use crate::format::table::{Column, Format};
use crate::spec::Dirs;
use crate::state::View;
use crate::storage::Place;
use crate::storage::size::{self, Sizes};

use super::filter::Filters;
use super::row;

/// Which containers to list, and how.
#[derive(Debug, Args)]
pub(in crate::cli) struct Ps {
    /// Also those that do not run
    #[arg(short, long)]
    all: bool,
    /// Ids only
    #[arg(short, long)]
    quiet: bool,
    /// The last so many that were made, whether they run or not
    #[arg(short = 'n', long, value_name = "NUMBER")]
    last: Option<usize>,
    /// The one that was made last, whether it runs or not
    #[arg(short, long)]
    latest: bool,
    /// Only those with id=, name=, label=, status=, exited=, network=, before=, since=, restart-policy= or
    /// should-start-on-boot= this
    #[arg(short, long = "filter", value_name = "KEY=VALUE")]
    filters: Vec<String>,
    /// Whole ids and commands
    #[arg(long)]
    no_trunc: bool,
    /// What each has written, and takes in all
    #[arg(short, long)]
    size: bool,
    /// A template, `table TEMPLATE`, or `json`
    #[arg(long, value_name = "TEMPLATE")]
    format: Option<String>,
}

const USUAL: [Column; 7] = [
    ("ID", "CONTAINER ID"),
    ("Image", "IMAGE"),
    ("Command", "COMMAND"),
    ("RunningFor", "CREATED"),
    ("Status", "STATUS"),
    ("Ports", "PORTS"),
    ("Names", "NAMES"),
];

const MORE: [Column; 6] = [
    ("CreatedAt", "CREATED AT"),
    ("State", "STATE"),
    ("Labels", "LABELS"),
    ("Networks", "NETWORKS"),
    ("Pid", "PID"),
    ("RestartCount", "RESTARTS"),
];

const SIZE: Column = ("Size", "SIZE");

impl Ps {
    pub(in crate::cli) fn run(&self, dirs: &Dirs) -> Result<u8> {
        let store = container::open(dirs, &mut complain)?;
        let filters = Filters::parse(&self.filters, &store)?;
        let format = if self.quiet && self.format.is_none() { Some("{{.ID}}") } else { self.format.as_deref() };
        let size: &[Column] = if self.size { &[SIZE] } else { &[] };
        let usual = [&USUAL[..], size].concat();
        let format = Format::new(format, &usual, &[&USUAL[..], &MORE, &[SIZE]].concat())?;
        let last = if self.latest { Some(1) } else { self.last };
        let every = self.all || last.is_some() || filters.are_about_status();
        let shown = View::all(&store)?.into_iter().take(last.unwrap_or(usize::MAX));
        let shown = shown.filter(|view| every || view.status.is_alive()).filter(|view| filters.want(view, &store));
        let row = |view: View| -> Result<Json> {
            let mut row = row::of(&view, &store, self.no_trunc);
            if self.size {
                row["Size"] = sizes(&view, dirs)?.to_string().into();
            }
            Ok(row)
        };
        let rows = shown.map(row).collect::<Result<Vec<_>>>()?;
        print!("{}", format.render(&rows)?);
        Ok(0)
    }
}

fn sizes(view: &View, dirs: &Dirs) -> Result<Sizes> {
    size::of(&view.spec.root, &Place::of(&dirs.data, view.id()))
}
