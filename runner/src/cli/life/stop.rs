//! `xnet stop`.

use std::time::Duration;

use clap::Args;

use crate::container::control::{self, Stopped};
use crate::error::Result;
use crate::id::Name;
use crate::spec::{Dirs, Signal};
use crate::state::Store;

use super::each;

/// Which containers to end, and how.
#[derive(Debug, Args)]
pub(in crate::cli) struct Stop {
    #[command(flatten)]
    manner: Manner,
    /// Ids, names, or beginnings of ids
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
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
    pub(super) fn stop(&self, store: &Store, id: &Name) -> Result<()> {
        let timeout = self.time.map(|seconds| Duration::from_secs(seconds.into()));
        let stopped = control::stop(store, id, self.signal, timeout)?;
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
        each::at_once(dirs, &self.containers, |store, id| self.manner.stop(store, id))
    }
}
