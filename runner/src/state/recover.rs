//! What to do about containers whose `xnet` is no more.
//!
//! Its lock is free, and its directory of passing things is still there. If the container was detached and lives, another
//! monitor takes its place; if it has ended, or died with its `xnet`, what it has left is removed, and the end is written
//! down: nobody has seen the status, and it is not made up.

use crate::error::{Error, Result};
use crate::moment::Moment;
use crate::monitor;
use crate::spec::Dirs;

use super::exit::Exit;
use super::info::Info;
use super::log::Record;
use super::store::{Container, Store};
use super::undo;

/// What was done.
#[derive(Debug, Default)]
pub(crate) struct Recovered {
    /// The ids of the containers that were cleaned up.
    pub(crate) cleaned: Vec<String>,
    /// What went wrong.
    pub(crate) failed: Vec<Error>,
}

/// Looks after all containers that nobody owns any more. With `force` they are forgotten even if something of theirs could
/// not be removed.
pub(crate) fn all(store: &Store, dirs: &Dirs, force: bool) -> Result<Recovered> {
    let mut recovered = Recovered::default();
    for container in store.abandoned()? {
        let id = container.id.to_string();
        match one(store, dirs, container, force) {
            Ok(true) => recovered.cleaned.push(id),
            Ok(false) => {}
            Err(error) => recovered.failed.push(error),
        }
    }
    Ok(recovered)
}

/// Looks after one container, whose lock this process has got without being its runner. Answers whether there was something
/// to clean up; if not, the container has another monitor now.
fn one(store: &Store, dirs: &Dirs, container: Container, force: bool) -> Result<bool> {
    let info = container.info();
    if info.as_ref().is_some_and(|info| info.detached && (info.task().is_alive() || will_restart(&container, info))) {
        let id = container.id.clone();
        // The lock is the new monitor's to take.
        drop(container);
        return monitor::adopt::spawn(&id, dirs).map(|()| false);
    }
    ended_unseen(&container, info.as_ref())?;
    undo::finish(store, container, force)?;
    Ok(true)
}

/// Whether the policy wants another run of a container that has ended while nobody looked.
fn will_restart(container: &Container, info: &Info) -> bool {
    let exit = last(container, info);
    container
        .spec()
        .is_ok_and(|spec| !container.is_stopping() && spec.life.restart.applies(exit.exit_code, info.restarts))
}

/// The end of a run, from its log, or as far as it can be known by one who has not seen it.
pub(crate) fn last(container: &Container, info: &Info) -> Exit {
    let records = container.records().unwrap_or_default();
    let seen = records.into_iter().rev().find_map(|record| match record {
        Record::Ended { exit } => Some(exit),
        _ => None,
    });
    seen.unwrap_or_else(|| Exit {
        started_at: Some(info.started_at),
        finished_at: Some(Moment::now()),
        error: "the exit status is unknown: the xnet process that looked after the container was killed".to_owned(),
        restarts: info.restarts,
        stopped: container.is_stopped_by_person(),
        ..Exit::default()
    })
}

/// Writes the end of a run down for whom it died with.
fn ended_unseen(container: &Container, info: Option<&Info>) -> Result<()> {
    match info {
        Some(info) if container.data.is_dir() => last(container, info).write(&container.data),
        _ => Ok(()),
    }
}
