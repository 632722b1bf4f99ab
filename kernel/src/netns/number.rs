//! The number by which one namespace knows another (`ip netns list-id`): what a link says about where its other end is.

use std::os::fd::{AsRawFd, BorrowedFd};

use crate::netlink::attribute::{Attributes, attribute, number};
use crate::netlink::{Frame, Request};

const RTM_NEWNSID: u16 = 88;
const RTM_GETNSID: u16 = 90;
/// Attributes of `include/uapi/linux/net_namespace.h`.
const NETNSA_NSID: u16 = 1;
const NETNSA_FD: u16 = 3;
/// `struct rtgenmsg`, padded.
const HEADER: usize = 4;

/// Asks by which number the namespace of the socket knows `netns`.
pub(crate) fn get(netns: BorrowedFd<'_>) -> Request {
    let mut payload = vec![0; HEADER];
    payload.extend(attribute(NETNSA_FD, &netns.as_raw_fd().to_ne_bytes()));
    Request { kind: RTM_GETNSID, flags: 0, payload }
}

/// The number; none if it has none, because no link leads there.
pub(crate) fn from_frames(frames: &[Frame]) -> Option<u32> {
    let answer = frames.iter().find(|frame| frame.message_type() == RTM_NEWNSID)?;
    let (_, value) = Attributes(answer.payload().get(HEADER..)?).find(|(kind, _)| *kind == NETNSA_NSID)?;
    // `NETNSA_NSID_NOT_ASSIGNED` is -1.
    Some(number(value)).filter(|number| *number != u32::MAX)
}
