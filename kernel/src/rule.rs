//! Policy routing rules (`ip rule`).

use std::fmt;
use std::net::IpAddr;

use ipnetwork::IpNetwork;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::rule::{RuleAction, RuleAttribute, RuleMessage};

use crate::link::family;
use crate::netlink::attribute::{Attributes, ip, number};
use crate::netlink::rtnl::{RTM_DELRULE, RTM_GETRULE, RTM_NEWRULE, request};
use crate::netlink::{Error, Frame, Request};

/// `sizeof(struct fib_rule_hdr)`.
const HEADER: usize = 12;
const FRA_SRC: u16 = 2;
const FRA_PRIORITY: u16 = 6;
const FRA_SUPPRESS_PREFIXLEN: u16 = 14;
const FRA_TABLE: u16 = 15;
const FRA_PROTOCOL: u16 = 21;
/// `FR_ACT_TO_TBL`: `lookup`.
const TO_TABLE: u8 = 1;
/// `FIB_RULE_INVERT`: `not`.
const INVERTED: u32 = 2;

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

/// `ip rule show`, of every family; to be dumped.
#[must_use]
pub fn list() -> Request {
    request(RTM_GETRULE, &RuleMessage::default(), 0)
}

/// `ip -4 rule show`; to be dumped.
#[must_use]
pub fn list_ipv4() -> Request {
    let mut message = RuleMessage::default();
    message.header.family = family(false);
    request(RTM_GETRULE, &message, 0)
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

/// A rule as the kernel describes it, as far as it is looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Where it looks a route up; 0 for a rule that does something else.
    pub table: u32,
    /// The lowest is asked first.
    pub priority: u32,
    /// For a rule that looks at the source address and at nothing else: which.
    pub source: Option<IpNetwork>,
}

impl Rule {
    /// The rules that answer [`list`].
    ///
    /// # Errors
    ///
    /// When an answer is not a rule.
    pub fn from_frames(frames: &[Frame]) -> Result<Vec<Self>, Error> {
        frames.iter().map(Self::parse).collect()
    }

    /// Out of `struct fib_rule_hdr` and `FRA_*` (`include/uapi/linux/fib_rules.h`).
    fn parse(frame: &Frame) -> Result<Self, Error> {
        let (Some((header, attributes)), RTM_NEWRULE) =
            (frame.payload().split_first_chunk::<HEADER>(), frame.message_type())
        else {
            return Err(Error::Malformed(format!("a message of type {} instead of a rule", frame.message_type())));
        };
        let [_, dst_len, src_len, tos, table, _, _, action, ..] = *header;
        let mut rule = Self { table: table.into(), priority: 0, source: None };
        let mut source: Option<IpAddr> = None;
        let mut plain = dst_len == 0 && tos == 0 && action == TO_TABLE && number(&header[8..]) & INVERTED == 0;
        for (kind, value) in Attributes(attributes) {
            match kind {
                FRA_TABLE => rule.table = number(value),
                FRA_PRIORITY => rule.priority = number(value),
                FRA_SRC => source = ip(value),
                FRA_PROTOCOL => {}
                // Always there; all ones when nothing is suppressed.
                FRA_SUPPRESS_PREFIXLEN => plain &= number(value) == u32::MAX,
                _ => plain = false,
            }
        }
        rule.source = source.filter(|_| plain).and_then(|source| IpNetwork::new(source, src_len).ok());
        Ok(rule)
    }

    /// `ip rule del` of this rule and of no other; none for one that looks at more than the source address.
    #[must_use]
    pub fn del(&self) -> Option<Request> {
        let mut message = message(self.source?, self.table);
        message.attributes.push(RuleAttribute::Priority(self.priority));
        Some(request(RTM_DELRULE, &message, 0))
    }
}

/// As `ip rule` takes it.
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.source {
            Some(source) => write!(f, "from {source} lookup {}", self.table),
            None => write!(f, "lookup {}", self.table),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::Handle;
    use crate::sandbox::alone;

    fn ip_rule(words: &str) {
        assert!(Command::new("ip").args(words.split(' ')).status().unwrap().success(), "{words}");
    }

    fn sourced(handle: &mut Handle) -> Vec<String> {
        let rules = handle.rules().unwrap();
        rules.iter().filter(|rule| rule.source.is_some()).map(Rule::to_string).collect()
    }

    #[test]
    fn plain_rules_are_told_from_others() {
        alone(|| {
            let mut handle = Handle::here().unwrap();
            assert_eq!(sourced(&mut handle), [""; 0]);
            let tables: Vec<u32> = handle.rules().unwrap().iter().map(|rule| rule.table).collect();
            assert!([255, 254, 253].iter().all(|table| tables.contains(table)), "{tables:?}");
            ip_rule("rule add from 10.0.0.2 lookup 100");
            ip_rule("-6 rule add from fd00::/64 lookup 70000 priority 5 protocol static");
            for more in ["fwmark 1", "to 10.1.0.0/16", "iif lo", "tos 4", "suppress_prefixlength 0", "ipproto tcp"] {
                ip_rule(&format!("rule add from 10.0.0.3 {more} lookup 101"));
            }
            ip_rule("rule add not from 10.0.0.3 lookup 101");
            ip_rule("rule add from 10.0.0.4 unreachable");
            let mut found = sourced(&mut handle);
            found.sort();
            assert_eq!(found, ["from 10.0.0.2/32 lookup 100", "from fd00::/64 lookup 70000"]);
        });
    }

    #[test]
    fn one_of_several_is_deleted() {
        alone(|| {
            let mut handle = Handle::here().unwrap();
            for priority in [7, 9] {
                ip_rule(&format!("rule add from 10.0.0.2 lookup 100 priority {priority}"));
            }
            let rules = handle.rules().unwrap();
            let second = rules.iter().find(|rule| rule.priority == 9).unwrap();
            handle.call(second.del().unwrap()).unwrap();
            let left: Vec<u32> = handle.rules().unwrap().iter().map(|rule| rule.priority).collect();
            assert!(left.contains(&7) && !left.contains(&9), "{left:?}");
        });
    }
}
