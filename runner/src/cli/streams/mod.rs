//! The commands about what goes into a container that runs, and what comes out of it.

pub(super) mod attach;
pub(super) mod exec;
pub(super) mod logs;
pub(super) mod top;

use std::io::stdin;
use std::os::fd::AsFd;

use clap::{ArgAction, Args};

use crate::error::{Error, Result};
use crate::io::attach::{Options, Outcome};
use crate::io::keys::DetachKeys;
use crate::spec::{Io, Stdin};
use crate::state::{Status, Store, View};
use crate::sys::tty;

/// How somebody is attached.
#[derive(Debug, Args)]
#[command(next_help_heading = "Input and output")]
pub(super) struct Attaching {
    /// The keys that detach from a terminal; by default ctrl-p,ctrl-q
    #[arg(long, value_name = "KEYS")]
    detach_keys: Option<DetachKeys>,
    /// Pass signals on to the container; --sig-proxy=false keeps them
    #[arg(
        long,
        value_name = "BOOL",
        action = ArgAction::Set,
        num_args = 0..=1,
        require_equals = true,
        default_value_t = true,
        default_missing_value = "true",
        hide_default_value = true
    )]
    sig_proxy: bool,
}

impl Attaching {
    /// Attached to everything that a container with these streams has.
    pub(super) fn options(&self, io: &Io) -> Options {
        Options {
            stdin: io.stdin != Stdin::Closed,
            stdout: true,
            stderr: true,
            tty: io.tty,
            sig_proxy: self.sig_proxy,
            keys: self.detach_keys.clone().unwrap_or_default(),
        }
    }
}

/// The container which `reference` means, if it runs.
fn running(store: &Store, reference: &str) -> Result<View> {
    let view = View::of(store, &store.find(reference)?)?;
    match view.status {
        Status::Running => Ok(view),
        Status::Paused => Err(Error::new(format!("container {} is paused: unpause it first", view.called()))),
        status => Err(Error::new(format!("container {} is not running: it is {status}", view.called()))),
    }
}

/// A terminal inside is of no use to somebody whose input is none.
pub(super) fn check_terminal(stdin_wanted: bool, tty: bool) -> Result<()> {
    if stdin_wanted && tty && tty::size(stdin().as_fd()).is_err() {
        return Err(Error::new("-t with -i needs a terminal, and standard input is none"));
    }
    Ok(())
}

/// The exit status of somebody who was attached.
pub(super) fn status(outcome: Outcome) -> u8 {
    match outcome {
        Outcome::Ended(code) => code,
        Outcome::Detached => 0,
        Outcome::Signalled(number) => u8::try_from(128 + number).unwrap_or(u8::MAX),
    }
}
