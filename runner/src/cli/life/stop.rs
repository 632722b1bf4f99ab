//! `xnet stop`.

use std::time::Duration;

use clap::Args;

use crate::cli::complain;
use crate::container;
use crate::container::control::{self, Stopped};
use crate::error::Result;
use crate::id::Name;
use crate::spec::{Dirs, Signal};
use crate::state::{Store, Wish};

use super::each::{self, Which};

/// Which containers to end, and how.
#[derive(Debug, Args)]
pub(in crate::cli) struct Stop {
    #[command(flatten)]
    manner: Manner,
    /// The machine goes down: containers whose policy is unless-stopped start again when it is up
    #[arg(long)]
    shutdown: bool,
    #[command(flatten)]
    which: Which,
}

/// How to end a container.
#[derive(Debug, Args)]
pub(super) struct Manner {
    /// How many seconds to wait before the container is killed; by default its --stop-timeout
    #[arg(short, long, value_name = "SECONDS")]
    time: Option<u32>,
    /// The signal to send; by default the container's --stop-signal
    #[arg(short, long, value_name = "SIGNAL")]
    signal: Option<Signal>,
}

impl Manner {
    /// Ends one container.
    pub(super) fn stop(&self, store: &Store, id: &Name, wish: Wish) -> Result<()> {
        let timeout = self.time.map(|seconds| Duration::from_secs(seconds.into()));
        let stopped = control::stop(store, id, self.signal, timeout, wish)?;
        if stopped == (Stopped::Killed { ignored: true }) && timeout != Some(Duration::ZERO) {
            eprintln!(
                "xnet: container {}: its first process has no handler for the stop signal, so the kernel did not deliver it; \
                 --init puts one in front that passes signals on",
                id.short()
            );
        }
        Ok(())
    }
}

impl Stop {
    pub(in crate::cli) fn run(&self, dirs: &Dirs) -> Result<u8> {
        let wish = if self.shutdown { Wish::Shutdown } else { Wish::Person };
        let which = self.which.references(&container::open(dirs, &mut complain)?)?;
        each::at_once(dirs, &which, |store, id| self.manner.stop(store, id, wish))
    }
}
