//! Whose a thing is, for GC.

use std::collections::HashSet;

use cni::plugin::ValidAttachments;
use cni::{ContainerId, IfName, NetName, Owner, owner};

/// The valid attachments of one network, by the tags that their things carry.
#[derive(Clone, Debug)]
pub struct Live {
    /// What the tags of this network, and of no other, begin with.
    network: String,
    /// What the tags of valid attachments begin with; none when nobody said which are valid, so that all count as that.
    attachments: Option<HashSet<String>>,
}

impl Live {
    /// The tags of `valid` in the network `name`. An entry that can't be an attachment owns nothing.
    #[must_use]
    pub fn of(name: &NetName, valid: &ValidAttachments) -> Self {
        let tag = |(id, ifname): (&str, &str)| {
            let (id, ifname) = (id.parse::<ContainerId>().ok()?, ifname.parse::<IfName>().ok()?);
            Some(Owner::new(name.clone(), id, ifname).tag_prefix())
        };
        let attachments = valid.is_specified().then(|| valid.iter().filter_map(tag).collect());
        Self { network: format!("{}-", owner::network_prefix(name)), attachments }
    }

    /// Whether the thing with this tag belongs to the network, and to no valid attachment.
    #[must_use]
    pub fn is_stale(&self, tag: &str) -> bool {
        let attachment = tag.split(',').next().unwrap_or(tag);
        let is_valid = self.attachments.as_ref().is_none_or(|valid| valid.contains(attachment));
        tag.starts_with(&self.network) && !is_valid
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(net: &str, id: &str, ifname: &str) -> Owner {
        Owner::new(net.parse().unwrap(), id.parse().unwrap(), ifname.parse().unwrap())
    }

    #[test]
    fn only_this_networks_dead_are_stale() {
        let valid = ValidAttachments::new([("alive", "eth0"), ("alive", "eth1"), ("../odd", "eth0")]);
        let live = Live::of(&"n1".parse().unwrap(), &valid);
        let table = [
            (owner("n1", "alive", "eth0"), false),
            (owner("n1", "alive", "eth1"), false),
            (owner("n1", "alive", "eth2"), true),
            (owner("n1", "dead", "eth0"), true),
            (owner("n2", "dead", "eth0"), false),
        ];
        for (owner, stale) in table {
            assert_eq!(live.is_stale(&owner.tag()), stale, "{}", owner.tag());
        }
        for other in ["", "a network card", "-"] {
            assert!(!live.is_stale(other));
        }
    }

    #[test]
    fn without_a_list_nothing_is_stale() {
        let live = Live::of(&"n1".parse().unwrap(), &ValidAttachments::unspecified());
        assert!(!live.is_stale(&owner("n1", "dead", "eth0").tag()));
        let live = Live::of(&"n1".parse().unwrap(), &ValidAttachments::new([]));
        assert!(live.is_stale(&owner("n1", "dead", "eth0").tag()));
    }

    /// A tag is cut to what nftables takes for a comment; what tells owners apart comes first.
    #[test]
    fn long_names_are_told_apart() {
        let long = "x".repeat(200);
        let (alive, dead) = (format!("{long}-alive"), format!("{long}-dead"));
        let live = Live::of(&"n1".parse().unwrap(), &ValidAttachments::new([(alive.as_str(), "eth0")]));
        assert!(!live.is_stale(&owner("n1", &alive, "eth0").tag()));
        assert!(live.is_stale(&owner("n1", &dead, "eth0").tag()));
    }
}
