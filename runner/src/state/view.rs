//! Everything that is known about one container, as it is at this moment.
//!
//! Files say what was; whether it still is, the kernel says: a container runs if the very process that its file names does,
//! whoever has or has not looked after it meanwhile.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::cgroup;
use crate::error::Result;
use crate::id::Name;
use crate::spec::Spec;

use super::exit::Exit;
use super::info::Info;
use super::log::{self, Record};
use super::store::Store;

/// What a container is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Status {
    /// It has never run.
    Created,
    /// Its first process runs.
    Running,
    /// All its processes are frozen.
    Paused,
    /// It has ended, and its policy is about to start it again.
    Restarting,
    /// It has ended.
    Exited,
    /// It has ended, and something of it could not be removed.
    Dead,
}

impl Status {
    /// Whether there is a process.
    pub(crate) fn is_alive(self) -> bool {
        matches!(self, Self::Running | Self::Paused)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Restarting => "restarting",
            Self::Exited => "exited",
            Self::Dead => "dead",
        })
    }
}

/// One container.
#[derive(Debug, Clone)]
pub(crate) struct View {
    /// What it was asked to be.
    pub(crate) spec: Spec,
    /// What it is doing.
    pub(crate) status: Status,
    /// What the present run says about itself; none without one.
    pub(crate) run: Option<Info>,
    /// The last run, or the present one as far as it has come.
    pub(crate) exit: Option<Exit>,
    /// Its groups in all hierarchies, while it runs.
    pub(crate) cgroups: Vec<PathBuf>,
    /// Its passing things, `STATE/ID`.
    pub(crate) state: PathBuf,
}

impl View {
    /// The container `id`.
    pub(crate) fn of(store: &Store, id: &Name) -> Result<Self> {
        let (data, state) = (store.data(id), store.place(id));
        let spec = store.spec(id)?;
        let run = store.info(id);
        let exit = Exit::read(&data)?;
        let records = if state.is_dir() { log::read(&state.join("log"))? } else { Vec::new() };
        let cgroups: Vec<_> = records.into_iter().flat_map(groups).collect();
        let status = status(store, id, run.as_ref(), exit.as_ref(), &cgroups);
        let run = run.filter(|_| status.is_alive() || status == Status::Restarting);
        Ok(Self { spec, status, run, exit, cgroups, state })
    }

    /// All containers, the newest first. One that is being made or removed at this moment is left out.
    pub(crate) fn all(store: &Store) -> Result<Vec<Self>> {
        let mut all: Vec<_> = store.ids()?.iter().filter_map(|id| Self::of(store, id).ok()).collect();
        all.sort_by_key(|view| std::cmp::Reverse((view.spec.life.created, view.spec.id.clone())));
        Ok(all)
    }

    /// Its id.
    pub(crate) fn id(&self) -> &Name {
        &self.spec.id
    }

    /// What people call it: its name, or the beginning of its id.
    pub(crate) fn called(&self) -> &str {
        self.spec.name.as_ref().map_or_else(|| self.spec.id.short(), Name::as_str)
    }
}

fn groups(record: Record) -> Vec<PathBuf> {
    match record {
        Record::Cgroups { dirs } => dirs,
        _ => Vec::new(),
    }
}

fn status(store: &Store, id: &Name, run: Option<&Info>, exit: Option<&Exit>, cgroups: &[PathBuf]) -> Status {
    match run {
        Some(run) if run.task().is_alive() && cgroup::freeze::is_frozen(cgroups) => Status::Paused,
        Some(run) if run.task().is_alive() => Status::Running,
        Some(run) if run.pid == 0 && store.is_owned(id) => Status::Restarting,
        Some(_) => Status::Exited,
        None if exit.is_some() => Status::Exited,
        None => Status::Created,
    }
}
