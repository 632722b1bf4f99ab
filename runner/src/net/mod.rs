//! Networks of containers.
//!
//! A container that is attached to networks, or to none, is born in a new network namespace; its parent pins that in
//! `/run/netns` under the container's id and lets plugins work on the path. `lo` is set up by the process itself. `host`
//! makes no namespace. `container:X` enters the namespace in which X is at this moment, found by X's process descriptor and
//! compared with what X has on record; it is pinned under the new container's id too, so that either can end first.
//!
//! In time: [`Prepared::new`] decides everything that can be decided before anything is made: lists of plugins are read,
//! the container to join is found, ports of the host are taken ([`ports`]). [`Prepared::pin`] and [`Prepared::connect`] run
//! in the parent while the container's first process sets itself up. [`Prepared::announce`] comes after the command was
//! executed: the other containers on the same networks learn the new one's name then ([`hosts`]). What was connected is on
//! record in `STATE/ID/net.json` ([`Connected`]).

pub(crate) mod attach;
mod carrier;
pub(crate) mod catalog;
pub(crate) mod connected;
pub(crate) mod create;
pub mod default;
pub(crate) mod devices;
mod fence;
mod handover;
pub(crate) mod hosts;
pub(crate) mod join;
pub(crate) mod link;
pub(crate) mod network;
pub(crate) mod pin;
pub(crate) mod ports;
mod prepared;
pub(crate) mod remove;
pub(crate) mod resolv;
pub(crate) mod subnet;

pub(crate) use attach::undo;
pub(crate) use connected::Connected;
pub(crate) use network::Network;
pub(crate) use prepared::{Prepared, lookup};
