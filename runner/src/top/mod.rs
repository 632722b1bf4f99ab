//! The processes of a container, as the host sees them.
//!
//! They are what is in the container's groups, those below them included; so what `exec` has brought in is there, and nobody
//! else is, whichever namespaces the container shares. Somebody without root may have no groups: then they are what has
//! the container's mount namespace, which is always its own, and what that has started. Everything is read from /proc: neither
//! the host nor the image needs a `ps`.

mod process;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

pub(crate) use process::{NAMESPACES, Row};

/// What is in the groups `dirs` of the container whose first process is `first`, in the order of their numbers. A process that ends
/// meanwhile is left out.
pub(crate) fn rows(dirs: &[PathBuf], first: i32) -> Vec<Row> {
    let users = process::users();
    let clock = process::Clock::now();
    let mut pids = pids(dirs);
    if pids.is_empty() {
        pids = around(first);
    }
    pids.into_iter().filter_map(|pid| Row::read(pid, &users, &clock)).collect()
}

/// The processes in the mount namespace of `first`, and all that descend from them.
fn around(first: i32) -> BTreeSet<i32> {
    let mounts = |pid: i32| fs::metadata(format!("/proc/{pid}/ns/mnt")).ok().map(|meta| meta.ino());
    let Some(own) = mounts(first) else { return BTreeSet::new() };
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let all: Vec<i32> = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    let mut found: BTreeSet<i32> = all.iter().copied().filter(|pid| mounts(*pid) == Some(own)).collect();
    let parents: Vec<_> = all.iter().filter_map(|pid| Some((*pid, process::parent(*pid)?))).collect();
    loop {
        let before = found.len();
        let children: Vec<_> =
            parents.iter().filter(|(_, parent)| found.contains(parent)).map(|(pid, _)| *pid).collect();
        found.extend(children);
        if found.len() == before {
            return found;
        }
    }
}

/// The numbers of all processes in the first of these groups that can be read. A process is in all of them.
fn pids(dirs: &[PathBuf]) -> BTreeSet<i32> {
    let mut found = BTreeSet::new();
    // The version 2 hierarchy is the last in the kernel's list, and the one that every process is born into.
    if let Some(dir) = dirs.iter().rev().find(|dir| dir.join("cgroup.procs").exists()) {
        collect(dir, &mut found);
    }
    found
}

fn collect(dir: &Path, found: &mut BTreeSet<i32>) {
    let text = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
    // Zero is a process of a pid namespace that this one cannot see.
    found.extend(text.lines().filter_map(|line| line.parse().ok()).filter(|pid: &i32| *pid > 0));
    for below in fs::read_dir(dir).into_iter().flatten().flatten() {
        if below.file_type().is_ok_and(|kind| kind.is_dir()) {
            collect(&below.path(), found);
        }
    }
}
