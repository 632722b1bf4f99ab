//! What a service manager such as systemd gives to the program that it starts, and what a container gets of it.
//!
//! * Sockets that it has opened (`LISTEN_FDS`, see sd_listen_fds(3)): descriptors from 3 on. They stay where they are, no other
//!   program that is executed on the way gets them, and the container's command has them under the same numbers.
//! * A socket to be told that the service is ready (`NOTIFY_SOCKET`, see sd_notify(3)): the container gets one of its own, and the
//!   process that attends it passes on what comes ([`notify`]).
//!
//! Both are the container's for as long as that process attends it, over restarts by its policy. Another monitor than the first
//! has only the address for notifications: descriptors die with their process.

pub(crate) mod notify;

use std::env;
use std::ops::Range;
use std::os::fd::RawFd;

use crate::error::{Context, Result};
use crate::sys;

/// What this process was given.
#[derive(Debug, Clone, Default)]
pub(crate) struct Service {
    /// The sockets.
    pub(crate) sockets: Sockets,
    /// Where the manager listens: a path, or `@` and an abstract name.
    pub(crate) notify: Option<String>,
}

/// Descriptors in a row, behind standard error.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sockets {
    count: RawFd,
    names: Option<String>,
}

/// `SD_LISTEN_FDS_START`.
const FIRST: RawFd = 3;
const VARIABLES: [&str; 3] = ["LISTEN_FDS=", "LISTEN_PID=", "LISTEN_FDNAMES="];

impl Service {
    /// What the environment says. To be called in the very process that was started: what was meant for another one, whose
    /// environment was merely inherited, has another number in `LISTEN_PID`.
    pub(crate) fn given() -> Self {
        let notify = env::var("NOTIFY_SOCKET").ok().filter(|address| address.starts_with(['/', '@']));
        Self { sockets: Sockets::given(), notify }
    }
}

impl Sockets {
    fn given() -> Self {
        let number = |key: &str| env::var(key).ok()?.parse::<RawFd>().ok();
        let is_meant = number("LISTEN_PID").is_some_and(|pid| pid.cast_unsigned() == std::process::id());
        let count = number("LISTEN_FDS").filter(|count| is_meant && *count > 0).unwrap_or_default();
        let sockets = Self { count, names: env::var("LISTEN_FDNAMES").ok() };
        // One that is not open was never passed, and its number may be anything's by and by.
        let all_open = sockets.numbers().all(|number| sys::set_kept_on_exec(number, false).is_ok());
        if all_open { sockets } else { Self::default() }
    }

    /// Their numbers.
    pub(crate) fn numbers(&self) -> Range<RawFd> {
        FIRST..self.end()
    }

    /// The first number behind them.
    pub(crate) fn end(&self) -> RawFd {
        FIRST.saturating_add(self.count)
    }

    /// Lets the program that this process executes next have them, and tells it so in `env`.
    ///
    /// # Errors
    /// One has been closed.
    pub(crate) fn hand_over(&self, env: &mut Vec<String>) -> Result<()> {
        if self.count == 0 {
            return Ok(());
        }
        for number in self.numbers() {
            sys::set_kept_on_exec(number, true).context(|| format!("hand over the socket {number}"))?;
        }
        env.retain(|entry| !VARIABLES.iter().any(|variable| entry.starts_with(variable)));
        env.extend([format!("LISTEN_FDS={}", self.count), format!("LISTEN_PID={}", std::process::id())]);
        env.extend(self.names.iter().map(|names| format!("LISTEN_FDNAMES={names}")));
        Ok(())
    }
}
