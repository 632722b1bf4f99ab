//! A container's user namespace, from its parent's side.
//!
//! The kernel makes it together with the other namespaces, so it owns them, and the container's root can do with them what
//! root does with the host's. Before it can do anything at all somebody outside has to say which ids it has: the parent
//! writes the maps, and sends along what the mapped root could not open itself.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::unistd::{Gid, Pid, Uid, setfsgid, setfsuid};
use serde::{Deserialize, Serialize};

use crate::error::{Context, Error, Result};
use crate::id::Name;
use crate::process::channel::ChildEnd;
use crate::process::child::Child;
use crate::process::wait::Running;
use crate::rootless;
use crate::setup::apply::Trees;
use crate::setup::trees::{RootTree, Tree};
use crate::setup::{Op, privilege};
use crate::spec::{IdMap, Users};
use crate::sys;
use crate::sys::ns::Kind;

/// Writes the maps of the user namespace that the child `pid`, not yet reaped, was born into.
fn write_maps(pid: Pid, users: &Users) -> Result<()> {
    let write = |file: &str, maps: &[IdMap]| {
        let path = PathBuf::from(format!("/proc/{pid}/{file}"));
        let lines: String = maps.iter().map(|m| format!("{} {} {}\n", m.inside, m.outside, m.count)).collect();
        // In one write, which the kernel insists on.
        let written = File::options().write(true).open(&path).and_then(|mut map| map.write_all(lines.as_bytes()));
        written.context(|| format!("map the container's ids: write {} to {}", lines.trim_end(), path.display()))
    };
    write("uid_map", &users.uids)?;
    write("gid_map", &users.gids)
}

/// `users` if file systems can be mounted with owners translated for them. Only the host's root can have that, for file systems
/// that the host has mounted.
pub(crate) fn translated(users: Option<&Users>) -> Option<&Users> {
    users.filter(|users| !users.is_identity() && sys::ns::in_initial_user())
}

/// Does `work` as somebody whose files belong to `owner`, with the rights of before. An overlay makes files on its own
/// account, as who has mounted it; on a layer with translated owners these must be ids that the translation knows.
pub(crate) fn as_owner<T>(owner: (u32, u32), work: impl FnOnce() -> Result<T>) -> Result<T> {
    let held = sys::caps::permitted().context(|| "read the capabilities")?;
    let become_one = |(uid, gid)| {
        setfsgid(Gid::from_raw(gid));
        setfsuid(Uid::from_raw(uid));
        // A change of user takes what concerns files out of the effective set.
        sys::caps::set(held, held, 0).context(|| "keep the capabilities")
    };
    let done = become_one(owner).and_then(|()| work());
    become_one((0, 0))?;
    done
}

/// What comes with the word that the ids are mapped: as many descriptors as this says, in this order.
#[derive(Debug, Serialize, Deserialize)]
struct Gift {
    /// The `tasks` files of the version 1 groups.
    tasks: usize,
    /// After the root file system, the trees below it.
    below: Vec<String>,
    /// The source of each mount, and whether there is a volume to be filled with it.
    mounts: Vec<Option<bool>>,
}

/// Maps the ids of the child behind `pidfd`, and gives it what is needed for `ops`.
pub(crate) fn provide(running: &Running<'_>, users: &Users, child: &Child<'_>) -> Result<()> {
    write_maps(running.pid, users)?;
    let userns = namespace(running)?;
    let maker = child.maker(Some(userns.as_fd()));
    let root = maker.root()?;
    let sources = child.ops.iter().filter_map(|op| match op {
        Op::Source(mount) => Some(maker.source(mount)),
        _ => None,
    });
    let mounts = sources.collect::<Result<Vec<_>>>()?;
    let tasks = child.groups.iter().map(|group| {
        let path = group.join("tasks");
        File::options().write(true).open(&path).context(|| format!("open {}", path.display()))
    });
    let tasks = tasks.collect::<Result<Vec<_>>>()?;
    let gift = Gift {
        tasks: tasks.len(),
        below: root.below.iter().map(|(name, _)| name.clone()).collect(),
        mounts: mounts.iter().map(|m| m.as_ref().map(|tree| tree.fill.is_some())).collect(),
    };
    let mut fds: Vec<BorrowedFd<'_>> = tasks.iter().map(AsFd::as_fd).collect();
    fds.push(root.root.as_fd());
    fds.extend(root.below.iter().map(|(_, tree)| tree.as_fd()));
    for tree in mounts.iter().flatten() {
        fds.push(tree.mount.as_fd());
        fds.extend(tree.fill.as_ref().map(AsFd::as_fd));
    }
    running.channel.give(&gift, &fds)
}

/// The user namespace of the container's first process.
pub(crate) fn namespace(running: &Running<'_>) -> Result<OwnedFd> {
    sys::ns::of_process(running.pidfd.as_fd(), running.pid, Kind::User)
        .context(|| "open the container's user namespace")
}

/// The child's side of [`provide`]: waits, becomes root of its namespace, and answers what it was given.
pub(crate) fn receive(channel: &ChildEnd) -> Result<(Vec<File>, Trees)> {
    let (gift, fds): (Gift, _) = channel.take()?;
    let mut fds = fds.into_iter();
    let mut next = || fds.next().ok_or_else(|| Error::new("the parent has given too little"));
    let tasks = (0..gift.tasks).map(|_| next().map(File::from)).collect::<Result<_>>()?;
    let root = next()?;
    let below = gift.below.into_iter().map(|name| Ok((name, next()?))).collect::<Result<_>>()?;
    let mut mounts = VecDeque::new();
    for source in gift.mounts {
        mounts.push_back(match source {
            None => None,
            Some(fill) => Some(Tree { mount: next()?, fill: if fill { Some(next()?) } else { None } }),
        });
    }
    privilege::become_root()?;
    Ok((tasks, Trees { root: Some(RootTree::given(root, below)), mounts }))
}

/// What a container gets from `--userns auto`.
const RANGE: u32 = 65536;
/// Ids from here on belong to no person and no service, by the conventions of distributions.
const FIRST: u32 = 524_288;
/// And from here on they are special again.
const LAST: u32 = 0x6fff_0000;

/// Every id for itself: a user namespace for other things than ids. In one that has not all ids, those that it has.
pub(crate) fn identity() -> Result<Users> {
    if sys::ns::in_initial_user() {
        return Users::identity();
    }
    let [uids, gids] = rootless::identity()?;
    Users::new(uids, gids)
}

/// The caller's own ids inside, too, for a caller who is root only in a user namespace; root and the others inside are of those
/// that were lent to the caller.
pub(crate) fn keep_id() -> Result<Users> {
    let caller = rootless::caller().ok_or_else(|| {
        Error::new("--userns keep-id is for users other than root: root's id is what a user namespace is to hide")
    })?;
    let [uids, gids] = rootless::identity()?;
    let keep = |what: &str, maps: &[IdMap], own: u32| {
        // The caller is 0 out here, and the lent ones follow from 1 on.
        let lent = maps.iter().map(|map| map.inside.saturating_add(map.count)).max().unwrap_or(1) - 1;
        if own == 0 || lent < own {
            return Err(Error::new(format!(
                "--userns keep-id takes {own} {what} ids beside the caller's own, and {lent} are lent (/etc/sub{what})"
            )));
        }
        let rest = (lent > own).then(|| IdMap::new(own + 1, own + 1, lent - own));
        [IdMap::new(0, 1, own), IdMap::new(own, 0, 1)].into_iter().chain(rest).collect::<Result<Vec<_>>>()
    };
    Users::new(keep("uid", &uids, caller.uid.as_raw())?, keep("gid", &gids, caller.gid.as_raw())?)
}

/// A range of ids that no running process has in its namespace's map. Where to begin looking follows from the
/// container's own id, so containers that come at the same time do not look at the same place.
pub(crate) fn free_range(id: &Name) -> Result<Users> {
    if !sys::ns::in_initial_user() {
        return free_slice(id);
    }
    let taken = maps_in_use("uid_map");
    let slots = (LAST - FIRST) / RANGE;
    let start = beginning(id);
    let base = |n: u32| FIRST + (start.wrapping_add(n) % slots) * RANGE;
    let free = |base: &u32| {
        let (from, to) = (u64::from(*base), u64::from(*base) + u64::from(RANGE));
        !taken.iter().any(|(first, count)| *first < to && from < first + count)
    };
    let base =
        (0..slots).map(base).find(free).ok_or_else(|| Error::new("--userns auto: all ranges of ids are in use"))?;
    Users::shifted(base, base, RANGE)
}

/// Where container `id` begins to look.
fn beginning(id: &Name) -> u32 {
    u32::from_str_radix(&id.as_str()[..7.min(id.as_str().len())], 16).unwrap_or_default()
}

/// What a container gets from `--userns auto` out of the ids that were lent to a person, of which there may be few.
const SLICE: u32 = 1024;

/// The same for somebody without root: a slice of the ids that were lent, which do not include the caller's own.
fn free_slice(id: &Name) -> Result<Users> {
    let [uids, gids] = rootless::identity()?;
    let find = |maps: &[IdMap], file: &str| {
        let (all, taken) = (slices(maps), maps_in_use(file));
        let ends = |base: u32| (u64::from(base), u64::from(base) + u64::from(SLICE));
        let is_free = |base: &u32| !taken.iter().any(|(from, n)| *from < ends(*base).1 && ends(*base).0 < from + n);
        let first = beginning(id) as usize % all.len().max(1);
        all[first..].iter().chain(&all[..first]).copied().find(is_free).ok_or_else(|| {
            Error::new(format!(
                "--userns auto: no {SLICE} of the ids that are lent to you are free (/etc/subuid, /etc/subgid); there are \
                 keep-id, UID:GID:SIZE and --uidmap, too"
            ))
        })
    };
    Users::shifted(find(&uids, "uid_map")?, find(&gids, "gid_map")?, SLICE)
}

/// Where the slices of the lent ids begin, each in one piece of them, as the kernel wants it.
fn slices(maps: &[IdMap]) -> Vec<u32> {
    let lent = maps.iter().filter(|map| map.inside > 0);
    lent.flat_map(|map| (0..map.count / SLICE).map(|n| map.inside + n * SLICE)).collect()
}

/// The ranges, as they are numbered here, that all running processes' user namespaces map by their `file`. Everything but the initial
/// namespace's, which maps all there are. Without the host's root only those count that were made in this process' own.
fn maps_in_use(file: &str) -> Vec<(u64, u64)> {
    let mut found: Vec<(u64, u64)> = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        if !sys::ns::in_initial_user() && !is_right_below(&entry.path().join("ns/user")) {
            continue;
        }
        let map = fs::read_to_string(entry.path().join(file)).unwrap_or_default();
        for line in map.lines() {
            let fields: Vec<u64> = line.split_whitespace().filter_map(|field| field.parse().ok()).collect();
            if let [_, outside, count] = fields[..] {
                let range = (outside, count);
                if count < u64::from(u32::MAX) && !found.contains(&range) {
                    found.push(range);
                }
            }
        }
    }
    found
}

/// Whether the user namespace `file` was made in this process' own.
fn is_right_below(file: &Path) -> bool {
    let above = File::open(file).ok().and_then(|namespace| sys::ns::parent(namespace.as_fd()).ok());
    let inode = above.and_then(|above| File::from(above).metadata().ok()).map(|meta| meta.ino());
    inode.is_some() && inode == fs::metadata("/proc/self/ns/user").ok().map(|meta| meta.ino())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Requirement: S1-U2.
    #[test]
    fn slices_are_of_the_lent_ids_and_in_one_piece() {
        let map = |inside, count| IdMap::new(inside, inside, count).unwrap();
        assert_eq!(slices(&[map(0, 1), map(1, 2100), map(2101, 1024), map(3125, 500)]), [1, 1025, 2101]);
        assert_eq!(slices(&[map(0, 1)]), Vec::<u32>::new());
    }

    #[test]
    fn ranges_are_of_nobody_and_follow_from_the_id() {
        let (a, b) = (Name::random().unwrap(), Name::random().unwrap());
        let base = |id: &Name| free_range(id).unwrap().uids[0].outside;
        assert_ne!(base(&a), base(&b));
        assert_eq!(base(&a), base(&a));
        assert!((FIRST..LAST).contains(&base(&a)) && base(&a) % RANGE == 0);
    }
}
