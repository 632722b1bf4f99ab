//! Control groups, on version 1, version 2, and both at once.
//!
//! Nothing is assumed about names or places. The hierarchies are what /proc/self/cgroup and the mount table say, and
//! a container gets a group of the same name in every one of them: limits go where the controller lives, and the
//! version 2 group, if there is one, serves the life cycle even without controllers: a child is born into it, and
//! everything in it can be killed at once.
//!
//! The name is `xnet-ID`, at the top. A directory for all of them would have to be made and removed in every hierarchy by
//! the first and the last; who wants one gives it by `--cgroup-parent`, and the group is `PARENT/ID`.
//!
//! Limits are written before anybody is in the group. Whatever is made here is first named in the container's log,
//! so that it can be removed by somebody else. All functions work below the mount points that they are
//! given, which in tests are plain directories.

pub mod devices;
mod discover;
pub(crate) mod freeze;
pub(crate) mod mount;
mod remove;
mod setting;
pub(crate) mod stats;
pub(crate) mod survey;
pub(crate) mod systemd;
mod v1;
mod v2;

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

pub use discover::{Hierarchy, Kind};
pub(crate) use remove::{clear, kill, remove_trees, restore_controllers};

use crate::error::{Context, Error, Result};
use crate::id::Name;
use crate::kernel_file;
use crate::spec::{Limits, Spec};
use crate::sys::ns::in_initial_user;

use setting::Setting;

/// The length of a CPU period, which both versions have as their default.
const PERIOD_US: u64 = 100_000;

/// The hierarchies of this host, as they were when this was first asked; without its rights, those of which a part is delegated
/// to this process.
pub(crate) fn of_host() -> Result<Vec<Hierarchy>> {
    static FOUND: OnceLock<Vec<Hierarchy>> = OnceLock::new();
    if let Some(found) = FOUND.get() {
        return Ok(found.clone());
    }
    let read = |path: &str| kernel_file::list(path).context(|| format!("read {path}"));
    let own = read("/proc/self/cgroup")?;
    let all = discover::parse(&read("/proc/self/mountinfo")?, &own).into_iter();
    let found = match in_initial_user() {
        true => all.map(|(hierarchy, _)| hierarchy).collect(),
        false => all.filter_map(|(hierarchy, group)| discover::delegated(hierarchy, group)).collect(),
    };
    Ok(FOUND.get_or_init(|| found).clone())
}

/// The controllers that `limits` need, and that are not there, or not delegated to this process.
pub(crate) fn unkept(limits: &Limits) -> Result<Vec<String>> {
    Group::at(&of_host()?, Path::new("")).unkept(limits)
}

/// Why somebody without root has no `what`, and who could change that.
pub(crate) fn undelegated(what: &str) -> Error {
    Error::new(format!(
        "no cgroup {what} is delegated to you (under systemd those below user@UID.service are, on version 2 of cgroups: see \
         Delegate= in systemd.resource-control)"
    ))
}

/// The directories of a container's group, by version.
pub(crate) type Groups = (Vec<PathBuf>, Option<PathBuf>);

/// A container's group in every hierarchy.
#[derive(Debug)]
pub(crate) struct Group<'a> {
    hierarchies: &'a [Hierarchy],
    /// Below the root of each hierarchy.
    path: PathBuf,
    /// Whether it is there already where systemd makes groups.
    prepared: bool,
}

impl<'a> Group<'a> {
    /// That of the container `spec`.
    pub(crate) fn of(hierarchies: &'a [Hierarchy], spec: &Spec) -> Self {
        match &spec.scope {
            Some(unit) => Self::at(hierarchies, &unit.path()),
            None => Self::new(hierarchies, spec.cgroup_parent.as_ref(), &spec.id),
        }
    }

    /// `PARENT/ID`, or `xnet-ID` without a parent.
    pub(crate) fn new(hierarchies: &'a [Hierarchy], parent: Option<&Name>, id: &Name) -> Self {
        let path =
            parent.map_or_else(|| at_the_top(id.as_str()), |parent| Path::new(parent.as_str()).join(id.as_str()));
        Self::at(hierarchies, &path)
    }

    /// The group at `path`, relative and without `..`, below the root of each hierarchy.
    pub(crate) fn at(hierarchies: &'a [Hierarchy], path: &Path) -> Self {
        Self { hierarchies, path: path.to_owned(), prepared: false }
    }

    /// Every directory that [`Group::create`] may make for this container.
    pub(crate) fn dirs(&self) -> Vec<PathBuf> {
        self.hierarchies.iter().map(|h| self.dir(h)).collect()
    }

    /// The path of the group, and the roots below which it is.
    pub(crate) fn path_below(&self) -> (&Path, Vec<PathBuf>) {
        (&self.path, self.hierarchies.iter().map(Hierarchy::top).collect())
    }

    /// What a person would type to make it, with its limits, once it is there.
    pub(crate) fn typed(&self, limits: &Limits) -> Vec<String> {
        let mut lines = Vec::new();
        for hierarchy in self.hierarchies {
            let (dir, settings) = (self.dir(hierarchy), hierarchy.settings(limits).unwrap_or_default());
            let mut levels = vec![hierarchy.top()];
            for name in &self.path {
                levels.extend(levels.last().map(|above| above.join(name)));
            }
            lines.push(format!("mkdir -p {}", dir.display()));
            // Version 1 lets nobody into a group without processors.
            for pair in levels.windows(2).filter(|_| hierarchy.kind != Kind::V2 && hierarchy.has("cpuset")) {
                let pair: Vec<_> = pair.iter().map(|group| group.display()).collect();
                let copy = |of| format!("cat {}/cpuset.{of} > {}/cpuset.{of}", pair[0], pair[1]);
                lines.extend(["cpus", "mems"].map(copy));
            }
            levels.pop();
            let controllers: BTreeSet<_> = settings.iter().map(|one| hierarchy.own_name(&one.controller)).collect();
            for name in controllers.iter().filter(|_| hierarchy.kind == Kind::V2) {
                let switch = |group: &PathBuf| format!("echo +{name} > {}/cgroup.subtree_control", group.display());
                lines.extend(levels.iter().map(switch));
            }
            lines.extend(settings.iter().filter_map(|setting| setting.typed(&dir)));
        }
        lines
    }

    /// Refuses a group that somebody else uses: its processes would be ended with the container's.
    pub(crate) fn check_free(&self) -> Result<()> {
        let used = |dir: &PathBuf| dir.is_dir() && !(is_empty(dir) && has_no_groups(dir));
        match self.dirs().into_iter().find(used) {
            Some(dir) => Err(Error::new(format!("the cgroup {} is in use already", dir.display()))),
            None => Ok(()),
        }
    }

    /// The version 2 controllers that must be switched on for `limits`, with the file that does it at the root.
    pub(crate) fn controllers_to_enable(&self, limits: &Limits) -> Option<(PathBuf, Vec<String>)> {
        let unified = self.hierarchies.iter().find(|h| h.kind == Kind::V2)?;
        let control = unified.top().join("cgroup.subtree_control");
        let enabled = kernel_file::value(&control).unwrap_or_default();
        let missing: Vec<_> = unified
            .settings(limits)
            .ok()?
            .into_iter()
            .map(|setting| unified.own_name(&setting.controller).to_owned())
            .filter(|c| !enabled.split_whitespace().any(|e| e == *c))
            .fold(Vec::new(), |all, c| if all.contains(&c) { all } else { [all, vec![c]].concat() });
        (!missing.is_empty()).then_some((control, missing))
    }

    /// Makes the groups and writes the limits. Hierarchies in which nothing can be made are left out, unless a limit
    /// needs them. Answers the directories made: of version 1, and of version 2.
    pub(crate) fn create(&self, limits: &Limits) -> Result<Groups> {
        self.check(limits)?;
        let (mut ones, mut two) = (Vec::new(), None);
        for hierarchy in self.hierarchies {
            let settings = hierarchy.settings(limits)?;
            match self.create_in(hierarchy, &settings) {
                Ok(dir) if hierarchy.kind == Kind::V2 => two = Some(dir),
                Ok(dir) => ones.push(dir),
                Err(error) if !settings.is_empty() => return Err(error),
                // A read-only or delegated tree: the container runs, uncounted, in its caller's group.
                Err(_) => {}
            }
        }
        Ok((ones, two))
    }

    /// Writes limits into the groups that are there.
    pub(crate) fn apply(&self, limits: &Limits) -> Result<()> {
        self.check(limits)?;
        for hierarchy in self.hierarchies {
            let (dir, settings) = (self.dir(hierarchy), hierarchy.settings(limits)?);
            // Neither of memory and memory with swap can pass the other, so the order depends on where they were.
            let mut refused: Vec<_> = settings.iter().filter(|setting| setting.write(&dir).is_err()).collect();
            refused.reverse();
            refused.into_iter().try_for_each(|setting| setting.write(&dir))?;
        }
        Ok(())
    }

    /// Refuses a limit that no mounted hierarchy can keep.
    fn check(&self, limits: &Limits) -> Result<()> {
        if self.hierarchies.iter().any(|h| h.kind == Kind::V2 && h.has("memory")) {
            v2::check(limits)?;
        }
        match self.unkept(limits)?.into_iter().next() {
            Some(controller) if !limits.ignore_missing => Err(Error::new(format!(
                "the cgroup controller {controller:?} is not available on this host, so the limit cannot be kept \
                 (see xnet info; --ignore-missing-cgroup runs the container without it)"
            ))),
            _ => Ok(()),
        }
    }

    /// The controllers that `limits` need and that are in no hierarchy.
    fn unkept(&self, limits: &Limits) -> Result<Vec<String>> {
        let kept = |name: &String| self.hierarchies.iter().any(|h| h.has(name));
        let settings = v1::settings(limits)?.into_iter().chain(Setting::raw(limits));
        let mut missing: Vec<String> =
            settings.map(|setting| setting.controller.clone()).filter(|c| !kept(c)).collect();
        missing.dedup();
        Ok(missing)
    }

    fn dir(&self, hierarchy: &Hierarchy) -> PathBuf {
        hierarchy.top().join(&self.path)
    }

    fn create_in(&self, hierarchy: &Hierarchy, settings: &[Setting]) -> Result<PathBuf> {
        let dir = self.dir(hierarchy);
        let mut attempts = ATTEMPTS;
        let is_new = loop {
            match self.prepare_parent(hierarchy, settings).and_then(|()| self.make(&dir)) {
                Ok(is_new) => break is_new,
                // Another container's end has removed the parent in this moment.
                Err(_) if attempts > 0 && !dir.parent().is_some_and(Path::exists) => attempts -= 1,
                Err(error) => return Err(error),
            }
        };
        if matches!(hierarchy.kind, Kind::V1 { .. }) {
            v1::inherit_cpuset(hierarchy, &dir, is_new)?;
        }
        settings.iter().try_for_each(|setting| setting.write(&dir))?;
        Ok(dir)
    }

    fn make(&self, dir: &Path) -> Result<bool> {
        if self.prepared && dir.is_dir() { Ok(false) } else { make(dir) }
    }

    fn prepare_parent(&self, hierarchy: &Hierarchy, settings: &[Setting]) -> Result<()> {
        let parents = self.path.parent().unwrap_or(Path::new(""));
        if parents != Path::new("") {
            make_all(&hierarchy.top().join(parents))?;
        }
        let wanted: Vec<_> = settings.iter().map(|setting| hierarchy.own_name(&setting.controller)).collect();
        let mut level = hierarchy.top();
        if hierarchy.kind == Kind::V2 {
            v2::enable(&level, &wanted)?;
        }
        for name in parents {
            level.push(name);
            match &hierarchy.kind {
                Kind::V1 { .. } => v1::inherit_cpuset(hierarchy, &level, false)?,
                Kind::V2 => v2::enable(&level, &wanted)?,
            }
        }
        Ok(())
    }
}

impl Hierarchy {
    /// What is written into a group of this hierarchy for `limits`.
    fn settings(&self, limits: &Limits) -> Result<Vec<Setting>> {
        let all = match &self.kind {
            Kind::V1 { .. } => v1::settings(limits)?,
            Kind::V2 => v2::settings(limits)?,
        };
        Ok(all.into_iter().chain(Setting::raw(limits)).filter(|setting| self.has(&setting.controller)).collect())
    }
}

/// How the names of groups begin that have no parent of ours.
const PREFIX: &str = "xnet-";

/// The group of the container `id` that was not given a parent.
pub(crate) fn at_the_top(id: &str) -> PathBuf {
    format!("{PREFIX}{id}").into()
}

/// How often a parent that others keep removing is made again.
const ATTEMPTS: u32 = 100;

/// Most often only the last one is missing, or none.
fn make_all(dir: &Path) -> Result<()> {
    match fs::create_dir(dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => fs::create_dir_all(dir),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
    .context(|| format!("make the cgroup {}", dir.display()))
}

/// An engine may have made it before; then nobody must be in it. Answers whether it was not there.
fn make(dir: &Path) -> Result<bool> {
    match fs::create_dir(dir) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists && is_empty(dir) => Ok(false),
        made => made.map(|()| true).context(|| format!("make the cgroup {}", dir.display())),
    }
}

fn is_empty(dir: &Path) -> bool {
    kernel_file::value(dir.join("cgroup.procs")).is_ok_and(|text| text.is_empty())
}

fn has_no_groups(dir: &Path) -> bool {
    fs::read_dir(dir).is_ok_and(|mut entries| {
        !entries.any(|entry| entry.is_ok_and(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())))
    })
}

#[cfg(test)]
mod tests;
