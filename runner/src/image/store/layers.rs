//! Where layers are, unpacked.

use std::fs;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::error::{Context, Result};
use crate::image::digest::Digest;

use super::{Image, Store};

/// What is noted beside a layer's tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Note {
    /// The digest of the plain tar.
    pub(super) diff_id: Digest,
    /// The layers below.
    pub(super) parent: Option<Digest>,
    /// Bytes in files.
    pub(super) size: u64,
    /// Bytes of the plain tar.
    pub(super) tar_size: u64,
}

pub(super) const NOTE: &str = "layer.json";

/// The chain id of each layer: the diff id of the lowest, and from there on the digest of both below and itself.
pub(in crate::image) fn chain(diff_ids: &[Digest]) -> Vec<Digest> {
    let link = |below: &mut Option<Digest>, diff_id: &Digest| {
        *below = Some(next(below.as_ref(), diff_id));
        below.clone()
    };
    diff_ids.iter().scan(None, link).collect()
}

/// The chain id of a layer upon those that `below` stands for.
pub(super) fn next(below: Option<&Digest>, diff_id: &Digest) -> Digest {
    below.map_or_else(|| diff_id.clone(), |below| Digest::of(format!("{below} {diff_id}").as_bytes()))
}

impl Store {
    /// The directory of a layer: its tree, and what is noted beside it.
    pub(in crate::image) fn layer(&self, chain: &Digest) -> PathBuf {
        self.layers.join(chain.hex())
    }

    pub(super) fn tree(&self, chain: &Digest) -> PathBuf {
        self.layer(chain).join("diff")
    }

    /// The bytes in the files of each layer of an image, lowest first.
    pub fn sizes(&self, image: &Image) -> Result<Vec<u64>> {
        chain(image.diff_ids()).iter().map(|chain| Ok(self.note(chain)?.size)).collect()
    }

    /// The bytes of each plain layer of an image, lowest first.
    pub(in crate::image) fn tar_sizes(&self, image: &Image) -> Result<Vec<u64>> {
        chain(image.diff_ids()).iter().map(|chain| Ok(self.note(chain)?.tar_size)).collect()
    }

    fn note(&self, chain: &Digest) -> Result<Note> {
        let path = self.layer(chain).join(NOTE);
        let text = fs::read(&path).context(|| format!("read {}", path.display()))?;
        serde_json::from_slice(&text).context(|| path.display().to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_id_stands_for_all_below() {
        let (a, b) = (Digest::of(b"a"), Digest::of(b"b"));
        let ids = chain(&[a.clone(), b.clone()]);
        assert_eq!(ids, [a.clone(), Digest::of(format!("{a} {b}").as_bytes())]);
        assert_ne!(chain(&[b, a]).last(), ids.last());
        assert!(chain(&[]).is_empty());
    }
}
