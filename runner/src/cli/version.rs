//! `xnet version`.

use clap::Args;

use crate::error::Result;

/// Nothing to choose.
#[derive(Debug, Args)]
pub(super) struct Version {}

impl Version {
    #[expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "the same shape as every subcommand")]
    pub(super) fn run(&self) -> Result<u8> {
        println!("xnet {}", env!("CARGO_PKG_VERSION"));
        Ok(0)
    }
}
