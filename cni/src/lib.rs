//! The Container Network Interface: the protocol between a container runtime and the plugins that wire containers up.
//!
//! A call is a process. The runtime starts a plugin with a few environment variables and a JSON document on stdin; the
//! plugin does its work, prints a JSON document and exits. This crate is both ends of that pipe, and knows nothing of what
//! the work is: it makes no network calls to the kernel.
//!
//! * For a plugin there is [`plugin`]: implement [`plugin::Plugin`], call [`plugin::main`]. What arrives at a method has
//!   been checked: names are safe ([`name`]), the version is one that the plugin speaks ([`version`]), the namespace is not
//!   the plugin's own. [`delegate`] hands a part of the work to another plugin, [`args`] reads `CNI_ARGS`, and [`owner`]
//!   names what is made so that it is found again.
//! * For a runtime there is [`runtime`]: lists of plugins, the result cache, and the verbs over a list.
//! * Both share [`result`](mod@result), one shape in memory for the documents of all versions; [`error`], the error
//!   document; [`decode`] and [`address`], which read JSON and addresses as the existing plugins read them; [`quote`],
//!   which writes strings into error texts as they do; and [`exec`], the only place that starts a process.
//!
//! The specification leaves much to the implementation that everybody uses, and configurations, scripts and runtimes have
//! come to rely on how that one behaves: on its error texts, on keys in any letter case, on the layout of its output. Where
//! the specification is silent this crate does the same, to the byte. Where that behaviour does harm it differs, and
//! `docs/decisions/0001-protocol.md` says how and why.
//!
//! Everything that comes from outside is bounded: nesting, the size of an answer, the time that another process may take.
//! No input makes it panic.

pub mod address;
pub mod args;
pub mod decode;
pub mod delegate;
pub mod error;
pub mod exec;
mod json;
pub mod name;
pub mod owner;
pub mod plugin;
pub mod quote;
pub mod result;
pub mod runtime;
pub mod version;

pub use error::{Code, Error};
pub use name::{ContainerId, IfName, NetName};
pub use owner::Owner;
pub use version::Version;
