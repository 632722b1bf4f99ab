//! `xnet doctor`.

use clap::Args;

use crate::doctor::{self, Destination};
use crate::error::{Error, Result};
use crate::format::table::{Column, Format};
use crate::spec::Dirs;
use crate::state::Store;

const COLUMNS: [Column; 4] = [("Verdict", "VERDICT"), ("Check", "CHECK"), ("Seen", "SEEN"), ("Fix", "FIX")];

/// What to look at.
#[derive(Debug, Args)]
pub(super) struct Doctor {
    /// A container that runs; without it the host is looked at
    container: Option<String>,
    /// Try to connect to this from inside the container
    #[arg(long, value_name = "HOST:PORT")]
    to: Option<Destination>,
    /// A template for each line, `table TEMPLATE`, or json
    #[arg(long, value_name = "TEMPLATE")]
    format: Option<String>,
}

impl Doctor {
    /// Prints what was seen. Answers 1 if something does not work.
    pub(super) fn run(&self, dirs: &Dirs) -> Result<u8> {
        let format = self.format.as_deref().map(|text| Format::new(Some(text), &COLUMNS, &COLUMNS)).transpose()?;
        let store = Store::look(dirs);
        let report = match (&self.container, &self.to) {
            (Some(container), to) => doctor::container(&store, dirs, container, to.as_ref())?,
            (None, None) => doctor::host(&store, dirs)?,
            (None, Some(_)) => return Err(Error::new("--to is about a container, which is missing")),
        };
        match format {
            Some(format) => print!("{}", format.render(&report.rows())?),
            None => print!("{}", report.text()),
        }
        Ok(u8::from(report.bad_ones() > 0))
    }
}
