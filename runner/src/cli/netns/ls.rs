//! `xnet netns ls`.

use clap::Args;
use serde_json::{Value, json};

use crate::error::Result;
use crate::format::table::{Column, Format};
use crate::netns::scan::{Found, Scan, Stale};
use crate::spec::Dirs;
use crate::state::Store;

const COLUMNS: [Column; 7] = [
    ("Inode", "NETNS"),
    ("Owner", "OWNER"),
    ("Pid", "PID"),
    ("Processes", "PROCS"),
    ("Names", "NAMES"),
    ("Links", "LINKS"),
    ("Stale", "STALE"),
];

/// How to list.
#[derive(Debug, Args)]
pub(super) struct Ls {
    /// A template for each line, `table TEMPLATE`, or json
    #[arg(long, value_name = "TEMPLATE")]
    format: Option<String>,
    /// Only names that lead to no namespace
    #[arg(long)]
    stale: bool,
}

impl Ls {
    pub(super) fn run(&self, store: &Store, dirs: &Dirs) -> Result<u8> {
        let format = Format::new(self.format.as_deref(), &COLUMNS, &COLUMNS)?;
        let scan = Scan::take(store, dirs)?;
        let living = scan.namespaces.values().filter(|_| !self.stale).map(living);
        let rows: Vec<Value> = living.chain(scan.stale.iter().map(stale)).collect();
        print!("{}", format.render(&rows)?);
        Ok(0)
    }
}

fn living(found: &Found) -> Value {
    let owner = match found.containers.as_slice() {
        [] if found.is_own => "host".to_owned(),
        [] => found.command.clone(),
        containers => containers.join(","),
    };
    let names: Vec<String> = found.pins.iter().map(|path| path.display().to_string()).collect();
    let links: Vec<String> = found
        .links
        .iter()
        .map(
            |(name, addresses)| {
                if addresses.is_empty() { name.clone() } else { format!("{name}({})", addresses.join(",")) }
            },
        )
        .collect();
    json!({
        "Inode": found.inode,
        "Owner": owner,
        "Pid": found.pids.first().map_or_else(String::new, ToString::to_string),
        "Processes": found.pids.len(),
        "Names": names.join(","),
        "Links": links.join(" "),
        "Stale": "",
    })
}

fn stale(stale: &Stale) -> Value {
    let owner = if stale.is_ours { "xnet" } else { "" };
    json!({
        "Inode": "", "Owner": owner, "Pid": "", "Processes": 0, "Names": stale.path.display().to_string(), "Links": "",
        "Stale": stale.why,
    })
}
