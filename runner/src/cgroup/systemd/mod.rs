//! systemd as the one who makes groups: `--cgroup-manager systemd`, and `--systemd-cgroup` of an engine.
//!
//! On a host that systemd runs, it takes itself for the only one who writes to the tree of groups: what others make it may
//! rearrange, and limits that it was not told of it may undo. So it is asked for a transient scope, a unit for processes
//! that somebody else has started, below a slice, and it is told all limits that it has names for. After that the scope
//! is a group like any other: everything is written to its files as well, in the units of the kernel and with
//! what systemd has no name for, and hierarchies that systemd does not look after get a group at the same path.
//!
//! A scope cannot be empty, and the container is to be born into a group that has its limits. So a process that does nothing
//! holds the place until then (`keeper`). It counts as a task: the limit for those is set when it has gone.
//!
//! systemd drops a scope as soon as the last process has left it, so there is nothing to be undone but what a crash between
//! two steps may leave. One call and one signal on the bus are all that it costs, and nothing at all without the option.

mod keeper;
mod properties;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use plugins::bus::{self, Answer, Bus, Method, OwnedObjectPath, Variant};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::spec::Limits;

use super::devices::Rule;
use super::{Group, Groups, Kind};

use keeper::Keeper;
use properties::Property;

/// How long systemd may take. It starts nothing; but it may be busy with other jobs.
const PATIENCE: Duration = Duration::from_secs(30);
/// Its manager object.
const MANAGER: Method = Method {
    destination: "org.freedesktop.systemd1",
    path: "/org/freedesktop/systemd1",
    interface: "org.freedesktop.systemd1.Manager",
    member: "",
    may_start: false,
};
/// The end of a job.
const ENDED: &str = "JobRemoved";
/// The slice of containers that ask for none.
pub(crate) const USUAL_SLICE: &str = "system.slice";

/// A scope in a slice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unit {
    slice: String,
    name: String,
}

impl Unit {
    /// `PREFIX-NAME.scope` in a slice, the usual one if that is empty.
    pub(crate) fn new(slice: &str, prefix: &str, name: &str) -> Result<Self> {
        let slice = if slice.is_empty() { USUAL_SLICE } else { slice };
        let is_slice = slice.len() > ".slice".len() && slice.ends_with(".slice");
        if !is_slice || !is_plain(slice) {
            return Err(Error::new(format!("{slice:?} is not the name of a slice of systemd, such as {USUAL_SLICE}")));
        }
        let name = if prefix.is_empty() { format!("{name}.scope") } else { format!("{prefix}-{name}.scope") };
        match name.len() {
            7..=255 if is_plain(&name) => Ok(Self { slice: slice.to_owned(), name }),
            _ => Err(Error::new(format!("{name:?} cannot be the name of a unit of systemd"))),
        }
    }

    /// Where systemd makes its group, below the root of a hierarchy: `a-b.slice` lies in `a.slice`.
    pub(crate) fn path(&self) -> PathBuf {
        let stem = self.slice.trim_end_matches(".slice");
        let above = stem.match_indices('-').filter_map(|(at, _)| Some(format!("{}.slice", stem.get(..at)?)));
        // `-.slice` is the root itself.
        let slices = above.chain([self.slice.clone()]).filter(|_| stem != "-");
        slices.chain([self.name.clone()]).collect()
    }

    /// Has systemd make the scope, with these limits and, where they are not left to the container, devices. Nobody is in it
    /// but the keeper.
    fn start(&self, limits: &Limits, devices: Option<&[Rule]>) -> Result<Scope> {
        let keeper = Keeper::start()?;
        let mut wanted = properties::of_scope(&self.slice, keeper.pid());
        wanted.extend(properties::of_limits(limits));
        wanted.extend(devices.into_iter().flat_map(properties::of_devices));
        let started = connect().and_then(|mut bus| self.run_job(&mut bus, wanted).map(|()| bus));
        match started {
            Ok(bus) => Ok(Scope { unit: self.clone(), bus, keeper }),
            Err(error) => Err(Error::new(format!(
                "ask systemd for the scope {}: {error} (--cgroup-manager cgroupfs makes groups without it)",
                self.name
            ))),
        }
    }

    fn run_job(&self, bus: &mut Bus, properties: Vec<Property>) -> Result<(), bus::Error> {
        let rule = format!(
            "type='signal',sender='{}',path='{}',interface='{}',member='{ENDED}'",
            MANAGER.destination, MANAGER.path, MANAGER.interface
        );
        bus.listen(&rule)?;
        // Without a subscriber systemd sends no signals.
        bus.call(&Method { member: "Subscribe", ..MANAGER }, &[], PATIENCE)?;
        // Units to make along with it: none.
        let auxiliary: Vec<(String, Vec<Property>)> = Vec::new();
        let arguments = (self.name.as_str(), "fail", properties, auxiliary);
        let answer = bus.ask(&Method { member: "StartTransientUnit", ..MANAGER }, &arguments, PATIENCE)?;
        let Answer::Path(job) = answer else {
            return Err(bus::Error::Broken("systemd answers without a job".to_owned()));
        };
        let mine =
            |(_, path, _, result): (u32, OwnedObjectPath, String, String)| (path.as_str() == job).then_some(result);
        match bus.hear(ENDED, PATIENCE, mine)?.as_str() {
            "done" => Ok(()),
            result => Err(bus::Error::Broken(format!("its job has ended with {result:?}"))),
        }
    }

    /// Tells systemd new limits of the scope.
    pub(crate) fn set(&self, limits: &Limits) -> Result<()> {
        let mut wanted = properties::of_limits(limits);
        wanted.extend(properties::of_tasks(limits));
        if wanted.is_empty() {
            return Ok(());
        }
        let told = connect().and_then(|mut bus| self.tell(&mut bus, wanted));
        told.map_err(|error| Error::new(format!("tell systemd the limits of {}: {error}", self.name)))
    }

    fn tell(&self, bus: &mut Bus, properties: Vec<Property>) -> Result<(), bus::Error> {
        // For as long as the unit is there, not beyond.
        let arguments = (self.name.as_str(), true, properties);
        bus.ask(&Method { member: "SetUnitProperties", ..MANAGER }, &arguments, PATIENCE).map(drop)
    }

    /// Has systemd forget the scope, whose processes have ended. It does so by itself, too, as a rule before it is told.
    pub(crate) fn stop(&self) -> Result<()> {
        let stop =
            |mut bus: Bus| bus.call(&Method { member: "StopUnit", ..MANAGER }, &[&self.name, "replace"], PATIENCE);
        match connect().and_then(stop) {
            Ok(_) | Err(bus::Error::Absent(_)) => Ok(()),
            Err(bus::Error::Refused { name, .. }) if name.ends_with(".NoSuchUnit") => Ok(()),
            Err(error) => Err(Error::new(format!("have systemd stop {}: {error}", self.name))),
        }
    }
}

/// Has systemd make the scope `unit`, where `group` is, and makes what it leaves to us. `devices` are those that may be used,
/// unless all may.
pub(crate) fn prepare(
    unit: &Unit,
    group: &Group<'_>,
    limits: &Limits,
    devices: Option<&[Rule]>,
) -> Result<(Groups, Scope)> {
    if group.hierarchies.iter().all(|h| h.kind != Kind::V2) {
        return Err(Error::new(
            "systemd's scopes take a hierarchy of version 2, and none is mounted (--cgroup-manager cgroupfs does not)",
        ));
    }
    let scope = unit.start(limits, devices)?;
    scope.check(group)?;
    // The keeper counts, so the limit of tasks comes later.
    let made = Group { prepared: true, path: group.path.clone(), ..*group }
        .create(&Limits { pids: None, ..limits.clone() })?;
    Ok((made, scope))
}

/// Letters that stand for themselves in names of units and of files.
fn is_plain(name: &str) -> bool {
    !name.starts_with('.') && name.bytes().all(|b| b.is_ascii_alphanumeric() || b":_.-@\\".contains(&b))
}

fn connect() -> Result<Bus, bus::Error> {
    Bus::system(std::env::var_os("DBUS_SYSTEM_BUS_ADDRESS").as_deref())
}

/// A scope that waits for its first process.
#[derive(Debug)]
pub(crate) struct Scope {
    unit: Unit,
    bus: Bus,
    keeper: Keeper,
}

impl Scope {
    /// Refuses a scope that is not where the container is to be born.
    fn check(&self, group: &Group<'_>) -> Result<()> {
        let pid = self.keeper.pid().to_string();
        let is_in =
            |dir: &Path| fs::read_to_string(dir.join("cgroup.procs")).is_ok_and(|text| text.lines().any(|l| l == pid));
        match group.hierarchies.iter().find(|h| h.kind == Kind::V2).map(|h| group.dir(h)) {
            Some(dir) if !is_in(&dir) => {
                let (name, dir) = (&self.unit.name, dir.display());
                Err(Error::new(format!("systemd has made the scope {name} elsewhere than at {dir}")))
            }
            _ => Ok(()),
        }
    }

    /// The container's first process is in it, so the keeper goes, and the tasks are limited.
    pub(crate) fn hand_over(mut self, group: &Group<'_>, limits: &Limits) -> Result<()> {
        drop(self.keeper);
        let Some(task_limit) = properties::of_tasks(limits) else { return Ok(()) };
        let told = self.unit.tell(&mut self.bus, vec![task_limit]);
        told.map_err(|error| Error::new(format!("tell systemd the limit of tasks of {}: {error}", self.unit.name)))?;
        group.apply(&Limits { pids: limits.pids, ignore_missing: limits.ignore_missing, ..Limits::default() })
    }
}

/// A property's value, from what it is made of.
fn value<'a>(from: impl Into<Variant<'a>>) -> Variant<'a> {
    from.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_lies_in_its_slices() {
        let path = |slice: &str, prefix: &str, name: &str| Unit::new(slice, prefix, name).unwrap().path();
        assert_eq!(path("", "xnet", "1"), PathBuf::from("system.slice/xnet-1.scope"));
        assert_eq!(path("-.slice", "", "web"), PathBuf::from("web.scope"));
        assert_eq!(
            path("user-1-2.slice", "cri", "web"),
            PathBuf::from("user.slice/user-1.slice/user-1-2.slice/cri-web.scope")
        );
        for (slice, name) in
            [("system", "a"), (".slice", "a"), ("a/b.slice", "a"), ("a.slice", "../a"), ("a.slice", "")]
        {
            assert!(Unit::new(slice, "", name).is_err(), "{slice:?} {name:?}");
        }
    }
}
