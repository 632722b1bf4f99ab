//! Policy routing rules (`ip rule`).

use ipnetwork::IpNetwork;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::rule::{RuleAction, RuleAttribute, RuleMessage};

use crate::link::family;
use crate::netlink::Request;
use crate::netlink::rtnl::{RTM_DELRULE, RTM_NEWRULE, request};

/// `ip rule add from SOURCE lookup TABLE`.
#[must_use]
pub fn add(source: IpNetwork, table: u32) -> Request {
    request(RTM_NEWRULE, &message(source, table), NLM_F_CREATE | NLM_F_EXCL)
}

/// `ip rule del from SOURCE lookup TABLE`.
#[must_use]
pub fn del(source: IpNetwork, table: u32) -> Request {
    request(RTM_DELRULE, &message(source, table), 0)
}

fn message(source: IpNetwork, table: u32) -> RuleMessage {
    let mut message = RuleMessage::default();
    message.header.family = family(source.is_ipv6());
    message.header.src_len = source.prefix();
    message.header.action = RuleAction::ToTable;
    message.attributes.push(RuleAttribute::Source(source.ip()));
    message.attributes.push(RuleAttribute::Table(table));
    message
}
