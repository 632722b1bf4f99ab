//! `xnet top`.

use clap::Args;
use serde_json::json;

use crate::cli::complain;
use crate::container;
use crate::error::{Error, Result};
use crate::format::table::Format;
use crate::spec::Dirs;
use crate::state::{Store, View};
use crate::top::{self, NAMESPACES, Row};

/// Which container, and what of its processes.
#[derive(Debug, Args)]
pub(in crate::cli) struct Top {
    /// Show the namespaces of each process instead
    #[arg(long)]
    ns: bool,
    /// json, table TEMPLATE, or a template, with the fields UID, PID, PPID, C, STIME, TTY, TIME, CMD and the namespaces
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// An id, a name, or the beginning of an id
    #[arg(value_name = "CONTAINER")]
    container: String,
}

/// The columns that everybody knows from `ps -f`.
const USUAL: [(&str, &str); 8] = [
    ("UID", "UID"),
    ("PID", "PID"),
    ("PPID", "PPID"),
    ("C", "C"),
    ("STIME", "STIME"),
    ("TTY", "TTY"),
    ("TIME", "TIME"),
    ("CMD", "CMD"),
];

impl Top {
    pub(in crate::cli) fn run(&self, dirs: &Dirs) -> Result<u8> {
        let store: Store = container::open(dirs, &mut complain)?;
        let view = View::of(&store, &store.find(&self.container)?)?;
        if !view.status.is_alive() {
            return Err(Error::new(format!("container {} is not running: it is {}", view.called(), view.status)));
        }
        let namespaces: Vec<_> = NAMESPACES.iter().map(|kind| (*kind, *kind)).collect();
        let known = [&USUAL[..], &namespaces].concat();
        let usual = if self.ns { [&[USUAL[1]][..], &namespaces, &[USUAL[7]]].concat() } else { USUAL.to_vec() };
        let format = Format::new(self.format.as_deref(), &usual, &known)?;
        let rows: Vec<_> =
            top::rows(&view.cgroups, view.run.as_ref().map_or(0, |run| run.pid)).iter().map(row).collect();
        print!("{}", format.render(&rows)?);
        Ok(0)
    }
}

fn row(row: &Row) -> serde_json::Value {
    let mut object = json!({
        "UID": row.user, "PID": row.pid.to_string(), "PPID": row.ppid.to_string(), "C": row.cpu.to_string(),
        "STIME": row.start, "TTY": row.tty, "TIME": row.time, "CMD": row.command,
    });
    for (kind, inode) in NAMESPACES.iter().zip(&row.namespaces) {
        object[*kind] = inode.as_str().into();
    }
    object
}
