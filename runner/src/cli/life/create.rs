//! `xnet create`.

use clap::Args;

use crate::cli::complain;
use crate::cli::flags::ContainerFlags;
use crate::container;
use crate::error::Result;
use crate::spec::Dirs;

/// The options of `xnet run`, but for those about the run.
#[derive(Debug, Args)]
pub(in crate::cli) struct Create {
    #[command(flatten)]
    container: ContainerFlags,
}

impl Create {
    pub(in crate::cli) fn run(&self, dirs: &Dirs) -> Result<u8> {
        let spec = self.container.spec(dirs, false)?;
        container::create(&spec, dirs, &mut complain)?;
        println!("{}", spec.id);
        Ok(0)
    }
}
