//! One at a time, where looking and changing must not be pulled apart.
//!
//! A transaction of iptables is made as a whole, but nothing in it can say "only if this rule is not there yet". Two
//! processes that miss the same shared rule would both add it. So whoever has to change what several attachments share
//! takes this lock, looks again, and changes. It is a file of its own: the lock of legacy iptables is taken by the
//! programs that run meanwhile.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use super::{Error, LOCK_WAIT};

/// Beside the lock of legacy iptables, and like it for root alone: who may open a file may also lock it.
const FILE: &str = "/run/xnet-iptables.lock";
/// How long to wait between two attempts.
const PAUSE: Duration = Duration::from_millis(3);

/// The right to change what attachments share, until it is dropped.
#[derive(Debug)]
pub struct Lock {
    /// None where no file can be made.
    _held: Option<Flock<File>>,
}

impl Lock {
    /// Waits for the lock, at most [`LOCK_WAIT`] seconds.
    ///
    /// Where `/run` can't be written to there is none to wait for: what is lost then is only that rules are not added
    /// twice by processes that start at the same time.
    ///
    /// # Errors
    ///
    /// When another process keeps it.
    pub fn take() -> Result<Self, Error> {
        let options = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).to_owned();
        let Ok(mut file) = options.open(FILE) else { return Ok(Self { _held: None }) };
        let patience = Instant::now() + Duration::from_secs(LOCK_WAIT.into());
        loop {
            file = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(held) => return Ok(Self { _held: Some(held) }),
                Err((file, Errno::EWOULDBLOCK | Errno::EINTR)) if Instant::now() < patience => file,
                Err((_, errno)) => return Err(Error::Locked(PathBuf::from(FILE), io::Error::from(errno))),
            };
            thread::sleep(PAUSE);
        }
    }
}
