//! Undoing what the logs of a container say, newest first.

use std::fs;
use std::path::Path;

use crate::error::{Context, Error, Result};
use crate::storage::Place;
use crate::volume::Volumes;
use crate::{cgroup, fault, image, net};

use super::info::Task;
use super::log::Record;
use super::store::{Container, Store};

/// How long a process may take to end after SIGKILL, in milliseconds.
const PATIENCE: u16 = 5000;

/// Removes what belongs to the present run of `container`, and the container itself unless it is to be kept. What fails
/// does not keep the rest from being undone, and is tried again by the next run or `xnet gc`.
pub(crate) fn run(store: &Store, container: &Container) -> Result<()> {
    // Nobody connects it to anything from here on.
    let _quiet = net::link::lock(&container.dir)?;
    let records = container.records()?;
    let kept = records.contains(&Record::Keep);
    let mut failures = Vec::new();
    for record in records.iter().rev() {
        if kept && matches!(record, Record::Container { .. }) {
            continue;
        }
        fault::point(&format!("undo-{}", record.kind()))?;
        failures.extend(one(store, container, record).err().map(|error| error.message));
    }
    if failures.is_empty() {
        return Ok(());
    }
    Err(Error::new(format!("container {}: {}", container.id.short(), failures.join("; "))))
}

/// Removes what belongs to the present run of `container` and lets go of it. If something could not be removed, the container
/// stays on record as one that nobody owns, unless `force` says to forget it all the same.
pub(crate) fn finish(store: &Store, container: Container, force: bool) -> Result<()> {
    let undone = run(store, &container);
    if undone.is_ok() || force {
        store.release(container)?;
    }
    undone
}

fn one(store: &Store, container: &Container, record: &Record) -> Result<()> {
    match record {
        Record::Keep | Record::Ended { .. } => Ok(()),
        Record::Container { data } => remove(store, container, data),
        Record::Name { name } => store.release_name(name, &container.id),
        Record::Image { data } => image::Store::open(data)?.release(&container.id),
        Record::Layer { dir } => Place::at(dir).remove(),
        Record::Volume { .. } if container.keeps_volumes() => Ok(()),
        Record::Volume { data, name } => Volumes::of(data).remove(name),
        Record::Controllers { control, controllers } => cgroup::restore_controllers(control, controllers),
        Record::Cgroups { dirs } => cgroup::clear(dirs),
        Record::Scope { unit } => unit.stop(),
        Record::Process { pid, start } => kill(Task { pid: *pid, start: *start }),
        Record::Netns { path } => net::pin::release(path),
        Record::Files { dir } => net::hosts::remove(dir),
        Record::Network { network, conflist, plugin_path, ifname, netns } => {
            net::undo(store, container, network, (conflist, plugin_path), (ifname, netns))
        }
    }
}

fn kill(task: Task) -> Result<()> {
    if task.kill(PATIENCE) { Ok(()) } else { Err(Error::new(format!("process {} does not end", task.pid))) }
}

/// Removes all that lasts of a container, and then the directory that says so.
fn remove(store: &Store, container: &Container, data: &Path) -> Result<()> {
    let mut failures = Vec::new();
    for record in container.lasting_records()?.iter().rev() {
        fault::point(&format!("undo-{}", record.kind()))?;
        failures.extend(one(store, container, record).err().map(|error| error.message));
    }
    if !failures.is_empty() {
        return Err(Error::new(failures.join("; ")));
    }
    match fs::remove_dir_all(data) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).context(|| format!("remove {}", data.display()))
        }
        _ => Ok(()),
    }
}
