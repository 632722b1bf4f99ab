//! What the rules of a mapping say about whose they are.

use std::net::{IpAddr, SocketAddr};

use cni::{IfName, Owner};
use ipnetwork::IpNetwork;
use kernel::iptables::{Rule, Saved};

use super::{CHAIN, NOTES, Protocol};
use crate::portmap::flows::Redirect;

/// The longest comment that iptables keeps, in bytes, and where the Go suite cuts a longer one. It puts three periods
/// there, of which two are kept.
const COMMENT_MAX: usize = 255;
const COMMENT_CUT: usize = 253;
const ELLIPSIS: &str = "..";
/// The words of a jump that has no further conditions.
const PLAIN: usize = 12;

/// The comment on the jumps to a container's chain, as it is listed.
pub(super) fn comment(net: &str, id: &str) -> String {
    let mut comment = format!("{}{id}\"", network(net));
    if comment.len() > COMMENT_MAX {
        comment.truncate(comment.floor_char_boundary(COMMENT_CUT));
        comment.push_str(ELLIPSIS);
    }
    comment
}

/// What the comments of a network begin with.
pub(super) fn network(net: &str) -> String {
    format!("dnat name: \"{net}\" id: \"")
}

/// Network and container in a comment, if nothing of them was cut off.
pub(super) fn names(comment: &str) -> Option<(&str, &str)> {
    comment.strip_prefix("dnat name: \"")?.strip_suffix('"')?.split_once("\" id: \"")
}

/// Where a rule sends packets.
pub(super) fn destination(rule: &Rule) -> Option<SocketAddr> {
    rule.value("--to-destination")?.parse().ok()
}

/// What a rule of a container's chain means, if it is one that sends packets.
pub(super) fn redirect(rule: &Rule) -> Option<Redirect> {
    let to = destination(rule)?;
    let host_ip = rule.value("-d").and_then(|address| address.parse().ok()).map(|net: IpNetwork| net.ip());
    let protocol = Protocol::parse(rule.value("-p")?)?;
    Some(Redirect {
        host_ip,
        host_port: rule.value("--dport")?.parse().ok()?,
        protocol,
        target: to.ip(),
        port: to.port(),
    })
}

/// The packets of a mapping, by what its rules match: protocol, port and, if it matters, address.
pub(super) fn packets(rule: &Rule) -> [Option<&str>; 3] {
    [rule.value("-p"), rule.value("--dport"), rule.value("-d")]
}

/// The packets of a mapping, without the address.
pub(super) type Port<'a> = (&'a str, &'a str);

/// Those of a rule in a container's chain.
pub(super) fn port(rule: &Rule) -> Option<Port<'_>> {
    Some((rule.value("-p")?, rule.value("--dport")?))
}

/// For what a rule jumps to a container's chain.
pub(super) fn ports(jump: &Rule) -> impl Iterator<Item = Port<'_>> {
    let ports = jump.value("--dports").unwrap_or_default().split(',');
    ports.filter_map(|port| Some((jump.value("-p")?, port)))
}

/// Whether a jump has no conditions but protocol and ports.
pub(super) fn is_plain(jump: &Rule) -> bool {
    jump.arguments.len() == PLAIN
}

/// A note on whose an address is.
pub(super) struct Note<'a> {
    pub rule: &'a Rule,
    pub address: IpAddr,
    pub tag: &'a str,
}

impl<'a> Note<'a> {
    fn of(rule: &'a Rule) -> Option<Self> {
        let address = rule.value("-d")?.parse::<IpNetwork>().ok()?.ip();
        Some(Self { rule, address, tag: rule.comment()? })
    }

    /// Whether it is about this attachment.
    pub(super) fn is_of(&self, owner: &Owner) -> bool {
        is_of(self.tag, owner)
    }

    /// Whether it is about an attachment with the same chain: another interface of the container in this network, or a
    /// container and network whose names happen to make the same text. A tag that was cut may hide the latter.
    pub(super) fn shares_chain(&self, owner: &Owner) -> bool {
        let Some(ifname) = self.word("if").and_then(|ifname| ifname.parse::<IfName>().ok()) else { return false };
        let sibling = Owner::new(owner.net.clone(), owner.id.clone(), ifname);
        self.is_of(&sibling) || self.owner().is_some_and(|other| other.chain(CHAIN) == owner.chain(CHAIN))
    }

    /// Whose the address is, if the tag holds it in full.
    pub(super) fn owner(&self) -> Option<Owner> {
        let (net, ifname, id) = (self.word("net")?, self.word("if")?, self.word("id")?);
        let owner = Owner::new(net.parse().ok()?, id.parse().ok()?, ifname.parse().ok()?);
        self.is_of(&owner).then_some(owner)
    }

    /// The link of the host that lives as long as the attachment does.
    pub(super) fn link(&self) -> Option<&str> {
        self.word("dev")
    }

    /// One of the words for people behind the hashes. Names have no comma and space in them.
    fn word(&self, key: &str) -> Option<&str> {
        self.tag.split(", ").skip(1).find_map(|word| word.strip_prefix(key)?.strip_prefix(": "))
    }
}

/// Whether a tag is that of an attachment.
pub(super) fn is_of(tag: &str, owner: &Owner) -> bool {
    tag.split(',').next() == Some(&owner.tag_prefix())
}

/// All notes of a table.
pub(super) fn notes(found: &Saved) -> impl Iterator<Item = Note<'_>> {
    found.chain(NOTES).filter_map(Note::of)
}
