//! What this host has of cgroups, and where a container is in it.

use std::fs;
use std::path::PathBuf;

use serde::Serialize;

use super::{Group, Hierarchy, Kind};

/// One controller of the kernel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Controller {
    /// By its name in version 1.
    pub(crate) name: String,
    /// Why it can be used, or not.
    pub(crate) state: State,
    /// Where its hierarchy is mounted.
    pub(crate) mount: Option<PathBuf>,
    /// Options that need it, and cannot be used when it is not there.
    pub(crate) flags: Vec<&'static str>,
}

/// How a controller can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    /// In a hierarchy of version 1.
    V1,
    /// In that of version 2.
    V2,
    /// Enabled, but in no hierarchy that is mounted.
    Unbound,
    /// By `cgroup_disable=` on the kernel's command line.
    Disabled,
}

/// Options by the controllers that they need.
const FLAGS: [(&str, &[&str]); 6] = [
    ("memory", &["--memory", "--memory-swap", "--memory-reservation", "--memory-swappiness", "--oom-kill-disable"]),
    ("cpu", &["--cpus", "--cpu-period", "--cpu-quota", "--cpu-shares"]),
    ("cpuset", &["--cpuset-cpus", "--cpuset-mems"]),
    ("pids", &["--pids-limit"]),
    (
        "blkio",
        &["--blkio-weight", "--device-read-bps", "--device-write-bps", "--device-read-iops", "--device-write-iops"],
    ),
    ("freezer", &["pause"]),
];

/// The controllers of this kernel: those of `hierarchies`, and what the text of /proc/cgroups says of the rest.
pub(crate) fn controllers(hierarchies: &[Hierarchy], table: &str) -> Vec<Controller> {
    let known = table.lines().filter(|line| !line.starts_with('#'));
    let entries = known.filter_map(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let name = (*fields.first()?).to_owned();
        let home = hierarchies.iter().find(|h| h.has(&name));
        let state = match home.map(|h| &h.kind) {
            Some(Kind::V1 { .. }) => State::V1,
            Some(Kind::V2) => State::V2,
            None if fields.get(3) == Some(&"0") => State::Disabled,
            None => State::Unbound,
        };
        let flags = FLAGS.iter().find(|(controller, _)| *controller == name).map(|(_, flags)| flags.to_vec());
        Some(Controller { name, state, mount: home.map(Hierarchy::top), flags: flags.unwrap_or_default() })
    });
    entries.collect()
}

/// Whether limits that need it can be kept.
pub(crate) fn is_usable(controller: &Controller) -> bool {
    matches!(controller.state, State::V1 | State::V2)
}

/// `1`, `2`, or `hybrid` where the controllers are in version 1 and version 2 is there beside it.
pub(crate) fn version(hierarchies: &[Hierarchy]) -> &'static str {
    let two = hierarchies.iter().any(|h| h.kind == Kind::V2);
    match (hierarchies.iter().any(|h| h.kind != Kind::V2), two) {
        (true, true) => "hybrid",
        (false, _) => "2",
        (true, false) => "1",
    }
}

/// A container's group in one hierarchy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Place {
    /// The controllers of the hierarchy; `unified` for version 2.
    pub(crate) controllers: String,
    /// The directory.
    pub(crate) path: PathBuf,
    /// The files that say most, with what they say.
    pub(crate) files: Vec<(String, String)>,
}

/// Files worth showing, of both versions.
const KEY_FILES: [&str; 20] = [
    "memory.limit_in_bytes",
    "memory.usage_in_bytes",
    "memory.max",
    "memory.current",
    "cpu.shares",
    "cpu.cfs_quota_us",
    "cpu.cfs_period_us",
    "cpu.weight",
    "cpu.max",
    "cpuset.cpus",
    "cpuset.mems",
    "cpuacct.usage",
    "pids.max",
    "pids.current",
    "freezer.state",
    "cgroup.freeze",
    "cgroup.events",
    "io.max",
    "devices.list",
    "cgroup.controllers",
];

impl Group<'_> {
    /// Where the container is, hierarchy by hierarchy.
    pub(crate) fn places(&self) -> Vec<Place> {
        let place = |hierarchy: &Hierarchy| {
            let path = self.dir(hierarchy);
            let controllers = match &hierarchy.kind {
                Kind::V1 { controllers } => controllers.join(","),
                Kind::V2 => "unified".to_owned(),
            };
            let read =
                |name: &&str| Some(((*name).to_owned(), fs::read_to_string(path.join(name)).ok()?.trim().to_owned()));
            let files = KEY_FILES.iter().filter_map(read).collect();
            Place { controllers, path, files }
        };
        self.hierarchies.iter().filter(|h| self.dir(h).is_dir()).map(place).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_controller_is_somewhere_or_told_why_not() {
        let table = "#subsys_name\thierarchy\tnum_cgroups\tenabled\ncpu\t2\t5\t1\nmemory\t0\t1\t0\nnet_cls\t0\t1\t1\n";
        let mount = PathBuf::from("/sys/fs/cgroup/cpu");
        let hierarchies = [Hierarchy {
            kind: Kind::V1 { controllers: vec!["cpu".into()] },
            mount: mount.clone(),
            below: PathBuf::new(),
        }];
        let found: Vec<_> = controllers(&hierarchies, table).into_iter().map(|c| (c.name, c.state, c.mount)).collect();
        let expected = [
            ("cpu".to_owned(), State::V1, Some(mount)),
            ("memory".to_owned(), State::Disabled, None),
            ("net_cls".to_owned(), State::Unbound, None),
        ];
        assert_eq!(found, expected);
    }
}
