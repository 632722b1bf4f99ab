//! What the container's first process does to itself before it becomes the user's command.
//!
//! The set-up is a list of [`Op`]s made from the spec by a pure function ([`plan`]), and one interpreter
//! ([`apply::Setup`]) that walks it. An operation prints as the shell command that a reader knows; the same
//! text is `--dry-run`'s output and the context of an error. The first operation that fails ends the set-up:
//! nothing of the user's is run then, and the exit status is 125.
//!
//! The order is the argument:
//!
//!  1. join the cgroups first, so that all that follows is accounted and limited, then make the group the
//!     root of a cgroup namespace;
//!  2. enter the network namespace before /sys is mounted, because a sysfs shows the namespace of its mounter;
//!  3. make every mount a slave, so that nothing from here on reaches the host;
//!  4. stack the root file system, and populate /proc, /sys and /dev. Everything is found from one descriptor
//!     of the new root and attached to descriptors, with symbolic links refused: a root file system is
//!     somebody else's data and may try to redirect a mount;
//!  5. wait for the network, because resolv.conf and hosts depend on it; all that was above ran meanwhile;
//!  6. pivot, drop what is not needed, check the working directory, execute.

pub(crate) mod apply;
pub(crate) mod console;
pub(crate) mod dev;
pub(crate) mod files;
pub(crate) mod kernel;
pub(crate) mod mounts;
mod namespace;
pub(crate) mod op;
pub(crate) mod path;
pub(crate) mod privilege;
pub(crate) mod trees;

pub(crate) use namespace::SharedMemory;
pub use op::{Joined, Op, plan};
