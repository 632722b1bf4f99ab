//! What goes into a container and comes out of it.
//!
//! A container that somebody attends and that leaves no log simply has its caller's streams. All others have a pump: pipes,
//! or one terminal, whose other ends are held by the process that attends the container ([`pump`]). It copies what comes
//! out into the log ([`log`]) and to whoever is attached ([`attach`]), and what those type into the container. It is one
//! descriptor for its owner's `poll`, and never blocks.
//!
//! Three rules keep one side from harming the other:
//!
//!  * the pipes are FIFOs of the container's state directory, and the container has them open for both reading and
//!    writing. So the death of the process that attends it is no end of file and no SIGPIPE: what is written waits in the
//!    pipe until the next one comes and opens the same files ([`streams`]);
//!  * somebody who is attached and does not read is waited for as a shell's pipeline waits, but only for ten seconds; then
//!    it misses what comes until it reads again, and is told how much that was. The container goes on;
//!  * a log that cannot be written, on a full disk, loses lines. The container goes on.
//!
//! Terminals are made inside, by the container's first process in its own devpts, and known by descriptor only. So that they
//! outlive the process that attends the container, another one holds them as well ([`holder`]).

pub(crate) mod attach;
mod child;
pub(crate) mod holder;
pub(crate) mod keys;
pub(crate) mod log;
pub(crate) mod logs;
pub(crate) mod pump;
pub(crate) mod session;
pub(crate) mod streams;
mod terminal;
mod wire;
