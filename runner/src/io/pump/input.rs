//! What was typed, on its way into the container.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::unistd::write;

/// More than this is not taken from those who type, until the container has read some.
const HIGH: usize = 64 * 1024;

/// The container's standard input, or its terminal.
#[derive(Debug)]
pub(super) struct Input {
    fd: Option<OwnedFd>,
    queue: Vec<u8>,
    /// The end comes after what is in the queue.
    ends: bool,
}

impl Input {
    /// Writes to `fd`, which does not block; nowhere without one.
    pub(super) fn new(fd: Option<OwnedFd>) -> Self {
        Self { fd, queue: Vec::new(), ends: false }
    }

    /// The descriptor to be watched; none when nothing goes there any more.
    pub(super) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.fd.as_ref().map(AsFd::as_fd)
    }

    /// Whether something waits for room.
    pub(super) fn has_more(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Takes what was typed.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        if self.fd.is_some() && !self.ends {
            self.queue.extend_from_slice(bytes);
            self.flush();
        }
    }

    /// Lets it end.
    pub(super) fn end(&mut self) {
        self.ends = true;
        self.flush();
    }

    /// Whether no more should be taken for the time being.
    pub(super) fn is_full(&self) -> bool {
        self.queue.len() >= HIGH
    }

    /// Writes what the container takes.
    pub(super) fn flush(&mut self) {
        while let (Some(fd), false) = (&self.fd, self.queue.is_empty()) {
            match write(fd, &self.queue) {
                Ok(count) => drop(self.queue.drain(..count)),
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return,
                // Nobody reads any more.
                Err(_) => {
                    self.queue.clear();
                    self.fd = None;
                }
            }
        }
        if self.ends {
            self.fd = None;
        }
    }
}
