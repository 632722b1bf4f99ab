//! What is known about containers outside of their processes.
//!
//! Each container has a directory `DATA/containers/ID`, mode 0700, for what lasts as long as the container:
//!
//!  * `config.json`: what it was asked to be, the whole [`crate::spec::Spec`];
//!  * `exit.json`: its last run, and how that ended ([`exit`]);
//!  * `log`: what will have to be undone when the container is removed.
//!
//! While somebody does something with it, above all while it runs, it has another one, `STATE/ID`, on a tmpfs as a rule:
//!
//!  * `lock`: held (flock) by the `xnet` that runs it. The kernel lets go of it when that process ends in any way, so
//!    "is its owner alive" is one system call and needs no pid to be believed;
//!  * `log`: what will have to be undone when the run has ended;
//!  * `info.json`: what others may want to know about the run ([`info`]);
//!  * working places: the staging directory, the CNI cache.
//!
//! A log has one line of JSON per thing that will have to be undone, written *before* the thing is done ([`log`]). Undoing
//! is the same whoever does it ([`undo`]): the runner at the end of a container, the next run or `xnet gc` after a crash
//! ([`recover`]). Each entry can be undone any number of times, and an entry whose deed never happened is undone by
//! doing nothing. The directory itself goes last, and only if all else went.
//!
//! A container that is being made has an entry of its own in the log of its run, which removes all of it. When its command
//! is executed, and it is not to go at its end (`--rm`), that entry is cancelled.

pub(crate) mod events;
pub(crate) mod exit;
pub(crate) mod info;
pub(crate) mod log;
mod names;
pub(crate) mod recover;
pub(crate) mod store;
pub(crate) mod undo;
pub(crate) mod view;

pub(crate) use exit::Exit;
pub(crate) use info::{Info, Task};
pub(crate) use log::Record;
pub(crate) use store::{Container, Store, Wish};
pub(crate) use view::{Status, View};
