//! What is known about containers outside of their processes.
//!
//! Each container has a directory `STATE/ID`, mode 0700:
//!
//!  * `lock`: held (flock) by the `xnet` that runs it. The kernel lets go of it when that process ends in any way, so
//!    "is its owner alive" is one system call and needs no pid to be believed;
//!  * `log`: one line of JSON per thing that will have to be undone, written *before* the thing is done ([`log`]);
//!  * `info.json`: what others may want to know: name, pid, network namespace;
//!  * working places: the staging directory, the CNI cache.
//!
//! Undoing is the same whoever does it ([`undo`]): the runner at the end of a container, the next run or `xnet gc`
//! after a crash. Each entry can be undone any number of times, and an entry whose deed never happened is undone by
//! doing nothing. The directory itself goes last, and only if all else went.

pub(crate) mod log;
pub(crate) mod store;
pub(crate) mod undo;

pub(crate) use log::Record;
pub(crate) use store::{Container, Info, Store};
