//! `xnet start`.

use clap::Args;

use crate::cli::complain;
use crate::cli::flags::Tracing;
use crate::cli::streams::{Attaching, check_terminal, status};
use crate::container::{self, control};
use crate::error::{Error, Result};
use crate::net::remove;
use crate::spec::Dirs;
use crate::trace;

use super::each::{self, Which};

/// Which containers to start, and whether to stay.
#[derive(Debug, Args)]
pub(in crate::cli) struct Start {
    /// Stay until the container has ended, and pass its output and status on
    #[arg(short, long)]
    attach: bool,
    #[command(flatten)]
    attaching: Attaching,
    #[command(flatten)]
    tracing: Tracing,
    #[command(flatten)]
    which: Which,
}

impl Start {
    pub(in crate::cli) fn run(&self, dirs: &Dirs) -> Result<u8> {
        let store = container::open(dirs, &mut complain)?;
        if self.which.is_all() {
            // As after a reboot, when leases are still there of containers that are not.
            remove::collect_all(&store, dirs).iter().for_each(complain);
        }
        match self.which.references(&store)?.as_slice() {
            [one] if self.attach => {
                let id = store.find(one)?;
                let io = store.spec(&id)?.io;
                let options = self.attaching.options(&io);
                check_terminal(options.stdin, io.tty)?;
                let start = || control::start_attached(&store, dirs, &id, &options, &mut complain);
                trace::during(self.tracing.wanted(), start).map(status)
            }
            _ if self.attach => Err(Error::new("only one container can be attached to")),
            all => each::one_by_one(dirs, all, |store, id| {
                trace::during(self.tracing.wanted(), || control::start(store, dirs, id))
            }),
        }
    }
}
