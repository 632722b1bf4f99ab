//! Traffic control: what limits the rate of a link (`tc qdisc`, `tc filter`).
//!
//! Only what leaves a link can wait in a queue. So a limit on what a link *sends* is a token bucket filter at its root
//! ([`set_bucket`]); for a limit on what it *receives* all of that is redirected ([`redirect`]) from the place where
//! packets arrive ([`set_ingress`]) to an intermediate functional block, a link that does nothing but send them on, and
//! which has a token bucket filter at *its* root ([`crate::link::NewIfb`]).
//!
//! Everything is said in bytes built here (`include/uapi/linux/pkt_sched.h`, `pkt_cls.h`): the crate with the message
//! types knows every discipline and classifier there is, and whoever emits one of its messages links the code for all.
//!
//! All of it can be said twice. The flags are `NLM_F_CREATE` alone, which means (`net/sched/sch_api.c`,
//! `tc_modify_qdisc`): make it, or change what has this handle and kind, and refuse to touch anything else.

mod bucket;
mod filter;
mod support;

use netlink_packet_core::NLM_F_CREATE;

use crate::netlink::attribute::{Attributes, attribute, number};
use crate::netlink::{Frame, Request};

pub use bucket::{Bucket, Mismatch, Tbf};
pub use filter::{list_filters, redirect, redirections};
pub use support::lacks;

const RTM_NEWQDISC: u16 = 36;
const RTM_DELQDISC: u16 = 37;
const RTM_GETQDISC: u16 = 38;

/// `NLM_F_ECHO`: before Linux 6.8 the answer to a question about one discipline comes as an announcement, which the one
/// who asked gets only this way.
const NLM_F_ECHO: u16 = 8;

/// `sizeof(struct tcmsg)`.
const HEADER: usize = 20;
/// `TC_H_ROOT`.
const ROOT: u32 = 0xffff_ffff;
/// `TC_H_INGRESS`.
const INGRESS_PARENT: u32 = 0xffff_fff1;
/// `ffff:`, the only handle that the ingress discipline can have.
const INGRESS: u32 = 0xffff_0000;
/// `1:`, the handle of the token bucket filter.
const TBF: u32 = 0x0001_0000;

const TCA_KIND: u16 = 1;
const TCA_OPTIONS: u16 = 2;

/// The discipline at the root of a link.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Root {
    /// What `tc qdisc` calls it: `tbf`, `noqueue`, ...
    pub kind: String,
    /// Its numbers, if it is a token bucket filter.
    pub tbf: Option<Tbf>,
}

/// `tc qdisc add dev LINK root handle 1: tbf ...`, or a change of the one that is there. Another discipline that
/// somebody chose is refused (`EEXIST`, or `EINVAL` if it has the same handle).
#[must_use]
pub fn set_bucket(link: u32, bucket: &Bucket) -> Request {
    let attributes = [text(TCA_KIND, "tbf"), attribute(TCA_OPTIONS, &bucket.options())].concat();
    request(RTM_NEWQDISC, NLM_F_CREATE, [link, TBF, ROOT, 0], &attributes)
}

/// `tc qdisc del dev LINK root handle 1: tbf`; refused when the root is something else ([`is_not_there`]).
#[must_use]
pub fn del_bucket(link: u32) -> Request {
    request(RTM_DELQDISC, 0, [link, TBF, ROOT, 0], &text(TCA_KIND, "tbf"))
}

/// `tc qdisc show dev LINK root`.
#[must_use]
pub fn get_root(link: u32) -> Request {
    request(RTM_GETQDISC, NLM_F_ECHO, [link, 0, ROOT, 0], &[])
}

/// `tc qdisc add dev LINK ingress`, or nothing when it is there. Another discipline in its place (`clsact`) is refused.
#[must_use]
pub fn set_ingress(link: u32) -> Request {
    request(RTM_NEWQDISC, NLM_F_CREATE, [link, INGRESS, INGRESS_PARENT, 0], &text(TCA_KIND, "ingress"))
}

/// `tc qdisc del dev LINK ingress`, with all its filters.
#[must_use]
pub fn del_ingress(link: u32) -> Request {
    request(RTM_DELQDISC, 0, [link, INGRESS, INGRESS_PARENT, 0], &text(TCA_KIND, "ingress"))
}

/// Whether a refusal of [`del_bucket`] or [`del_ingress`] says that there is none: the link or the discipline is gone,
/// or has another handle or kind (`EINVAL`, from `tc_get_qdisc`).
#[must_use]
pub fn is_not_there(error: &crate::netlink::Error) -> bool {
    error.is_not_found() || error.errno() == Some(nix::errno::Errno::EINVAL)
}

/// The discipline that answers [`get_root`]; none when there is no answer.
#[must_use]
pub fn root(frames: &[Frame]) -> Option<Root> {
    frames.iter().find_map(|frame| {
        let attributes = body(frame, RTM_NEWQDISC)?;
        let kind = find_text(attributes, TCA_KIND)?;
        let tbf = (kind == "tbf").then(|| find(attributes, TCA_OPTIONS).and_then(Tbf::parse)).flatten();
        Some(Root { kind, tbf })
    })
}

/// A request about the `[link, handle, parent, info]` of `struct tcmsg`.
fn request(kind: u16, flags: u16, numbers: [u32; 4], attributes: &[u8]) -> Request {
    let mut payload = vec![0; 4]; // the family, and padding
    payload.extend(numbers.iter().flat_map(|number| number.to_ne_bytes()));
    payload.extend(attributes);
    Request { kind, flags, payload }
}

/// The attributes of an answer of this type.
fn body(frame: &Frame, kind: u16) -> Option<&[u8]> {
    frame.payload().get(HEADER..).filter(|_| frame.message_type() == kind)
}

/// An attribute that holds a text, with its final zero.
fn text(kind: u16, value: &str) -> Vec<u8> {
    attribute(kind, &[value.as_bytes(), &[0]].concat())
}

fn find(attributes: &[u8], wanted: u16) -> Option<&[u8]> {
    Attributes(attributes).find(|(kind, _)| *kind == wanted).map(|(_, value)| value)
}

fn find_text(attributes: &[u8], wanted: u16) -> Option<String> {
    let value = find(attributes, wanted)?;
    Some(String::from_utf8_lossy(value.strip_suffix(&[0]).unwrap_or(value)).into_owned())
}

/// The number at an offset of a structure; none when it is shorter.
fn number_at(structure: &[u8], offset: usize) -> Option<u32> {
    structure.get(offset..offset + 4).map(number)
}

#[cfg(test)]
mod tests;
