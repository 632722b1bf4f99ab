//! The bytes of netlink messages: headers, acknowledgements and the sentences in them (`include/uapi/linux/netlink.h`).

use std::fmt;

use nix::errno::Errno;

use super::attribute::Attributes;
use super::{Error, Request};
use crate::errno::sentence;

/// `sizeof(struct nlmsghdr)`.
const HEADER: usize = 16;
const NLMSG_NOOP: u16 = 1;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_DUMP_INTR: u16 = 0x10;
const NLM_F_CAPPED: u16 = 0x100;
const NLM_F_ACK_TLVS: u16 = 0x200;
const NLMSGERR_ATTR_MSG: u16 = 1;

/// The kernel's refusal of one request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Refusal {
    /// The error number.
    pub errno: Errno,
    /// The kernel's own sentence, from the extended ACK.
    pub message: Option<String>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", sentence(self.errno))?;
        match &self.message {
            Some(message) => write!(f, " ({})", message.trim_end_matches('.')),
            None => Ok(()),
        }
    }
}

/// One message from the kernel.
#[derive(Clone, PartialEq, Eq)]
pub struct Frame {
    bytes: Vec<u8>,
}

/// What a message is about.
pub(crate) enum Kind {
    Data,
    Acknowledged,
    Refused(Refusal),
    Done,
    Noop,
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Frame {{ type: {}, flags: {:#x}, payload: {:02x?} }}",
            self.message_type(),
            self.flags(),
            self.payload()
        )
    }
}

impl Frame {
    /// `nlmsg_type`.
    #[must_use]
    pub fn message_type(&self) -> u16 {
        u16_at(&self.bytes, 4)
    }

    /// What follows the netlink header.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.bytes[HEADER..]
    }

    fn flags(&self) -> u16 {
        u16_at(&self.bytes, 6)
    }

    pub(crate) fn sequence(&self) -> u32 {
        u32_at(&self.bytes, 8)
    }

    pub(super) fn is_interrupted(&self) -> bool {
        self.flags() & NLM_F_DUMP_INTR != 0
    }

    pub(crate) fn kind(&self) -> Result<Kind, Error> {
        match self.message_type() {
            NLMSG_NOOP => Ok(Kind::Noop),
            NLMSG_ERROR => self.verdict(Kind::Acknowledged),
            NLMSG_DONE => self.verdict(Kind::Done),
            _ => Ok(Kind::Data),
        }
    }

    /// Reads the error number at the start of `NLMSG_ERROR` and `NLMSG_DONE`; zero means `good`.
    fn verdict(&self, good: Kind) -> Result<Kind, Error> {
        let payload = self.payload();
        let code = match payload.first_chunk() {
            Some(code) => i32::from_ne_bytes(*code),
            None if matches!(good, Kind::Done) => 0,
            None => return Err(Error::Malformed("an acknowledgement without an error number".into())),
        };
        if code == 0 {
            return Ok(good);
        }
        let message = self.sentence(matches!(good, Kind::Done));
        Ok(Kind::Refused(Refusal { errno: Errno::from_raw(code.wrapping_neg()), message }))
    }

    /// The text attribute behind the error number (and, in an ACK, behind the request's header or whole request).
    fn sentence(&self, done: bool) -> Option<String> {
        if self.flags() & NLM_F_ACK_TLVS == 0 {
            return None;
        }
        let payload = self.payload();
        let request = match (done, self.flags() & NLM_F_CAPPED) {
            (true, _) => 0,
            (false, 0) => u32_at(payload.get(4..)?, 0) as usize,
            (false, _) => HEADER,
        };
        let attributes = Attributes(payload.get(4 + align(request)..)?);
        let (_, text) = attributes.into_iter().find(|(kind, _)| *kind == NLMSGERR_ATTR_MSG)?;
        Some(String::from_utf8_lossy(text.strip_suffix(&[0]).unwrap_or(text)).into_owned())
    }
}

/// The messages of one datagram.
pub(crate) struct Frames {
    datagram: Vec<u8>,
    at: usize,
}

impl Frames {
    pub(crate) fn new(datagram: Vec<u8>) -> Self {
        Self { datagram, at: 0 }
    }
}

impl Iterator for Frames {
    type Item = Result<Frame, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.datagram.get(self.at..).filter(|rest| !rest.is_empty())?;
        let length = if rest.len() < HEADER { 0 } else { u32_at(rest, 0) as usize };
        if length < HEADER || length > rest.len() {
            self.at = self.datagram.len();
            return Some(Err(Error::Malformed(format!(
                "a message of {length} bytes in a datagram rest of {}",
                rest.len()
            ))));
        }
        let bytes = rest[..length].to_vec();
        self.at += align(length);
        Some(Ok(Frame { bytes }))
    }
}

/// Appends `request` with a header to `message`.
pub(crate) fn push(message: &mut Vec<u8>, request: &Request, flags: u16, sequence: u32) {
    let length = HEADER + request.payload.len();
    message.extend(u32::try_from(length).unwrap_or(u32::MAX).to_ne_bytes());
    message.extend(request.kind.to_ne_bytes());
    message.extend((request.flags | flags).to_ne_bytes());
    message.extend(sequence.to_ne_bytes());
    message.extend(0u32.to_ne_bytes());
    message.extend(&request.payload);
    message.resize(align(message.len()), 0);
}

pub(super) fn align(length: usize) -> usize {
    length.next_multiple_of(4)
}

pub(super) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |chunk| u16::from_ne_bytes(*chunk))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |chunk| u32::from_ne_bytes(*chunk))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An ACK as the kernel sends it for a refused request, capped, with the text attribute.
    fn refusal(text: &str) -> Vec<u8> {
        let mut body = (-17i32).to_ne_bytes().to_vec();
        body.extend([0; HEADER]);
        let mut value = text.as_bytes().to_vec();
        value.push(0);
        body.extend(u16::try_from(4 + value.len()).unwrap().to_ne_bytes());
        body.extend(NLMSGERR_ATTR_MSG.to_ne_bytes());
        body.extend(&value);
        let request = Request { kind: NLMSG_ERROR, flags: NLM_F_CAPPED | NLM_F_ACK_TLVS, payload: body };
        let mut datagram = Vec::new();
        push(&mut datagram, &request, 0, 7);
        datagram
    }

    #[test]
    fn a_refusal_carries_the_kernels_sentence() {
        let frame = Frames::new(refusal("Nexthop has invalid gateway.")).next().unwrap().unwrap();
        assert_eq!(frame.sequence(), 7);
        let Kind::Refused(refusal) = frame.kind().unwrap() else { panic!("not a refusal") };
        assert_eq!(refusal.to_string(), "file exists (Nexthop has invalid gateway)");
    }

    #[test]
    fn broken_datagrams_are_errors() {
        let whole = refusal("x");
        for cut in 1..whole.len() - 4 {
            let frames: Vec<_> = Frames::new(whole[..cut].to_vec()).collect();
            assert!(frames.iter().any(Result::is_err), "{cut} bytes");
        }
    }
}
