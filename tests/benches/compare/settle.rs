//! Waiting for the kernel to have torn down what is gone.
//!
//! A network namespace dies after its last reference, in a worker of the kernel, with several RCU grace periods under
//! locks that every plugin needs. Nothing tells when that is over. But there is one worker only, which takes all that is
//! dead at once and then all that has died meanwhile (`cleanup_net` in the kernel's `net/core/net_namespace.c`), and one
//! thing can be seen: a veth goes when the namespace of its peer is in the worker's hands. So a first canary shows that
//! everything older is in its hands, and a second one, let go after that, that it has left them.

use std::os::fd::{AsRawFd, OwnedFd};

use harness::{Netns, Node, sh};
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, setsockopt, socket, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};

/// From the kernel's `linux/rtnetlink.h`.
const RTMGRP_LINK: u32 = 1;
const RTM_DELLINK: u16 = 17;

/// Seconds that the worker may take.
const PATIENCE: i64 = 30;

/// Waits until every namespace that had died before the call is gone. The node's own links must not go meanwhile.
pub(crate) fn settle(node: &Node) {
    for name in ["canary-1", "canary-2"] {
        sing(&node.netns(name));
    }
}

fn sing(canary: &Netns) {
    sh(&format!("ip link add canary type veth peer name canary netns {}", canary.name()));
    let events = subscribe().expect("subscribe to link events");
    canary.vanish();
    while !is_deletion(&events) {}
}

fn subscribe() -> Result<OwnedFd, Errno> {
    let protocol = SockProtocol::NetlinkRoute;
    let events = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol)?;
    setsockopt(&events, sockopt::ReceiveTimeout, &TimeVal::seconds(PATIENCE))?;
    bind(events.as_raw_fd(), &NetlinkAddr::new(0, RTMGRP_LINK))?;
    Ok(events)
}

/// The type of a message is at its fifth byte, after the length.
fn is_deletion(events: &OwnedFd) -> bool {
    let mut message = [0; 8192];
    recv(events.as_raw_fd(), &mut message, MsgFlags::empty()).expect("a namespace dies within half a minute");
    u16::from_ne_bytes([message[4], message[5]]) == RTM_DELLINK
}
