//! The CNI protocol.

pub mod address;
pub mod decode;
pub mod error;
mod json;
pub mod name;
pub mod quote;
pub mod result;
pub mod runtime;
pub mod version;

pub use error::{Code, Error};
pub use name::{ContainerId, IfName, NetName};
pub use version::Version;
