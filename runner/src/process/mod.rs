//! Processes: the container's first one, the line to it, the signals, and how it ends.
//!
//! `xnet` blocks all signals, clones one child into the new namespaces, and then waits in one `poll` for three
//! things: a signal to forward, a word from the child, the child's end. The child sets itself up and executes the
//! command; it dies with `xnet`, so a container never lives on unattended.
//!
//! Both sides hold one end of a socket that closes itself when the command is executed. What the parent reads there
//! tells apart the three ways in which the story can go on: a reported failure, an execution, or a death in between.

pub(crate) mod channel;
pub(crate) mod child;
pub(crate) mod elf;
pub(crate) mod exec;
pub(crate) mod init;
pub(crate) mod leave;
pub(crate) mod signals;
pub(crate) mod wait;
