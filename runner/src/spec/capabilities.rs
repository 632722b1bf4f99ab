//! Sets of capabilities, by the names that people know.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// The names of linux/capability.h without `CAP_`; a name's place is its number.
const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// One capability, by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Capability(u8);

impl Capability {
    /// `CAP_MKNOD`.
    pub const MKNOD: Self = Self(27);
    /// `CAP_SYS_ADMIN`.
    pub const SYS_ADMIN: Self = Self(21);

    /// The number of linux/capability.h.
    #[must_use]
    pub fn number(self) -> u32 {
        u32::from(self.0)
    }
}

impl FromStr for Capability {
    type Err = Error;

    /// A name in any letter case, with or without `CAP_`.
    fn from_str(text: &str) -> Result<Self> {
        let upper = text.to_ascii_uppercase();
        let name = upper.strip_prefix("CAP_").unwrap_or(&upper);
        let at = NAMES.iter().position(|known| *known == name);
        at.and_then(|number| u8::try_from(number).ok())
            .map(Self)
            .ok_or_else(|| Error::new(format!("unknown capability {text:?}; `man 7 capabilities` lists them")))
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMES.get(usize::from(self.0)) {
            Some(name) => write!(f, "CAP_{name}"),
            None => write!(f, "CAP_{}", self.0),
        }
    }
}

/// A set of capabilities. Written down as a list of names.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<String>", into = "Vec<String>")]
pub struct CapabilitySet(u64);

impl CapabilitySet {
    /// No capability.
    pub const EMPTY: Self = Self(0);
    /// Every capability that this program has a name for.
    pub const ALL: Self = Self((1 << NAMES.len()) - 1);

    /// A bit per capability, as the kernel has it.
    #[must_use]
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// Whether the set holds the capability.
    #[must_use]
    pub fn has(self, capability: Capability) -> bool {
        self.0 & (1 << capability.0) != 0
    }

    /// The set and one more.
    #[must_use]
    pub fn with(self, capability: Capability) -> Self {
        Self(self.0 | 1 << capability.0)
    }

    /// The set but for one.
    #[must_use]
    pub fn without(self, capability: Capability) -> Self {
        Self(self.0 & !(1 << capability.0))
    }

    /// What is in either set.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What is in both sets.
    #[must_use]
    pub fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// The members, by number.
    pub fn iter(self) -> impl Iterator<Item = Capability> {
        (0_u8..64).map(Capability).filter(move |c| self.has(*c))
    }
}

impl FromIterator<Capability> for CapabilitySet {
    fn from_iter<T: IntoIterator<Item = Capability>>(iter: T) -> Self {
        iter.into_iter().fold(Self::EMPTY, Self::with)
    }
}

impl TryFrom<Vec<String>> for CapabilitySet {
    type Error = Error;

    fn try_from(names: Vec<String>) -> Result<Self> {
        names.iter().map(|name| name.parse::<Capability>()).collect()
    }
}

impl From<CapabilitySet> for Vec<String> {
    fn from(set: CapabilitySet) -> Self {
        set.iter().map(|capability| capability.to_string()).collect()
    }
}

/// The five sets of a process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capabilities {
    /// What no program in the container can ever get beyond.
    pub bounding: CapabilitySet,
    /// What the command may switch on.
    pub permitted: CapabilitySet,
    /// What is switched on.
    pub effective: CapabilitySet,
    /// What a file's inheritable set is compared with.
    pub inheritable: CapabilitySet,
    /// What a user other than root keeps over an `execve`. Root has all that it is permitted anyway, and gets none.
    pub ambient: CapabilitySet,
}

/// The set that container runtimes have settled on. Programs may make device nodes only where the container's cgroup
/// decides which devices can be opened; elsewhere such a node, on a volume say, would be a door to the host's disks.
#[must_use]
pub fn default_set(devices_are_guarded: bool) -> CapabilitySet {
    const NUMBERS: [u8; 14] = [0, 1, 3, 4, 5, 6, 7, 8, 10, 13, 18, 27, 29, 31];
    let set: CapabilitySet = NUMBERS.map(Capability).into_iter().collect();
    if devices_are_guarded { set } else { set.without(Capability::MKNOD) }
}

impl Capabilities {
    /// `base` changed by `--cap-add` and `--cap-drop`, either of which may be `ALL`. What is both added and dropped by name
    /// is dropped; a name beats `ALL`.
    ///
    /// # Errors
    ///
    /// An unknown name.
    pub fn from_flags(base: CapabilitySet, add: &[String], drop: &[String]) -> Result<Self> {
        let all = |list: &[String]| list.iter().any(|name| name.eq_ignore_ascii_case("ALL"));
        let named = |list: &[String]| -> Result<CapabilitySet> {
            let names = list.iter().filter(|name| !name.eq_ignore_ascii_case("ALL"));
            names.map(|name| name.parse::<Capability>()).collect()
        };
        let (added, dropped) = (named(add)?, named(drop)?);
        let start = match (all(add), all(drop)) {
            (true, _) => CapabilitySet::ALL,
            (false, true) => CapabilitySet::EMPTY,
            (false, false) => base,
        };
        let set = CapabilitySet(start.union(added).0 & !dropped.0);
        let asked = if all(add) { set } else { added.intersection(set) };
        Ok(Self { bounding: set, permitted: set, effective: set, inheritable: CapabilitySet::EMPTY, ambient: asked })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(add: &[&str], drop: &[&str]) -> Result<Capabilities> {
        let owned = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
        Capabilities::from_flags(default_set(true), &owned(add), &owned(drop))
    }

    #[test]
    fn names_are_taken_with_and_without_prefix_in_any_case() {
        for name in ["NET_ADMIN", "cap_net_admin", "Cap_Net_Admin", "net_admin"] {
            assert_eq!(name.parse::<Capability>().unwrap().number(), 12, "{name}");
        }
        for bad in ["", "CAP_", "NET ADMIN", "ALL", "CAP_CAP_KILL", "12"] {
            assert!(bad.parse::<Capability>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn names_beat_all_and_dropping_beats_adding() {
        let default = default_set(true);
        assert_eq!(flags(&[], &[]).unwrap().bounding, default);
        assert_eq!(flags(&[], &["ALL"]).unwrap().bounding, CapabilitySet::EMPTY);
        assert_eq!(flags(&["all"], &[]).unwrap().bounding, CapabilitySet::ALL);
        let kill: Capability = "KILL".parse().unwrap();
        assert_eq!(flags(&["KILL"], &["ALL"]).unwrap().bounding, CapabilitySet::EMPTY.with(kill));
        assert_eq!(flags(&["ALL"], &["KILL"]).unwrap().bounding, CapabilitySet::ALL.without(kill));
        assert_eq!(flags(&["KILL"], &["KILL"]).unwrap().bounding, default.without(kill));
        assert!(flags(&["NO_SUCH"], &[]).is_err());
    }

    #[test]
    fn nothing_is_inheritable_and_only_what_was_added_is_ambient() {
        let none = flags(&[], &[]).unwrap();
        assert_eq!((none.inheritable, none.ambient), (CapabilitySet::EMPTY, CapabilitySet::EMPTY));
        let added = flags(&["SYS_TIME"], &[]).unwrap();
        assert_eq!(Vec::<String>::from(added.ambient), ["CAP_SYS_TIME"]);
        assert_eq!(added.inheritable, CapabilitySet::EMPTY);
    }

    #[test]
    fn sets_are_written_as_names() {
        let set = default_set(true);
        let text = serde_json::to_string(&set).unwrap();
        assert!(text.starts_with("[\"CAP_CHOWN\",\"CAP_DAC_OVERRIDE\",\"CAP_FOWNER\""), "{text}");
        assert_eq!(serde_json::from_str::<CapabilitySet>(&text).unwrap(), set);
    }
}
