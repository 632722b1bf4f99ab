//! Which attachment a call is about, or, for GC, which are still alive.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::Value;

use crate::decode;
use crate::error::{Code, Error};
use crate::name::{ContainerId, IfName, NetName};
use crate::owner::Owner;

/// The key of the specification, and the one that early runtimes used, in order of preference.
const KEYS: [&str; 2] = ["cni.dev/valid-attachments", "cni.dev/attachments"];

/// What ADD, DEL and CHECK are about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// `CNI_CONTAINERID`.
    pub container_id: ContainerId,
    /// `CNI_IFNAME`.
    pub ifname: IfName,
    /// `CNI_NETNS` as it was given. DEL may come without one.
    pub netns: String,
    /// `CNI_ARGS` as it was given, for [`args::parse`](crate::args::parse).
    pub args: String,
}

impl Attachment {
    /// The attachment as the owner of what it has in network `net`.
    pub fn owner(&self, net: &NetName) -> Owner {
        Owner::new(net.clone(), self.container_id.clone(), self.ifname.clone())
    }
}

/// The attachments of the network that are still alive, as a GC call lists them.
///
/// The specification has every GC carry the list. A call without the key therefore proves nothing about any attachment, and
/// then all count as valid: nothing is removed, though the call is still forwarded. Such a call does occur (libcni leaves
/// the key out when its caller gave no list), and taking it for an empty list would cut off every container of a live node.
/// A list that is there and empty (`[]`, or `null`, which is how Go writes an empty list) means what it says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ValidAttachments {
    given: bool,
    by_id: BTreeMap<String, BTreeSet<String>>,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(rename = "containerID")]
    container_id: String,
    ifname: String,
}

impl ValidAttachments {
    /// A list with these attachments: container id and interface name.
    pub fn new<'a>(attachments: impl IntoIterator<Item = (&'a str, &'a str)>) -> ValidAttachments {
        let mut by_id = BTreeMap::<String, BTreeSet<String>>::new();
        for (id, ifname) in attachments {
            by_id.entry(id.to_owned()).or_default().insert(ifname.to_owned());
        }
        ValidAttachments { given: true, by_id }
    }

    /// No list: everything is valid.
    pub fn unspecified() -> ValidAttachments {
        ValidAttachments::default()
    }

    /// The list that a configuration carries.
    pub(super) fn from_config(config: &Value) -> Result<ValidAttachments, Error> {
        let Some((key, list)) = KEYS.iter().find_map(|key| Some((key, config.get(key)?))) else {
            return Ok(ValidAttachments::unspecified());
        };
        let entries: Option<Vec<Entry>> = decode::from_value(list)
            .map_err(|error| Error::new(Code::DECODING_FAILURE, format!("invalid {key}: {error}")))?;
        let entries = entries.unwrap_or_default();
        Ok(ValidAttachments::new(entries.iter().map(|entry| (entry.container_id.as_str(), entry.ifname.as_str()))))
    }

    /// Whether the call carried a list at all. Without one there is nothing to collect.
    pub fn is_specified(&self) -> bool {
        self.given
    }

    /// Whether this attachment is alive, or may be.
    pub fn contains(&self, id: &str, ifname: &str) -> bool {
        !self.given || self.by_id.get(id).is_some_and(|ifnames| ifnames.contains(ifname))
    }

    /// Whether any attachment of this container is alive, or may be: for things that do not record the interface.
    pub fn contains_id(&self, id: &str) -> bool {
        !self.given || self.by_id.contains_key(id)
    }

    /// The attachments of the list, sorted by container id and interface name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.by_id.iter().flat_map(|(id, ifnames)| ifnames.iter().map(|ifname| (id.as_str(), ifname.as_str())))
    }
}
