//! A filter that takes every packet, and the action that sends it to another link.
//!
//! The classifier is `u32` (`net/sched/cls_u32.c`), which compares words of the packet with masks: under a mask of zero
//! all are alike. The action is `mirred` (`net/sched/act_mirred.c`).

use super::{HEADER, INGRESS, TCA_KIND, TCA_OPTIONS, body, find, find_text, number_at, request, text};
use crate::netlink::attribute::{Attributes, attribute};
use crate::netlink::{Frame, Request};
use netlink_packet_core::NLM_F_CREATE;

const RTM_NEWTFILTER: u16 = 44;
const RTM_GETTFILTER: u16 = 46;

const TCA_U32_CLASSID: u16 = 1;
const TCA_U32_SEL: u16 = 5;
const TCA_U32_ACT: u16 = 7;
const TCA_ACT_KIND: u16 = 1;
const TCA_ACT_OPTIONS: u16 = 2;
const TCA_MIRRED_PARMS: u16 = 2;

/// The upper half is the priority, 1, the lower `ETH_P_ALL` in network byte order.
const INFO: u32 = 1 << 16 | 0x0003_u16.to_be() as u32;
/// `800::800`, what the kernel gives to the first key of the first filter. Said, not left to it, so that the same filter
/// said again replaces the first.
const HANDLE: u32 = 0x8000_0800;
/// `1:1`, as the Go suite says. Nothing looks at it.
const CLASS: u32 = 0x0001_0001;

/// `struct tc_u32_sel` with one `struct tc_u32_key`: terminal (`TC_U32_TERMINAL`), one key, whose mask is zero.
const MATCH_ALL: [u8; 32] = {
    let mut bytes = [0; 32];
    bytes[0] = 1;
    bytes[2] = 1;
    bytes
};
/// Where that structure has its number of keys, and where the mask of the first is.
const KEYS: usize = 2;
const MASK: usize = 16;

/// `struct tc_mirred`: five numbers of every action, of which the third is what becomes of the packet here, then what to
/// do, and the link.
const TC_ACT_STOLEN: u32 = 4;
const TCA_EGRESS_REDIR: u32 = 1;
const DO: usize = 20;
const TARGET: usize = 24;

/// `tc filter replace dev FROM parent ffff: handle 800::800 protocol all prio 1 u32 match u32 0 0 flowid 1:1 action
/// mirred egress redirect dev TO`: whatever the link `from` receives leaves by the link `to`.
#[must_use]
pub fn redirect(from: u32, to: u32) -> Request {
    let parms: Vec<u8> =
        [0, 0, TC_ACT_STOLEN, 0, 0, TCA_EGRESS_REDIR, to].iter().flat_map(|number| number.to_ne_bytes()).collect();
    let mirred = [text(TCA_ACT_KIND, "mirred"), attribute(TCA_ACT_OPTIONS, &attribute(TCA_MIRRED_PARMS, &parms))];
    let first = attribute(1, &mirred.concat());
    let options = [
        attribute(TCA_U32_SEL, &MATCH_ALL),
        attribute(TCA_U32_CLASSID, &CLASS.to_ne_bytes()),
        attribute(TCA_U32_ACT, &first),
    ];
    let attributes = [text(TCA_KIND, "u32"), attribute(TCA_OPTIONS, &options.concat())];
    request(RTM_NEWTFILTER, NLM_F_CREATE, [from, HANDLE, INGRESS, INFO], &attributes.concat())
}

/// `tc filter show dev LINK parent ffff:`; to be dumped. A link without ingress discipline has none.
#[must_use]
pub fn list_filters(link: u32) -> Request {
    request(RTM_GETTFILTER, 0, [link, 0, INGRESS, 0], &[])
}

/// The links to which the filters that answer [`list_filters`] redirect everything.
#[must_use]
pub fn redirections(frames: &[Frame]) -> Vec<u32> {
    frames.iter().filter_map(redirection).collect()
}

fn redirection(frame: &Frame) -> Option<u32> {
    let attributes = body(frame, RTM_NEWTFILTER)?;
    let info = number_at(&frame.payload()[..HEADER], 16)?;
    if info & 0xffff != INFO & 0xffff || find_text(attributes, TCA_KIND)? != "u32" {
        return None;
    }
    let options = find(attributes, TCA_OPTIONS)?;
    let selector = find(options, TCA_U32_SEL)?;
    if selector.get(KEYS) != Some(&1) || number_at(selector, MASK) != Some(0) {
        return None;
    }
    // What the first action redirects no other action sees.
    let (_, action) = Attributes(find(options, TCA_U32_ACT)?).next()?;
    if find_text(action, TCA_ACT_KIND)? != "mirred" {
        return None;
    }
    let parms = find(find(action, TCA_ACT_OPTIONS)?, TCA_MIRRED_PARMS)?;
    (number_at(parms, DO) == Some(TCA_EGRESS_REDIR)).then(|| number_at(parms, TARGET)).flatten()
}
