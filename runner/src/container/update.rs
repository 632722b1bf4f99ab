//! Limits that change while a container is there.

use crate::cgroup::{self, Group};
use crate::error::Result;
use crate::id::Name;
use crate::spec::{Limits, Restart};
use crate::state::{Store, View};
use crate::sys::ns::in_initial_user;

/// Puts `changes` into force for container `id`, now if it runs, and writes them down for its next run.
pub(crate) fn update(store: &Store, id: &Name, changes: &Limits, restart: Option<Restart>) -> Result<()> {
    let view = View::of(store, id)?;
    let limits = view.spec.limits.clone().changed_by(changes);
    limits.check()?;
    let unkept = if in_initial_user() { Vec::new() } else { cgroup::unkept(changes)? };
    if !unkept.is_empty() {
        return Err(cgroup::undelegated(&format!("with {}", unkept.join(", "))));
    }
    if view.status.is_alive() {
        let hierarchies = cgroup::of_host()?;
        // Only what changes is written: a file that is in use may refuse even its own value.
        let changes = limits.differing_from(&view.spec.limits);
        view.spec.scope.as_ref().map_or(Ok(()), |unit| unit.set(&changes))?;
        Group::of(&hierarchies, &view.spec).apply(&changes)?;
    }
    store.amend(id, |spec| {
        spec.limits = limits;
        spec.life.restart = restart.unwrap_or(spec.life.restart);
    })
}
