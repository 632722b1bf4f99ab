//! Transactions over a netlink socket.
//!
//! A transaction is one datagram: the begin message, a message a change, the end message
//! (`Documentation/userspace-api/netlink/specs.rst` calls it a batch; `nfnetlink_rcv_batch` reads it). The kernel tries
//! every change even after a refused one, and makes them only if none was refused. By the time `sendmsg` returns it has
//! queued its answers: one for each refused message, and one for each that asked for it. Only the last change asks,
//! because kernels before 6.10 never acknowledge the begin and end messages; so the answers are read until none is left,
//! and success is that single acknowledgement without a refusal.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use netlink_packet_core::{DefaultNla, Emitable, NLM_F_ACK, NLM_F_REQUEST, NetlinkSerializable};
use netlink_packet_netfilter::none::ControlMessage;
use netlink_packet_netfilter::{NetfilterHeader, NetfilterMessage, NetfilterProtoFamily};
use netlink_sys::protocols::NETLINK_NETFILTER;
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv, send, setsockopt, sockopt};

use crate::netlink::frame::{self, Frames, Kind};
use crate::netlink::{self, Refusal, Request};

/// `NFNL_SUBSYS_NFTABLES`, which the begin and end messages carry as their resource.
const NFTABLES: u16 = 10;
/// `NFNL_MSG_BATCH_BEGIN`, for the form with an attribute.
const BATCH_BEGIN: u8 = 16;
/// `NFNL_BATCH_GENID`: make the changes only if the ruleset is still of this generation.
const GENERATION: u16 = 1;
/// Sequence numbers of transactions start here, apart from those of questions.
const FIRST_SEQUENCE: u32 = 1 << 31;
/// What a socket holds unasked (`net.core.wmem_default`); a larger datagram needs a larger buffer.
const DEFAULT_SEND_BUFFER: usize = 64 * 1024;
/// An answer to a transaction is a header, an error number, the header of the request and a sentence.
const ANSWER: usize = 16 * 1024;

/// The answer to a transaction that was not made.
pub(super) enum Failure {
    /// The kernel refused: a change by its index, or the whole.
    Refused(Option<usize>, Refusal),
    /// The socket failed.
    Socket(io::Error),
}

/// How a transaction ends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// The changes are made.
    Commit,
    /// They are made if the ruleset is still of this generation.
    CommitAt(u32),
    /// They are tried and taken back: the transaction has no end message, which is how `nft --check` does it.
    Abort,
}

pub(super) fn open() -> io::Result<netlink::Socket> {
    netlink::Socket::open(NETLINK_NETFILTER)
}

/// Sends `changes` as one transaction and reads all answers.
pub(super) fn transact(
    socket: &netlink::Socket,
    changes: Vec<(u16, NetfilterMessage)>,
    ending: Ending,
) -> Result<(), Failure> {
    let count = changes.len();
    let datagram = datagram(changes, ending);
    make_room(socket, datagram.len());
    send(socket.as_raw_fd(), &datagram, MsgFlags::empty()).map_err(|errno| Failure::Socket(errno.into()))?;
    judge(answers(socket), count)
}

/// The begin message has the first sequence number, each change the next.
fn datagram(changes: Vec<(u16, NetfilterMessage)>, ending: Ending) -> Vec<u8> {
    let begin = match ending {
        Ending::Commit | Ending::Abort => ControlMessage::BatchBegin,
        Ending::CommitAt(id) => {
            let attributes = vec![DefaultNla::new(GENERATION, id.to_be_bytes().to_vec())];
            ControlMessage::Other { message_type: BATCH_BEGIN, attributes }
        }
    };
    let last = changes.len();
    let mut bytes = Vec::new();
    let mut sequence = FIRST_SEQUENCE;
    push(&mut bytes, &control(begin), 0, sequence);
    for (at, (flags, message)) in changes.into_iter().enumerate() {
        sequence += 1;
        let acknowledge = if at + 1 == last { NLM_F_ACK } else { 0 };
        push(&mut bytes, &message, flags | acknowledge, sequence);
    }
    if ending != Ending::Abort {
        push(&mut bytes, &control(ControlMessage::BatchEnd), 0, sequence + 1);
    }
    bytes
}

fn control(message: ControlMessage) -> NetfilterMessage {
    NetfilterMessage::new(NetfilterHeader::new(NetfilterProtoFamily::Unspec, 0, NFTABLES), message)
}

fn push(bytes: &mut Vec<u8>, message: &NetfilterMessage, flags: u16, sequence: u32) {
    let mut payload = vec![0; Emitable::buffer_len(message)];
    message.emit(&mut payload);
    let request = Request { kind: message.message_type(), flags, payload };
    frame::push(bytes, &request, NLM_F_REQUEST, sequence);
}

/// A transaction has to fit the send buffer. Whoever may change rules may usually also exceed `net.core.wmem_max`; if
/// not, `sendmsg` says so.
fn make_room(socket: &netlink::Socket, size: usize) {
    if size > DEFAULT_SEND_BUFFER {
        let wanted = 2 * size;
        // SAFETY: the descriptor is open as long as `socket` is borrowed.
        #[expect(unsafe_code, reason = "the socket lends its descriptor as a number only")]
        let socket = unsafe { BorrowedFd::borrow_raw(socket.as_raw_fd()) };
        if setsockopt(&socket, sockopt::SndBufForce, &wanted).is_err() {
            let _ = setsockopt(&socket, sockopt::SndBuf, &wanted);
        }
    }
}

/// One answer: the sequence number that it is for, and a refusal or none.
type Answer = (u32, Option<Refusal>);

/// Reads what the kernel has queued. The queue may overflow when very many changes are refused; the first ones count.
fn answers(socket: &netlink::Socket) -> Result<Vec<Answer>, io::Error> {
    let mut found = Vec::new();
    let mut buffer = vec![0; ANSWER];
    loop {
        match recv(socket.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT) {
            Ok(length) => found.extend(parse(&buffer[..length])?),
            Err(Errno::EAGAIN) => return Ok(found),
            Err(Errno::EINTR | Errno::ENOBUFS) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

fn parse(datagram: &[u8]) -> Result<Vec<Answer>, io::Error> {
    let mut found = Vec::new();
    for frame in Frames::new(datagram.to_vec()) {
        let frame = frame.map_err(io::Error::other)?;
        match frame.kind().map_err(io::Error::other)? {
            Kind::Acknowledged => found.push((frame.sequence(), None)),
            Kind::Refused(refusal) => found.push((frame.sequence(), Some(refusal))),
            Kind::Data | Kind::Done | Kind::Noop => {}
        }
    }
    Ok(found)
}

/// The first refused change decides. Later ones may only be refused because of it.
fn judge(answers: Result<Vec<Answer>, io::Error>, count: usize) -> Result<(), Failure> {
    let answers = answers.map_err(Failure::Socket)?;
    let mut refusals: Vec<(usize, Refusal)> = Vec::new();
    let mut acknowledged = false;
    for (sequence, refusal) in answers {
        let at = sequence.wrapping_sub(FIRST_SEQUENCE) as usize;
        match refusal {
            Some(refusal) => refusals.push((at, refusal)),
            None => acknowledged |= at == count,
        }
    }
    refusals.sort_by_key(|(at, _)| *at);
    match refusals.into_iter().next() {
        Some((at, refusal)) => Err(Failure::Refused((1..=count).contains(&at).then(|| at - 1), refusal)),
        None if acknowledged => Ok(()),
        None => Err(Failure::Socket(io::Error::other("the kernel did not answer a transaction"))),
    }
}
