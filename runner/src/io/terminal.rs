//! The caller's terminal in raw mode, and back.

use std::os::fd::{AsFd, OwnedFd};

use nix::sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};

use crate::error::{Context, Result};

/// A terminal that hands every key on as it is. It is put back when this is dropped, whatever the reason.
#[derive(Debug)]
pub(crate) struct Raw {
    terminal: OwnedFd,
    before: Termios,
}

impl Raw {
    /// Puts the terminal into raw mode; none if it is no terminal.
    ///
    /// # Errors
    ///
    /// When the terminal refuses.
    pub(crate) fn new(terminal: impl AsFd) -> Result<Option<Self>> {
        let Ok(before) = tcgetattr(&terminal) else { return Ok(None) };
        let mut raw = before.clone();
        cfmakeraw(&mut raw);
        let terminal = terminal.as_fd().try_clone_to_owned().context(|| "duplicate the terminal")?;
        tcsetattr(&terminal, SetArg::TCSANOW, &raw).context(|| "put the terminal into raw mode")?;
        Ok(Some(Self { terminal, before }))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // What the container has written must be shown as it was meant.
        let _ = tcsetattr(&self.terminal, SetArg::TCSADRAIN, &self.before);
    }
}
