//! To whom a thing in the kernel or on disk belongs.
//!
//! An attachment is a network, a container and an interface in it. Every name and tag that a plugin gives to what it makes
//! is a pure function of these three. So DEL finds its things without being told what ADD did: with no result, no
//! namespace, a second time, and after a crash at any point; and GC tells a stale thing from a live one without a record.
//!
//! There are two sorts of names here. Those of the existing suite (chains, comments and rule tags) are reproduced to the
//! byte, collisions included, so that either suite cleans up after the other. Names of our own are hashes over the three
//! parts with their lengths, so that no two attachments share one by concatenation.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha512};

use crate::name::{ContainerId, IfName, NetName};
use crate::quote::quote;

/// The longest comment that nf_tables user space accepts, in bytes.
const NFT_COMMENT_MAX: usize = 128;
/// iptables allows 28 characters for the name of a chain.
const CHAIN_MAX: usize = 28;

/// An attachment as the owner of things.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Owner {
    /// The network.
    pub net: NetName,
    /// The container.
    pub id: ContainerId,
    /// The interface inside the container.
    pub ifname: IfName,
}

/// A tag that was found on something, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tag {
    /// [`network_prefix`](Owner::network_prefix) of the owner.
    pub network: String,
    /// The hash of its interface and container.
    pub attachment: String,
    /// The owner itself, if the tag holds it in full and the hashes agree: long names are cut.
    pub owner: Option<Owner>,
}

impl Owner {
    /// The owner that these three make.
    pub fn new(net: NetName, id: ContainerId, ifname: IfName) -> Owner {
        Owner { net, id, ifname }
    }

    /// What a link's alias and the comment of an nft rule or element hold: two hashes to search by, then the names for
    /// people, in all at most 128 bytes. It is the masquerade comment of the existing suite.
    pub fn tag(&self) -> String {
        let Owner { net, id, ifname } = self;
        let mut tag = format!("{}, net: {net}, if: {ifname}, id: {id}", self.tag_prefix()).replace('"', "");
        let mut end = tag.len().min(NFT_COMMENT_MAX);
        while !tag.is_char_boundary(end) {
            end -= 1;
        }
        tag.truncate(end);
        tag
    }

    /// The hashes at the start of [`tag`](Owner::tag). A tag belongs to this attachment if and only if it starts so.
    pub fn tag_prefix(&self) -> String {
        let attachment = short_hash(&format!("{}:{}", self.ifname, self.id));
        format!("{}-{attachment}", self.network_prefix())
    }

    /// The hash of the network, with which all tags of its attachments start.
    pub fn network_prefix(&self) -> String {
        network_prefix(&self.net)
    }

    /// Takes a tag apart; none if the text is no tag.
    pub fn parse_tag(text: &str) -> Option<Tag> {
        let (network, rest) = text.split_at_checked(16)?;
        let (attachment, names) = rest.strip_prefix('-')?.split_at_checked(16)?;
        let is_hash = |hash: &str| hash.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if !is_hash(network) || !is_hash(attachment) || !(names.is_empty() || names.starts_with(',')) {
            return None;
        }
        let owner = parse_names(names).filter(|owner| text.starts_with(&owner.tag_prefix()));
        Some(Tag { network: network.to_owned(), attachment: attachment.to_owned(), owner })
    }

    /// The name of the veth's end in the host: `veth` and eight hex digits. `attempt` counts names that were taken by
    /// others; DEL and CHECK must be prepared to meet any of them, and tell by the alias.
    pub fn host_veth(&self, attempt: u8) -> String {
        format!("veth{}", hex(&self.digest("host veth", attempt)[..4]))
    }

    /// A hardware address for one end of the attachment (`role` says which): locally administered, unicast, and the same
    /// on every ADD of the same attachment.
    pub fn mac(&self, role: &str) -> [u8; 6] {
        local_mac(&self.digest(role, 0))
    }

    /// The iptables chain of the masquerade. The interface has no part in it: two attachments of a container to one network
    /// share the chain.
    pub fn masq_chain(&self) -> String {
        self.chain("CNI-")
    }

    /// The comment on every iptables rule of the masquerade.
    pub fn masq_comment(&self) -> String {
        format!("name: {} id: {}", quote(self.net.as_str()), quote(self.id.as_str()))
    }

    /// An iptables chain of this network and container, cut to the 28 characters that a name may have.
    pub fn chain(&self, prefix: &str) -> String {
        prefixed_hash(prefix, &format!("{}{}", self.net, self.id), CHAIN_MAX)
    }

    /// The first of the two nft chains of the MAC spoof check; the second has `-mac` appended.
    pub fn spoof_chain(&self) -> String {
        format!("cni-br-iface-{}-{}", self.id, self.ifname)
    }

    /// The comment on every rule of the MAC spoof check.
    pub fn spoof_comment(&self) -> String {
        format!("macspoofchk-{}-{}", self.id, self.ifname)
    }

    fn digest(&self, role: &str, attempt: u8) -> Vec<u8> {
        let parts = ["attachment", self.net.as_str(), self.id.as_str(), self.ifname.as_str(), role];
        digest(&parts, attempt)
    }
}

/// The hash of a network, with which the tags of all its attachments start.
pub fn network_prefix(net: &NetName) -> String {
    short_hash(net.as_str())
}

/// A hardware address for a bridge: locally administered, unicast, and the same whenever a bridge of this name is made on
/// the same host. `seed` tells hosts apart, such as the content of `/etc/machine-id`.
pub fn bridge_mac(name: &str, seed: &str) -> [u8; 6] {
    local_mac(&digest(&["bridge", name, seed], 0))
}

/// `prefix` followed by the SHA-512 of `text` in hex, cut to `length` characters (at most 128) in all.
pub fn prefixed_hash(prefix: &str, text: &str, length: usize) -> String {
    let mut name = prefix.to_owned();
    name.push_str(&hex(&Sha512::digest(text)));
    name.truncate(length);
    name
}

fn short_hash(text: &str) -> String {
    prefixed_hash("", text, 16)
}

/// Each part goes in with its length, so that ("ab", "c") and ("a", "bc") differ.
fn digest(parts: &[&str], attempt: u8) -> Vec<u8> {
    let mut hash = Sha512::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hash.update([attempt]);
    hash.finalize().to_vec()
}

fn local_mac(digest: &[u8]) -> [u8; 6] {
    let mut mac = [0; 6];
    mac.copy_from_slice(&digest[..6]);
    mac[0] = mac[0] & !0x01 | 0x02;
    mac
}

fn hex(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // Writing to a String does not fail.
        let _ = write!(out, "{byte:02x}");
    }
    out
}

/// Only ids and network names are free of `, `, so the interface's name is what is left between them.
fn parse_names(names: &str) -> Option<Owner> {
    let (net, rest) = names.strip_prefix(", net: ")?.split_once(", if: ")?;
    let (ifname, id) = rest.rsplit_once(", id: ")?;
    Some(Owner { net: net.parse().ok()?, id: id.parse().ok()?, ifname: ifname.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn owner(net: &str, id: &str, ifname: &str) -> Owner {
        Owner::new(net.parse().unwrap(), id.parse().unwrap(), ifname.parse().unwrap())
    }

    #[test]
    fn names_of_the_existing_suite() {
        let owner = owner("n1", "cid1", "eth0");
        assert_eq!(owner.masq_chain(), "CNI-ca7a875c2b85fc44a855128b");
        assert_eq!(owner.chain("CNI-DN-"), "CNI-DN-ca7a875c2b85fc44a8551");
        assert_eq!(owner.masq_comment(), r#"name: "n1" id: "cid1""#);
        assert_eq!(owner.tag(), "43d91f8451058a70-0b65a318f52e521b, net: n1, if: eth0, id: cid1");
        assert_eq!(owner.tag_prefix(), "43d91f8451058a70-0b65a318f52e521b");
        assert_eq!(owner.network_prefix(), "43d91f8451058a70");
        assert_eq!(owner.spoof_chain(), "cni-br-iface-cid1-eth0");
        assert_eq!(owner.spoof_comment(), "macspoofchk-cid1-eth0");
        assert_eq!(prefixed_hash("bwp", "n1cid1", 15), "bwpca7a875c2b85");
        assert_eq!(prefixed_hash("CNI-", "test1234", 28), "CNI-2bbe0c48b91a7d1b8a6753a8");
    }

    #[test]
    fn chains_collide_as_they_always_did_and_own_names_do_not() {
        let (one, other) = (owner("ab", "c", "eth0"), owner("a", "bc", "eth0"));
        assert_eq!(one.masq_chain(), other.masq_chain());
        assert_ne!(one.host_veth(0), other.host_veth(0));
        assert_ne!(one.mac("container"), other.mac("container"));
    }

    #[test]
    fn own_names_stay_what_they_were() {
        let owner = owner("n1", "cid1", "eth0");
        assert_eq!((owner.host_veth(0), owner.host_veth(1)), ("veth02a13658".into(), "veth6c2421d5".into()));
        assert_eq!(owner.mac("host"), [0x62, 0x50, 0xff, 0x2b, 0xbe, 0x2b]);
        assert_eq!(owner.mac("container"), [0xa6, 0xb2, 0x4f, 0x37, 0x96, 0x8f]);
        assert_eq!(bridge_mac("cni0", "seed"), [0xee, 0xfc, 0x8d, 0xa0, 0xe7, 0xd4]);
    }

    #[test]
    fn long_tags_are_cut_and_still_owned() {
        let owner = owner(&"n".repeat(60), &"c".repeat(64), "eth0");
        assert_eq!(owner.tag().len(), 128);
        let tag = Owner::parse_tag(&owner.tag()).unwrap();
        assert_eq!(format!("{}-{}", tag.network, tag.attachment), owner.tag_prefix());
        assert_eq!(tag.owner, None);
    }

    #[test]
    fn other_texts_are_no_tags() {
        for text in [
            "",
            "cid1",
            "43d91f8451058a70",
            "43d91f8451058a70-",
            "43D91F8451058A70-0b65a318f52e521b",
            "é3d91f8451058a70-0b65a318f52e521b",
        ] {
            assert_eq!(Owner::parse_tag(text), None, "{text}");
        }
        let glued = "43d91f8451058a70-0b65a318f52e521bx";
        assert_eq!(Owner::parse_tag(glued), None);
    }

    #[test]
    fn a_tag_with_foreign_names_has_no_owner() {
        let forged = "43d91f8451058a70-0b65a318f52e521b, net: n1, if: eth0, id: other";
        assert_eq!(Owner::parse_tag(forged).unwrap().owner, None);
    }

    proptest! {
        #[test]
        fn tags_say_whose_they_are(
            net in "[a-z0-9][a-z0-9_.-]{0,19}",
            id in "[a-z0-9][a-z0-9_.-]{0,30}",
            ifname in "[a-z0-9,;=@]{1,15}",
        ) {
            prop_assume!(ifname.parse::<IfName>().is_ok());
            let owner = owner(&net, &id, &ifname);
            prop_assert_eq!(Owner::parse_tag(&owner.tag()).unwrap().owner, Some(owner.clone()));
            let [first, ..] = owner.mac("x");
            prop_assert_eq!(first & 0x03, 0x02);
            let name = owner.host_veth(0);
            prop_assert!(name.len() == 12 && name.starts_with("veth"));
        }
    }
}
