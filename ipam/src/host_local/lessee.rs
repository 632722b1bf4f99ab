//! The one who holds a lease, as the lease file names him.

use sha2::{Digest, Sha256};

/// An attachment as the lease files write it.
#[derive(Debug, Clone)]
pub(crate) struct Lessee {
    exact: Key,
    legacy: Key,
}

impl Lessee {
    pub(crate) fn new(container_id: &str, ifname: &str) -> Self {
        let id = container_id.trim();
        Self { exact: Key::new(&format!("{id}\r\n{ifname}")), legacy: Key::new(id) }
    }

    /// The content of a lease file: container id and interface.
    pub(crate) fn exact(&self) -> &Key {
        &self.exact
    }

    /// The content that early versions of the Go suite wrote: the container id alone.
    pub(crate) fn legacy(&self) -> &Key {
        &self.legacy
    }
}

/// The text of a lease file, without white space around it, and a digest of it for the index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Key {
    text: String,
    digest: u128,
}

impl Key {
    pub(crate) fn new(text: &str) -> Self {
        let sum = Sha256::digest(text.as_bytes());
        let digest = sum.iter().take(16).fold(0, |all, byte| all << 8 | u128::from(*byte));
        Self { text: text.to_owned(), digest }
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    pub(crate) fn digest(&self) -> u128 {
        self.digest
    }
}
