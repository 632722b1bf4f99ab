//! What the steps of the parent are, for people.

use std::path::Path;

use nix::libc;
use nix::sched::CloneFlags;

use crate::cgroup::Group;
use crate::spec::{Dirs, Spec, Users};
use crate::state::Container;
use crate::storage::Place;

use super::Told;

/// The directories of a new container.
pub(crate) fn container(spec: &Spec, dirs: &Dirs) -> Told {
    format!("mkdir {} {}", dirs.state.join(spec.id.as_str()).display(), dirs.container(&spec.id).display()).into()
}

/// The directories of its changes.
pub(crate) fn layer(spec: &Spec, dirs: &Dirs) -> Told {
    let place = Place::of(&dirs.data, &spec.id);
    format!("mkdir {}/{{diff,work,merged}}", place.dir().display()).into()
}

/// Its groups.
pub(crate) fn cgroups(group: &Group<'_>) -> Told {
    let (path, tops) = group.path_below();
    let tops: Vec<String> = tops.iter().map(|top| top.display().to_string()).collect();
    format!("mkdir {} below {}", path.display(), tops.join(", ")).into()
}

/// The call that makes its first process. `in_group` says whether it is born into its group of version 2.
pub(crate) fn clone3(flags: libc::c_int, in_group: bool) -> Told {
    let flags = CloneFlags::from_bits_retain(flags);
    let mut names: Vec<&str> = flags.iter_names().map(|(name, _)| name).collect();
    names.extend(in_group.then_some("CLONE_INTO_CGROUP"));
    format!("clone3({})", names.join("|")).into()
}

/// The ids of its user namespace, and what its root could not open.
pub(crate) fn users(users: &Users) -> Told {
    let lines: Vec<String> =
        users.uids.iter().map(|map| format!("{} {} {}", map.inside, map.outside, map.count)).collect();
    format!("echo '{}' > /proc/PID/uid_map, and gid_map; make the root file system", lines.join(", ")).into()
}

/// The name of its network namespace.
pub(crate) fn pin(path: &Path) -> Told {
    format!("mount --bind /proc/PID/ns/net {}", path.display()).into()
}

/// Its files of /etc.
pub(crate) fn etc(dir: &Path) -> Told {
    format!("write hostname, hosts and resolv.conf to {}", dir.display()).into()
}

/// The record of its run.
pub(crate) fn publish(container: &Container) -> Told {
    format!("write {}", container.dir.join("info.json").display()).into()
}
