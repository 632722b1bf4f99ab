//! Reading a bundle: a directory with a `config.json`.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use oci_spec::runtime::Spec;
use serde::de::DeserializeOwned;

use crate::error::{Context, Error, Result};

/// A bound for configurations; real ones have some 20 KiB.
const LARGEST: u64 = 16 << 20;

/// The file of that name in a bundle, and in the container's directory.
pub(crate) const CONFIG: &str = "config.json";

/// A bundle as it was read.
#[derive(Debug)]
pub(crate) struct Bundle {
    /// Its directory, absolute.
    pub(crate) dir: PathBuf,
    /// The text of its configuration, to be kept.
    pub(crate) text: Vec<u8>,
    /// What the text says.
    pub(crate) spec: Spec,
}

impl Bundle {
    /// Reads the bundle `dir`.
    ///
    /// # Errors
    ///
    /// When there is none, or when its configuration is no JSON of the specification's form.
    pub(crate) fn read(dir: &Path) -> Result<Self> {
        let dir = dir.canonicalize().context(|| format!("the bundle {}", dir.display()))?;
        let path = dir.join(CONFIG);
        let text = read(&path)?;
        let spec = decode(&text, &path)?;
        Ok(Self { dir, text, spec })
    }

    /// The bundle again, as it was when the container was created.
    pub(crate) fn kept(dir: &Path, bundle: &Path) -> Result<Self> {
        let path = dir.join(CONFIG);
        let text = read(&path)?;
        let spec = decode(&text, &path)?;
        Ok(Self { dir: bundle.to_owned(), text, spec })
    }
}

/// The text of a file of reasonable size.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>> {
    let file = File::open(path).context(|| format!("open {}", path.display()))?;
    let mut text = Vec::new();
    file.take(LARGEST + 1).read_to_end(&mut text).context(|| format!("read {}", path.display()))?;
    if text.len() as u64 > LARGEST {
        return Err(Error::new(format!("{} is larger than 16 MiB", path.display())));
    }
    Ok(text)
}

/// What a JSON text says, with its path in what is wrong with it.
pub(crate) fn decode<T: DeserializeOwned>(text: &[u8], path: &Path) -> Result<T> {
    serde_json::from_slice(text).context(|| path.display().to_string())
}
