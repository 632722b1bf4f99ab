//! Without root: one decision at the very beginning.
//!
//! What making a container takes (mounts, owners, groups) the kernel lets anybody do in a user namespace of one's own. So an
//! `xnet` that is not root's first puts itself into one, together with a mount namespace, and executes itself again in
//! there. From then on it is root, of a small world: the caller's own id is root's, and the ids that /etc/subuid and
//! /etc/subgid lend to the caller are the others ([`ids`]). Everything else is the ordinary way; what the kernel keeps for the
//! host's root shows as a refusal, and the few places that have another way then ask
//! [`sys::ns::in_initial_user`](crate::sys::ns::in_initial_user), so they serve as well for a root in somebody else's container.
//!
//! There is one such world at a time for each state directory. A process of one user namespace has no rights over those of
//! another, so `xnet stop` has to go where the container is: every `xnet` notes itself in `STATE/.userns` ([`world`]),
//! under a lock, and enters the namespaces of one that still runs. The world ends with the last of them; no process
//! is there only to keep it.
//!
//! What the second execution has to know comes in the environment: the directories, as if they had been asked for
//! ([`places`]), and who the caller is.

mod ids;
pub(crate) mod network;
pub(crate) mod places;
mod world;

pub(crate) use ids::identity;

use std::env;
use std::ffi::OsString;

use nix::unistd::{Gid, Uid, getegid, geteuid};

use crate::cgroup::Hierarchy;
use crate::error::{Error, Result};
use crate::spec::Dirs;
use crate::sys::ns;

/// Holds `UID:GID` of the caller, in the second execution.
const CALLER: &str = "XNET_ROOTLESS";

/// What the second execution has to know.
pub(crate) type Environment = Vec<(&'static str, OsString)>;

/// Who has called, as the host numbers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Caller {
    pub(crate) uid: Uid,
    pub(crate) gid: Gid,
}

impl Caller {
    /// The user of this process.
    pub(crate) fn this() -> Self {
        Self { uid: geteuid(), gid: getegid() }
    }
}

/// Whether this process has not the rights to make containers, and has to get them first.
pub(crate) fn is_needed() -> bool {
    !geteuid().is_root()
}

/// Who has called, if this is the second execution. A word in the environment of the host's root means nothing.
pub(crate) fn caller() -> Option<Caller> {
    let text = env::var(CALLER).ok()?;
    if ns::in_initial_user() {
        return None;
    }
    let (uid, gid) = text.split_once(':')?;
    Some(Caller { uid: Uid::from_raw(uid.parse().ok()?), gid: Gid::from_raw(gid.parse().ok()?) })
}

/// What somebody without root goes without on this host, each in a sentence; nothing for root. `hierarchies` are those of which
/// a part is delegated.
pub(crate) fn missing(hierarchies: &[Hierarchy]) -> Vec<String> {
    if caller().is_none() {
        return Vec::new();
    }
    let mut all = vec!["networks of bridges: they are root's".to_owned()];
    if let Some((_, Some(error))) = network::default() {
        all.push(format!("networks, but for those of others, and published ports: {}", error.message));
    }
    let few = identity().is_ok_and(|maps| maps.iter().any(|maps| maps.iter().map(|map| map.count).sum::<u32>() == 1));
    if few {
        all.push(
            "users and groups other than the caller's: newuidmap (package uidmap), /etc/subuid and /etc/subgid"
                .to_owned(),
        );
    }
    if hierarchies.is_empty() {
        all.push("limits, pause, statistics of use: no cgroup is delegated".to_owned());
    }
    if crate::sys::mount::Context::open(c"overlay").is_err() {
        all.push(
            "stacked layers: this kernel lets only root mount overlays, so root file systems are copied".to_owned(),
        );
    }
    all.push("device nodes other than the harmless ones; owners translated by mounts".to_owned());
    all
}

/// Makes this process root of the caller's own user namespace: of the one in which others of this user's run, or of a new one.
/// Answers the environment for the second execution, and what is missing, for people.
///
/// # Errors
/// The kernel, or its configuration, does not let people have user namespaces.
pub(crate) fn enter(dirs: &Dirs) -> Result<(Environment, Option<Error>)> {
    let caller = Caller::this();
    places::make(&dirs.state)?;
    let missing = world::enter(&dirs.state, caller)?;
    let mut all: Environment = vec![(CALLER, format!("{}:{}", caller.uid, caller.gid).into())];
    all.extend(places::environment(dirs));
    Ok((all, missing))
}
