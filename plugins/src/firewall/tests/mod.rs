//! Against the kernel, `nft`, a bus and firewalld, in private namespaces.

mod attachment;
mod bus;
mod cost;
mod firewalld;
mod layout;
mod owners;
mod packets;

use attachment::{Deletion, Fixture};

use super::*;
use crate::masquerade::tests::{namespace, shell};
