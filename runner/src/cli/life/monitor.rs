//! `xnet monitor`, which xnet calls itself.

use clap::Args;

use crate::error::Result;
use crate::id::Name;
use crate::monitor;
use crate::spec::Dirs;

/// The container that has lost its monitor.
#[derive(Debug, Args)]
pub(in crate::cli) struct Monitor {
    /// Its id
    #[arg(value_name = "ID")]
    id: Name,
}

impl Monitor {
    pub(in crate::cli) fn run(&self, dirs: &Dirs) -> Result<u8> {
        monitor::adopt::run(&self.id, dirs).map(|()| 0)
    }
}
