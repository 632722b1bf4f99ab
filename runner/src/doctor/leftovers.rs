//! What the dead have left: what `xnet gc` and `xnet netns prune` would take away.

use crate::error::Result;
use crate::net::remove::stale_leases;
use crate::netns::scan::Scan;
use crate::spec::Dirs;
use crate::state::Store;

use super::Report;
use super::report::word;

/// How many of a kind are told by name.
const SHOWN: usize = 3;

pub(super) fn check(report: &mut Report, store: &Store, dirs: &Dirs) -> Result<()> {
    let orphans: Vec<String> = store.orphans()?.iter().map(|id| id.short().to_owned()).collect();
    tell(report, "containers", &orphans, "nobody looks after", "xnet gc");
    let stale = Scan::take(store, dirs)?.stale;
    let path = |is_ours: bool| {
        let some = stale.iter().filter(move |stale| stale.is_ours == is_ours);
        some.map(|stale| format!("{} ({})", stale.path.display(), stale.why)).collect::<Vec<_>>()
    };
    tell(report, "namespaces", &path(true), "of containers that are gone", "xnet netns prune");
    let (others, first) = (path(false), stale.iter().find(|stale| !stale.is_ours));
    if let Some(first) = first {
        let fix = format!("rm {}", word(&first.path.to_string_lossy()));
        tell(report, "namespaces", &others, "names of others, behind which there is none", &fix);
    }
    let leases: Vec<String> = stale_leases(store, dirs)?.iter().map(|(path, _)| path.display().to_string()).collect();
    tell(report, "leases", &leases, "of containers that are gone", "xnet gc");
    Ok(())
}

fn tell(report: &mut Report, check: &str, found: &[String], what: &str, fix: &str) {
    if found.is_empty() {
        return report.ok(check, "nothing is left of dead ones");
    }
    let more = if found.len() > SHOWN { ", ..." } else { "" };
    let shown = found.get(..SHOWN).unwrap_or(found).join(", ");
    report.warn(check, format!("{} {what}: {shown}{more}", found.len()), fix);
}
