//! An epoll set that remembers what it watches, so that saying the same twice costs nothing.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

/// Descriptors by number, and what is awaited of each.
#[derive(Debug)]
pub(super) struct Watch {
    epoll: Epoll,
    watched: BTreeMap<u64, (RawFd, EpollFlags)>,
}

impl Watch {
    /// Watches nothing.
    pub(super) fn new() -> nix::Result<Self> {
        Ok(Self { epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?, watched: BTreeMap::new() })
    }

    /// Waits for `reading` and `writing` of `fd` from now on; for nothing, not even a hang-up, if it is neither.
    ///
    /// A regular file cannot be watched. It is always ready, and its users do not wait for it.
    pub(super) fn set(&mut self, number: u64, fd: BorrowedFd<'_>, reading: bool, writing: bool) {
        let mut flags = EpollFlags::empty();
        flags.set(EpollFlags::EPOLLIN, reading);
        flags.set(EpollFlags::EPOLLOUT, writing);
        let wanted = (!flags.is_empty()).then_some((fd.as_raw_fd(), flags));
        let known = self.watched.get(&number).copied();
        if known == wanted {
            return;
        }
        let mut event = EpollEvent::new(flags, number);
        let done = match (known, wanted) {
            (Some((old, _)), Some((new, _))) if old == new => self.epoll.modify(fd, &mut event),
            (old, new) => {
                if old.is_some() {
                    let _ = self.epoll.delete(fd);
                }
                if new.is_some() { self.epoll.add(fd, event) } else { Ok(()) }
            }
        };
        match wanted.filter(|_| done.is_ok()) {
            Some(entry) => drop(self.watched.insert(number, entry)),
            None => drop(self.watched.remove(&number)),
        }
    }

    /// Forgets a descriptor that has been closed, which the kernel has forgotten by itself.
    pub(super) fn closed(&mut self, number: u64) {
        self.watched.remove(&number);
    }

    /// The numbers of those that are ready now, some of them if there are very many.
    pub(super) fn ready(&self) -> nix::Result<Vec<u64>> {
        let mut events = [EpollEvent::empty(); 32];
        let count = match self.epoll.wait(&mut events, EpollTimeout::ZERO) {
            Err(Errno::EINTR) => 0,
            count => count?,
        };
        Ok(events.iter().take(count).map(EpollEvent::data).collect())
    }
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.0.as_fd()
    }
}
