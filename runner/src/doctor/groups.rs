//! The layout of cgroups, and what cannot be kept with it.

use std::fs;

use crate::cgroup::survey::{controllers, is_usable, version};
use crate::cgroup::{self, Kind};
use crate::error::Result;
use crate::rootless;

use super::Report;

pub(super) fn check(report: &mut Report) -> Result<()> {
    let hierarchies = cgroup::of_host()?;
    let table = fs::read_to_string("/proc/cgroups").unwrap_or_default();
    if hierarchies.is_empty() && rootless::caller().is_some() {
        report.skip("cgroups", "none is delegated to this user: `xnet info` says what that means");
        return Ok(());
    }
    match version(&hierarchies) {
        _ if hierarchies.is_empty() => report.warn(
            "cgroups",
            "no hierarchy is mounted here: containers run unlimited and uncounted, and cannot be paused",
            "mount -t cgroup2 cgroup2 /sys/fs/cgroup",
        ),
        "hybrid" => report.ok("cgroups", "hybrid: controllers in version 1, and version 2 beside it"),
        version => report.ok("cgroups", format!("version {version}")),
    }
    if hierarchies.iter().any(|h| h.kind == Kind::V2) {
        report.ok("born in group", "version 2 is there: a container is born into its group");
    } else {
        report.skip("born in group", "no version 2: a container joins its groups by itself");
    }
    let missing: Vec<_> = controllers(&hierarchies, &table).into_iter().filter(|c| !is_usable(c)).collect();
    let needed: Vec<_> = missing.iter().filter(|c| !c.flags.is_empty()).collect();
    match needed.as_slice() {
        [] => report.ok("controllers", "all that options need"),
        needed => {
            let of = |c: &&cgroup::survey::Controller| format!("{} (no {})", c.name, c.flags.join(", "));
            let text: Vec<_> = needed.iter().map(of).collect();
            report.warn(
                "controllers",
                format!("missing: {}", text.join("; ")),
                "boot without cgroup_disable=, or mount their hierarchies",
            );
        }
    }
    Ok(())
}
