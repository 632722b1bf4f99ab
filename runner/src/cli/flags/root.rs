//! Options about the file system of a container.

use std::path::PathBuf;

use clap::Args;

use crate::error::{Context, Error, Result};
use crate::spec::{Root, Rootfs};

/// What the container sees as `/`.
#[derive(Debug, Args)]
#[command(next_help_heading = "File system")]
pub(in crate::cli) struct RootFlags {
    /// A directory to run in, never written to; by default the system directories of the host
    #[arg(long, value_name = "DIR")]
    rootfs: Option<PathBuf>,
}

impl RootFlags {
    /// What was asked for, as far as the host has it.
    pub(in crate::cli) fn root(&self) -> Result<Root> {
        let Some(dir) = &self.rootfs else { return Ok(Root { rootfs: Rootfs::Host }) };
        let dir = dir.canonicalize().context(|| format!("the root file system {}", dir.display()))?;
        if !dir.is_dir() {
            return Err(Error::new(format!("the root file system {} is not a directory", dir.display())));
        }
        Ok(Root { rootfs: Rootfs::Dir(dir) })
    }
}
