//! Waiting for the kernel's own word instead of asking again and again.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::Instant;

use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket as RawSocket, SocketAddr};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// `RTNLGRP_LINK`: links come, go and change.
pub const LINKS: u32 = 1;
/// `RTNLGRP_IPV6_IFADDR`: IPv6 addresses come, go and change, the end of duplicate address detection included.
pub const IPV6_ADDRESSES: u32 = 9;

/// `RTNLGRP_IPV6_ROUTE`: IPv6 routes come and go, those to own addresses included.
pub const IPV6_ROUTES: u32 = 11;

/// A subscription to the notifications of the network namespace in which it was opened.
#[derive(Debug)]
pub struct Monitor {
    socket: RawSocket,
}

impl Monitor {
    /// Subscribes to a group of rtnetlink. What happens from now on is not missed.
    ///
    /// # Errors
    ///
    /// Whatever `socket(2)`, `bind(2)` or `setsockopt(2)` answer.
    pub fn open(group: u32) -> io::Result<Self> {
        let mut socket = RawSocket::new(NETLINK_ROUTE)?;
        socket.bind(&SocketAddr::new(0, 0))?;
        socket.add_membership(group)?;
        socket.set_non_blocking(true)?;
        Ok(Self { socket })
    }

    /// Waits until something happened, or `deadline`; says whether something did.
    ///
    /// # Errors
    ///
    /// Whatever `poll(2)` answers.
    pub fn wait(&self, deadline: Instant) -> io::Result<bool> {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(false); // also while other things go on happening
        }
        // Round up, so as not to spin through the last millisecond.
        let timeout = PollTimeout::try_from(left.as_millis().saturating_add(1)).unwrap_or(PollTimeout::MAX);
        let happened = poll(&mut [PollFd::new(self.as_fd(), PollFlags::POLLIN)], timeout)? > 0;
        if happened {
            self.drain();
        }
        Ok(happened)
    }

    /// Forgets what has been announced; an overrun (`ENOBUFS`) is an announcement too.
    fn drain(&self) {
        let mut buffer = [0; 8192];
        while self.socket.recv(&mut &mut buffer[..], 0).is_ok() {}
    }
}

impl AsFd for Monitor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the socket is open as long as `self`, from which the result borrows.
        #[expect(unsafe_code, reason = "netlink-sys lends its descriptor as a number only")]
        unsafe {
            BorrowedFd::borrow_raw(self.socket.as_raw_fd())
        }
    }
}
