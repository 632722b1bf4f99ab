//! Control groups, on version 1, version 2, and both at once.
//!
//! Nothing is assumed about names or places. The hierarchies are what /proc/self/cgroup and the mount table say, and
//! a container gets a group of the same name, `PARENT/ID`, in every one of them: limits go where the controller
//! lives, and the version 2 group, if there is one, serves the life cycle even without controllers: a child is born
//! into it, and everything in it can be killed at once.
//!
//! Limits are written before anybody is in the group. Whatever is made here is first named in the container's log,
//! so that it can be removed by somebody else. All functions work below the mount points that they are
//! given, which in tests are plain directories.

mod discover;
pub(crate) mod mount;
mod remove;
mod v1;
mod v2;

use std::fs;
use std::path::{Path, PathBuf};

pub use discover::{Hierarchy, Kind};
pub(crate) use remove::{kill, remove, restore_controllers};

use crate::error::{Context, Error, Result};
use crate::id::Name;
use crate::spec::Limits;

/// The hierarchies of this host.
pub(crate) fn of_host() -> Result<Vec<Hierarchy>> {
    let read = |path: &str| fs::read_to_string(path).context(|| format!("read {path}"));
    Ok(discover::parse(&read("/proc/self/mountinfo")?, &read("/proc/self/cgroup")?))
}

/// A container's group in every hierarchy.
#[derive(Debug)]
pub(crate) struct Group<'a> {
    hierarchies: &'a [Hierarchy],
    parent: Name,
    id: Name,
}

/// A value to be written before the group is used.
#[derive(Debug, PartialEq, Eq)]
struct Setting {
    controller: &'static str,
    file: &'static str,
    value: String,
    /// Absent files of optional settings are skipped.
    optional: bool,
}

impl<'a> Group<'a> {
    pub(crate) fn new(hierarchies: &'a [Hierarchy], parent: &Name, id: &Name) -> Self {
        Self { hierarchies, parent: parent.clone(), id: id.clone() }
    }

    /// Every directory that [`Group::create`] may make for this container.
    pub(crate) fn dirs(&self) -> Vec<PathBuf> {
        self.hierarchies.iter().map(|h| self.dir(h)).collect()
    }

    /// The version 2 controllers that must be switched on for `limits`, with the file that does it at the root.
    pub(crate) fn controllers_to_enable(&self, limits: &Limits) -> Option<(PathBuf, Vec<&'static str>)> {
        let unified = self.hierarchies.iter().find(|h| h.kind == Kind::V2)?;
        let control = unified.mount.join("cgroup.subtree_control");
        let enabled = fs::read_to_string(&control).unwrap_or_default();
        let missing: Vec<_> =
            self.wanted(limits).filter(|c| unified.has(c) && !enabled.split_whitespace().any(|e| e == *c)).collect();
        (!missing.is_empty()).then_some((control, missing))
    }

    /// Makes the groups and writes the limits. Hierarchies in which nothing can be made are left out, unless a limit
    /// needs them. Answers the directories made: of version 1, and of version 2.
    pub(crate) fn create(&self, limits: &Limits) -> Result<(Vec<PathBuf>, Option<PathBuf>)> {
        self.check(limits)?;
        let (mut ones, mut two) = (Vec::new(), None);
        for hierarchy in self.hierarchies {
            let needed = self.wanted(limits).any(|c| hierarchy.has(c));
            match self.create_in(hierarchy, limits) {
                Ok(dir) if hierarchy.kind == Kind::V2 => two = Some(dir),
                Ok(dir) => ones.push(dir),
                Err(error) if needed => return Err(error),
                // A read-only or delegated tree: the container runs, uncounted, in its caller's group.
                Err(_) => {}
            }
        }
        Ok((ones, two))
    }

    /// The controllers that `limits` need.
    fn wanted(&self, limits: &Limits) -> impl Iterator<Item = &'static str> + use<> {
        let Limits { memory, millicpus, pids } = *limits;
        [memory.map(|_| "memory"), millicpus.map(|_| "cpu"), pids.map(|_| "pids")].into_iter().flatten()
    }

    /// Refuses a limit that no mounted hierarchy can keep.
    fn check(&self, limits: &Limits) -> Result<()> {
        match self.wanted(limits).find(|c| !self.hierarchies.iter().any(|h| h.has(c))) {
            None => Ok(()),
            Some(controller) => Err(Error::new(format!(
                "the cgroup controller {controller:?} is not available on this host, so the limit cannot be kept \
                 (see /proc/cgroups and the mounts under /sys/fs/cgroup)"
            ))),
        }
    }

    fn dir(&self, hierarchy: &Hierarchy) -> PathBuf {
        hierarchy.mount.join(self.parent.as_str()).join(self.id.as_str())
    }

    fn create_in(&self, hierarchy: &Hierarchy, limits: &Limits) -> Result<PathBuf> {
        let dir = self.dir(hierarchy);
        let mut attempts = ATTEMPTS;
        loop {
            match self.prepare_parent(hierarchy, limits).and_then(|()| make(&dir)) {
                Ok(()) => break,
                // Another container's end has removed the parent in this moment.
                Err(_) if attempts > 0 && !dir.parent().is_some_and(Path::exists) => attempts -= 1,
                Err(error) => return Err(error),
            }
        }
        let settings = match &hierarchy.kind {
            Kind::V1 { .. } => {
                v1::inherit_cpuset(hierarchy, &dir)?;
                v1::settings(limits)
            }
            Kind::V2 => v2::settings(limits),
        };
        for setting in settings.iter().filter(|s| hierarchy.has(s.controller)) {
            write(&dir, setting)?;
        }
        Ok(dir)
    }

    fn prepare_parent(&self, hierarchy: &Hierarchy, limits: &Limits) -> Result<()> {
        let parent = hierarchy.mount.join(self.parent.as_str());
        fs::create_dir_all(&parent).context(|| format!("make the cgroup {}", parent.display()))?;
        match &hierarchy.kind {
            Kind::V1 { .. } => v1::inherit_cpuset(hierarchy, &parent),
            Kind::V2 => {
                let wanted: Vec<_> = self.wanted(limits).filter(|c| hierarchy.has(c)).collect();
                v2::enable(&hierarchy.mount, &wanted)?;
                v2::enable(&parent, &wanted)
            }
        }
    }
}

/// How often a parent that others keep removing is made again.
const ATTEMPTS: u32 = 100;

fn make(dir: &Path) -> Result<()> {
    fs::create_dir(dir).context(|| format!("make the cgroup {}", dir.display()))
}

fn write(dir: &Path, setting: &Setting) -> Result<()> {
    let path = dir.join(setting.file);
    if setting.optional && !path.exists() {
        return Ok(());
    }
    fs::write(&path, &setting.value)
        .context(|| format!("set the {} limit: write {} to {}", setting.controller, setting.value, path.display()))
}

#[cfg(test)]
mod tests;
