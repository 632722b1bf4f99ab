//! The CNI protocol.

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
