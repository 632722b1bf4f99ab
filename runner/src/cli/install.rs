//! `xnet install`.

use std::path::PathBuf;

use clap::Args;

use crate::error::{Error, Result};
use crate::suite;

/// What to install, and where to.
#[derive(Debug, Args)]
pub(super) struct Install {
    /// Print the names of the plugins, and do nothing
    #[arg(long)]
    list: bool,
    /// Only these plugins
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    only: Vec<String>,
    /// The directory, as a rule /opt/cni/bin
    #[arg(value_name = "DIR", required_unless_present = "list")]
    dir: Option<PathBuf>,
}

impl Install {
    pub(super) fn run(&self) -> Result<u8> {
        if let Some(unknown) = self.only.iter().find(|name| !suite::names().any(|n| n == name.as_str())) {
            return Err(Error::new(format!("there is no plugin called {unknown:?}; --list shows which there are")));
        }
        let names: Vec<_> =
            suite::names().filter(|n| self.only.is_empty() || self.only.iter().any(|o| o == n)).collect();
        match &self.dir {
            Some(dir) if !self.list => {
                for path in suite::install(dir, &names)? {
                    println!("{}", path.display());
                }
            }
            _ => names.iter().for_each(|name| println!("{name}")),
        }
        Ok(0)
    }
}
