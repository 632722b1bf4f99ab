//! The runner as a runtime of container engines: `xnet oci`, or this program under the name `xnet-oci`.
//!
//! An engine writes down what it wants as a bundle, a directory with a `config.json` of the OCI runtime specification, and
//! calls the runtime with runc's command line. [`convert`] turns the document into a [`plan::Plan`], whose parts are those of
//! `xnet run`, and refuses by name what cannot be kept; the same pieces set the container up. What differs is who lives
//! on: there is no monitor and no network of ours. The container's first process is a child of `create`, which ends when all
//! is set up; the kernel then gives the process to the nearest subreaper, which is the engine's shim.
//!
//! Between `create` and `start` the first process waits at a gate ([`gate`]): a socket in the container's directory. `start`
//! connects to it, and over the same connection hears whether the command was executed.
//!
//! All that is known about a container is in `ROOT/ID` ([`state`]): a copy of the configuration, so that later changes of
//! the bundle mean nothing, and a state file that names groups and processes before they are made, so that
//! `delete --force` can clean up after a `create` that was killed at any moment.

pub(crate) mod bundle;
pub(crate) mod control;
mod convert;
pub(crate) mod create;
mod devices;
pub(crate) mod exec;
pub(crate) mod features;
mod gate;
mod hooks;
mod init;
pub(crate) mod log;
mod plan;
pub(crate) mod state;
mod terminal;
