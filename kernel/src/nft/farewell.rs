//! Leaving without waiting.
//!
//! Memory of deleted objects may be freed only when no processor can still be reading it, one RCU grace period after
//! the deletion. The kernel does that in a worker, but closing any netfilter socket of the namespace waits for the
//! worker (`nft_rcv_nl_event`), whoever made the deletion: 15 ms, where the deletion took 0.1 ms. A plugin's caller
//! waits for the plugin's exit, and exiting closes the socket.
//!
//! So the socket is given away to the one process that does not mind: it is put as a passed descriptor into the queue
//! of a unix socket, together with that unix socket itself. When our own descriptors are closed, the two hold each
//! other and nobody else does. The kernel collects such cycles in a worker of its own since Linux 6.9
//! (`net/unix/garbage.c`), which then does the closing and the waiting. Older kernels collect in the `close` that
//! starts the collection, which waits as long as a plain `close` would; nothing is lost.

use std::io::IoSlice;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use nix::sys::socket::{AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, sendmsg, socketpair};

/// Puts `socket` into a cycle. Closing first `socket` and then the returned end starts the collection.
///
/// Without a unix socket to be had there is no cycle, and closing waits.
pub(super) fn give_away(socket: RawFd) -> Option<OwnedFd> {
    let pair = socketpair(AddressFamily::Unix, SockType::Datagram, None, SockFlag::SOCK_CLOEXEC);
    let (near, far) = pair.ok()?;
    let passed = [far.as_raw_fd(), socket];
    let message = [ControlMessage::ScmRights(&passed)];
    let bytes = [IoSlice::new(&[0])];
    sendmsg::<()>(near.as_raw_fd(), &bytes, &message, MsgFlags::empty(), None).ok()?;
    Some(near)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::thread;
    use std::time::{Duration, Instant};

    use nix::sched::{CloneFlags, unshare};

    use super::super::Nft;

    /// Bound netlink sockets of the thread's namespace that speak netfilter.
    fn open_sockets() -> usize {
        let table = fs::read_to_string("/proc/thread-self/net/netlink").unwrap();
        table.lines().filter(|line| line.split_whitespace().nth(1) == Some("12")).count()
    }

    #[test]
    fn given_away_sockets_are_closed_soon() {
        let left = thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            let before = open_sockets();
            for _ in 0..100 {
                Nft::open().unwrap().generation().unwrap();
            }
            let patience = Instant::now() + Duration::from_secs(10);
            while open_sockets() > before && Instant::now() < patience {
                thread::yield_now();
            }
            open_sockets() - before
        });
        assert_eq!(left.join().unwrap(), 0);
    }
}
