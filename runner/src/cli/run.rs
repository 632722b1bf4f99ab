//! `xnet run`: what was typed, and the spec that it means.

use clap::Args;

use crate::container;
use crate::error::Result;
use crate::spec::{Dirs, Spec};
use crate::trace;

use super::complain;
use super::flags::{ContainerFlags, Tracing};
use super::streams::{Attaching, check_terminal, status};

/// The options of `xnet run`, named as elsewhere.
#[derive(Debug, Args)]
pub(super) struct Run {
    /// Leave the container running, and print its id
    #[arg(short, long)]
    detach: bool,
    /// Print the steps of the set-up, and do nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    attaching: Attaching,
    #[command(flatten)]
    tracing: Tracing,
    #[command(flatten)]
    container: ContainerFlags,
}

impl Run {
    pub(super) fn run(&self, dirs: &Dirs) -> Result<u8> {
        let spec = self.container.spec(dirs, self.detach)?;
        if self.dry_run {
            for op in container::explain(&spec, dirs)? {
                println!("{:16} {op}", op.name());
            }
            return Ok(0);
        }
        trace::during(self.tracing.wanted(), || self.start(&spec, dirs))
    }

    fn start(&self, spec: &Spec, dirs: &Dirs) -> Result<u8> {
        if self.detach {
            container::run_detached(spec, dirs, &mut complain)?;
            println!("{}", spec.id);
            return Ok(0);
        }
        if spec.io.tty {
            let options = self.attaching.options(&spec.io);
            check_terminal(options.stdin, true)?;
            return container::run_attached(spec, dirs, &options, &mut complain).map(status);
        }
        container::run(spec, dirs, &mut complain)
    }
}
