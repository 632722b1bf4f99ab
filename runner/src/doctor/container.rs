//! Looking at one container.

use crate::error::Result;
use crate::net::{Connected, join};
use crate::spec::Dirs;
use crate::state::{Store, View};

use super::path::Path;
use super::{Destination, Report, layer, path, ports, process, reach, resolver};

/// Looks at the container that `text` means, and tries to connect to `to` from inside.
///
/// # Errors
/// There is no such container.
pub(crate) fn container(store: &Store, dirs: &Dirs, text: &str, to: Option<&Destination>) -> Result<Report> {
    let view = View::of(store, &store.find(text)?)?;
    let mut report = Report::default();
    let Some(run) = process::running(&mut report, &view) else { return Ok(report) };
    process::zombies(&mut report, &view, run.task());
    layer::check(&mut report, dirs, &view, run.task());
    let Some(connected) = Connected::read(store, &run.id) else {
        report.skip("network", "the container is just starting or ending");
        return Ok(report);
    };
    if connected.netns.is_none() {
        report.skip("network", "the container is in the host's: `xnet doctor` looks at that");
    }
    let netns = match connected.netns {
        Some(_) => Some(join::namespace(&run, &connected)?),
        None => None,
    };
    // One that has joined another's namespace has that one's addresses and ports.
    let owner = connected.joined.as_ref().and_then(|other| Connected::read(store, other));
    match (&connected.joined, &owner) {
        (Some(_), Some(owner)) if owner.inode == connected.inode => {
            report.ok("network", format!("that of container {}", owner.title()));
        }
        (Some(other), _) => {
            let seen = format!("that of container {}, which has ended since: nobody wires it any more", other.short());
            report.bad("network", seen, format!("xnet restart {}", view.called()));
            return Ok(report);
        }
        _ => {}
    }
    let mut path = Path::new((store, dirs), view.called(), owner.unwrap_or(connected.clone()), netns)?;
    let before = report.bad_ones();
    if path.is_private() {
        path::walk(&mut report, &mut path)?;
    }
    let is_whole = report.bad_ones() == before;
    resolver::check(&mut report, &mut path, &connected.files, is_whole)?;
    ports::check(&mut report, &mut path)?;
    if let Some(to) = to {
        reach::check(&mut report, &mut path, &connected.files, to)?;
    }
    Ok(report)
}
