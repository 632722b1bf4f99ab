//! What a container is kept from, beside its namespaces and capabilities.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::seccomp::Profile;
use crate::written::written_as_text;

/// The walls of a container that are no namespaces.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Security {
    /// Which system calls there are.
    pub seccomp: Seccomp,
    /// Absolute paths inside which read as empty.
    pub masked: Vec<PathBuf>,
    /// Absolute paths inside which cannot be written.
    pub read_only: Vec<PathBuf>,
    /// Settings of the container's own namespaces, in the order given.
    pub sysctls: Vec<Sysctl>,
    /// Whether the container gets a session keyring of its own, rather than its caller's.
    pub new_keyring: bool,
    /// Whether programs in the container may make user namespaces, as far as seccomp lets them.
    pub user_namespaces: bool,
}

/// Which filter of system calls applies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Seccomp {
    /// The built-in one, which knows the container's capabilities.
    Default,
    /// None.
    Unconfined,
    /// One of the user's, as it was read when the container was made.
    Profile(Profile),
}

impl Security {
    /// The walls of a container that is not privileged.
    #[must_use]
    pub fn confined() -> Self {
        Self {
            seccomp: Seccomp::Default,
            masked: MASKED.map(PathBuf::from).to_vec(),
            read_only: READ_ONLY.map(PathBuf::from).to_vec(),
            sysctls: Vec::new(),
            new_keyring: true,
            user_namespaces: true,
        }
    }

    /// What is left of them when it is.
    #[must_use]
    pub fn privileged() -> Self {
        Self { seccomp: Seccomp::Unconfined, masked: Vec::new(), read_only: Vec::new(), ..Self::confined() }
    }
}

/// What /proc and /sys show that a container must not read: kernel memory, keys, timing of others, firmware, power.
const MASKED: [&str; 13] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
    "/sys/fs/selinux",
];

/// What /proc lets root change for the whole host.
const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// A setting of the kernel that belongs to a namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sysctl {
    name: String,
    value: String,
}

/// The namespace that a setting belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SysctlScope {
    /// The network namespace.
    Net,
    /// The IPC namespace.
    Ipc,
    /// The UTS namespace.
    Uts,
}

/// Settings of the IPC namespace, beside those under `fs.mqueue`.
const IPC: [&str; 8] = [
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shm_rmid_forced",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
];

impl Sysctl {
    /// The setting `name`, which must belong to a namespace: all others are the host's.
    ///
    /// # Errors
    ///
    /// A name that is not made of words joined by dots, or that is not known to belong to a namespace; a value of
    /// several lines.
    pub fn new(name: &str, value: &str) -> Result<Self> {
        let word =
            |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
        if !name.split('.').all(word) {
            return Err(Error::new(format!(
                "invalid sysctl name {name:?}: expected words of letters, digits, '_' and '-' joined by dots"
            )));
        }
        if value.bytes().any(|b| b == 0 || b == b'\n') {
            return Err(Error::new(format!("the value of sysctl {name} is not one line")));
        }
        let sysctl = Self { name: name.to_owned(), value: value.to_owned() };
        match sysctl.find_scope() {
            Some(_) => Ok(sysctl),
            None => Err(Error::new(format!(
                "sysctl {name} belongs to the whole host, not to a namespace; a container may not set it"
            ))),
        }
    }

    fn find_scope(&self) -> Option<SysctlScope> {
        let under = |prefix: &str| self.name.strip_prefix(prefix).is_some_and(|rest| !rest.is_empty());
        match self.name.as_str() {
            "kernel.domainname" => Some(SysctlScope::Uts),
            name if IPC.contains(&name) || under("fs.mqueue.") => Some(SysctlScope::Ipc),
            _ if under("net.") => Some(SysctlScope::Net),
            _ => None,
        }
    }

    /// The namespace that the setting belongs to.
    #[must_use]
    pub fn scope(&self) -> SysctlScope {
        // Only names that have one are made.
        self.find_scope().unwrap_or(SysctlScope::Net)
    }

    /// The name, with dots.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The value as it is written.
    #[must_use]
    pub fn value(&self) -> &str {
        &self.value
    }

    /// The file of the setting, relative to a procfs.
    #[must_use]
    pub fn file(&self) -> String {
        format!("sys/{}", self.name.replace('.', "/"))
    }
}

impl FromStr for Sysctl {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (name, value) =
            text.split_once('=').ok_or_else(|| Error::new(format!("invalid sysctl {text:?}: expected NAME=VALUE")))?;
        Self::new(name, value)
    }
}

impl fmt::Display for Sysctl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.name, self.value)
    }
}

written_as_text!(Sysctl);

#[cfg(test)]
mod tests {
    use super::*;

    /// Requirement: P-28.
    #[test]
    fn only_settings_of_namespaces_by_plain_names() {
        for (text, scope, file) in [
            ("net.ipv4.ip_forward=1", SysctlScope::Net, "sys/net/ipv4/ip_forward"),
            ("net.core.somaxconn=1024", SysctlScope::Net, "sys/net/core/somaxconn"),
            ("kernel.sem=250 32000 32 128", SysctlScope::Ipc, "sys/kernel/sem"),
            ("fs.mqueue.msg_max=8", SysctlScope::Ipc, "sys/fs/mqueue/msg_max"),
            ("kernel.domainname=example.org", SysctlScope::Uts, "sys/kernel/domainname"),
        ] {
            let sysctl: Sysctl = text.parse().unwrap();
            assert_eq!((sysctl.scope(), sysctl.file().as_str(), sysctl.to_string().as_str()), (scope, file, text));
        }
        let refused = [
            "kernel.core_pattern=x",
            "kernel.hostname=x",
            "kernel.sem2=1",
            "vm.swappiness=1",
            "fs.file-max=1",
            "fs.mqueue=1",
            "fs.mqueue.=1",
            "net=1",
            "net.=1",
            "net..ipv4=1",
            "net.ipv4.ip_forward+kernel.x=1",
            "net/../kernel/core_pattern=x",
            "net.../kernel=1",
            "net.ipv4/ip_forward=1",
            "net.ipv4.ip_forward",
            "=1",
            "net.ipv4.ip_forward=1\n2",
            "NET.ipv4.ip_forward=1",
        ];
        for text in refused {
            assert!(text.parse::<Sysctl>().is_err(), "{text:?}");
        }
    }
}
