//! `xnet wait`.

use clap::Args;

use crate::cli::complain;
use crate::container::{self, control};
use crate::error::{Error, Result};
use crate::spec::Dirs;

/// Which containers to wait for.
#[derive(Debug, Args)]
pub(in crate::cli) struct Wait {
    /// Ids, names, or beginnings of ids
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

impl Wait {
    /// Prints the exit status of each, in the order given.
    pub(in crate::cli) fn run(&self, dirs: &Dirs) -> Result<u8> {
        let store = container::open(dirs, &mut complain)?;
        let mut failed = false;
        for reference in &self.containers {
            let unknown = || Error::new(format!("the exit status of the container {reference} is unknown"));
            match control::wait(&store, reference).and_then(|code| code.ok_or_else(unknown)) {
                Ok(code) => println!("{code}"),
                Err(error) => {
                    complain(&error);
                    failed = true;
                }
            }
        }
        Ok(u8::from(failed))
    }
}
