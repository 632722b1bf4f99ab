//! Options about the namespaces of a container.

use clap::{Args, ValueEnum};

use crate::binfmt;
use crate::error::{Error, Result};
use crate::id::Name;
use crate::spec::{IdMap, NamespaceMode, Namespaces, TimeOffsets, User, Users, Who};
use crate::{rootless, userns};

/// Which namespaces the container has to itself.
#[derive(Debug, Args)]
#[command(next_help_heading = "Namespaces")]
pub(in crate::cli) struct NamespaceFlags {
    /// Which processes it sees: private, host, or container:NAME
    #[arg(long, value_name = "MODE", default_value = "private", hide_default_value = true)]
    pid: NamespaceMode,
    /// Whose shared memory and message queues it uses: private, host, or container:NAME
    #[arg(long, value_name = "MODE", default_value = "private", hide_default_value = true)]
    ipc: NamespaceMode,
    /// Whose host name it has: private, host, or container:NAME
    #[arg(long, value_name = "MODE", default_value = "private", hide_default_value = true)]
    uts: NamespaceMode,
    /// Whether its own cgroup looks like the root: private or host
    #[arg(long, value_name = "MODE", default_value = "private", hide_default_value = true)]
    cgroupns: NamespaceMode,
    /// Whose ids it has: host, auto (a range of nobody's; without root of the ids that are lent), keep-id (without root: the caller's own), or UID:GID:SIZE (the host's ids of its root, and how many)
    #[arg(long, value_name = "MODE")]
    userns: Option<String>,
    /// Map users one run at a time
    #[arg(long, value_name = "INSIDE:OUTSIDE[:COUNT]", conflicts_with = "userns")]
    uidmap: Vec<IdMap>,
    /// Map groups one run at a time; as the users without
    #[arg(long, value_name = "INSIDE:OUTSIDE[:COUNT]", conflicts_with = "userns")]
    gidmap: Vec<IdMap>,
    /// Run programs of this platform, such as linux/arm64, by the host's emulator
    #[arg(long, value_name = "OS/ARCH")]
    platform: Option<String>,
    /// Shift a clock inside: boottime=SECONDS or monotonic=SECONDS
    #[arg(long, value_name = "CLOCK=SECONDS")]
    time_offset: Vec<String>,
    /// Use the host's namespaces of these kinds: pid, ipc, uts, cgroup
    #[arg(long, value_name = "KINDS", value_delimiter = ',')]
    no_ns: Vec<Shared>,
    /// none: the same for all of these kinds
    #[arg(long, value_name = "none", value_parser = ["none"])]
    ns: Option<String>,
}

/// A kind of namespace that can be shared with the host by one option.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Shared {
    Pid,
    Ipc,
    Uts,
    Cgroup,
}

impl NamespaceFlags {
    /// The namespaces that the flags mean, for container `id`.
    pub(in crate::cli) fn namespaces(&self, id: &Name) -> Result<Namespaces> {
        let mut time = None;
        for text in &self.time_offset {
            time.get_or_insert_with(TimeOffsets::default).set(text)?;
        }
        let mode = |given: &NamespaceMode, kind| match *given == NamespaceMode::Private && self.shares(kind) {
            true => NamespaceMode::Host,
            false => given.clone(),
        };
        if let NamespaceMode::Container(_) = self.cgroupns {
            return Err(Error::new("--cgroupns is private or host: a container cannot be in two groups"));
        }
        let emulator = self.platform.as_deref().map(binfmt::for_platform).transpose()?.flatten();
        // A registration of one's own takes a user namespace of one's own.
        let identity = emulator.as_ref().map(|_| userns::identity()).transpose()?;
        Ok(Namespaces {
            pid: mode(&self.pid, Shared::Pid),
            ipc: mode(&self.ipc, Shared::Ipc),
            uts: mode(&self.uts, Shared::Uts),
            cgroup: mode(&self.cgroupns, Shared::Cgroup),
            user: self.users(id)?.or(identity),
            emulator,
            time,
        })
    }

    fn users(&self, id: &Name) -> Result<Option<Users>> {
        match (self.userns.as_deref(), &self.uidmap[..], &self.gidmap[..]) {
            (None, [], []) | (Some("host" | ""), ..) => Ok(None),
            (None, uids, []) | (None, [], uids) => Users::new(uids.to_vec(), uids.to_vec()).map(Some),
            (None, uids, gids) => Users::new(uids.to_vec(), gids.to_vec()).map(Some),
            (Some("auto" | "private"), ..) => userns::free_range(id).map(Some),
            (Some("keep-id"), ..) => userns::keep_id().map(Some),
            (Some(text), ..) => range(text).map(Some),
        }
    }

    /// Who the command is if nobody says anything else.
    pub(in crate::cli) fn user(&self) -> Option<User> {
        let caller = rootless::caller().filter(|_| self.userns.as_deref() == Some("keep-id"))?;
        let id = |id: u32| Who::Id(id);
        Some(User { user: id(caller.uid.as_raw()), group: Some(id(caller.gid.as_raw())) })
    }

    fn shares(&self, kind: Shared) -> bool {
        self.ns.is_some() || self.no_ns.contains(&kind)
    }
}

/// `UID:GID:SIZE`.
fn range(text: &str) -> Result<Users> {
    let invalid =
        || Error::new(format!("invalid user namespace {text:?}: expected host, auto, keep-id or UID:GID:SIZE"));
    let numbers = text.split(':').map(|part| part.parse::<u32>().map_err(|_| invalid()));
    match numbers.collect::<Result<Vec<_>>>()?[..] {
        [uid, gid, size] if !text.contains('+') => Users::shifted(uid, gid, size),
        _ => Err(invalid()),
    }
}
