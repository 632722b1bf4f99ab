//! Looking into network namespaces, whoever's they are, and wiring them by hand.
//!
//! A namespace has no name of its own: it is an inode of nsfs, kept alive by processes, mounts and open files. [`scan`]
//! gathers those that can be found, with all their names and owners, and says which names are stale. [`target`] turns what
//! a person types into one of them. [`wire`] makes a veth pair into one, as a list of steps that print as `ip` commands.

pub(crate) mod scan;
pub(crate) mod target;
pub(crate) mod wire;
