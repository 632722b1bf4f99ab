//! Images: brought in, kept, and handed out again. Knows nothing of containers.
//!
//! An image is a configuration and a stack of layers. It comes from outside, and is trusted with nothing: a digest says
//! what each part must be, limits say how much it may be, and a layer is unpacked so that no name in it leads out of its
//! directory ([`unpack`]). What is kept where, and what holds when the machine dies at any instant, is told in [`store`].

pub mod change;
pub mod commit;
mod compress;
pub mod config;
pub mod digest;
pub mod export;
pub mod inspect;
pub mod limits;
pub mod load;
pub mod manifest;
pub mod name;
pub mod registry;
pub mod save;
pub mod store;
pub mod tar;
mod unpack;

use std::io::Read;
use std::os::fd::OwnedFd;

use crate::error::Result;

pub use digest::Digest;
pub use limits::Limits;
pub use name::Reference;
pub use store::{Image, Store};
pub(crate) use unpack::lost::count as lost;

/// Unpacks a tar archive, plain or compressed, into the empty directory `root`, with all the caution that a layer gets.
pub(crate) fn unpack_tree(tar: impl Read, root: OwnedFd, limits: Limits) -> Result<()> {
    let (tar, _) = compress::Unpacked::new(tar)?;
    unpack::unpack(tar, root, &[], limits).map(drop)
}
