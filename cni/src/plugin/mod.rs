//! The plugin's side of the protocol: from a process's environment and stdin to a method call, and back.
//!
//! One process serves one call. [`main`] takes the process apart into a [`World`]; [`run`] does all the rest, so that
//! every rule below is tested without a process:
//!
//! 1. the environment is read by one table, and every missing variable is named at once;
//! 2. stdin must be a JSON object with a valid network name;
//! 3. the verb must fit the configuration's version, and the version must be one that the plugin speaks;
//! 4. ADD and DEL refuse the plugin's own network namespace, before anything is touched: a plugin that set `lo` down in the
//!    host would take the node off the network;
//! 5. the plugin is called;
//! 6. the result is printed in the configuration's version. An ADD whose answer can not be given is undone, because the
//!    runtime will know nothing of it.
//!
//! Nothing but the answer goes to stdout: the result, or the error document. Everything else goes to stderr.

mod attachments;
mod call;
mod config;
mod dispatch;
mod environment;
mod guard;
mod stdio;
mod world;

use crate::error::Error;
use crate::result::AddResult;
use crate::version::Version;

pub use attachments::{Attachment, ValidAttachments};
pub use call::Call;
pub use dispatch::{run, run_with};
pub use environment::Verb;
pub use stdio::{main, process};
pub use world::{Stderr, World};

/// A CNI plugin. What a method needs is in its arguments; what it wants to tell people goes to [`Call::warn`].
pub trait Plugin {
    /// The name that it is installed under.
    const NAME: &'static str;
    /// The versions that it speaks, oldest first.
    const VERSIONS: &'static [Version] = Version::ALL;

    /// Attaches the container. When it fails, it leaves nothing behind.
    fn add(&self, call: &Call, attachment: &Attachment) -> Result<AddResult, Error>;

    /// Removes what belongs to the attachment. What is gone already is no error.
    fn del(&self, call: &Call, attachment: &Attachment) -> Result<(), Error>;

    /// Says whether the attachment is still as ADD made it.
    fn check(&self, call: &Call, attachment: &Attachment) -> Result<(), Error>;

    /// Removes what belongs to the network and to none of the valid attachments, as far as possible; then reports all
    /// that failed.
    fn gc(&self, call: &Call, valid: &ValidAttachments) -> Result<(), Error>;

    /// Says whether an ADD could be served now.
    fn status(&self, call: &Call) -> Result<(), Error>;
}

#[cfg(test)]
mod tests;
