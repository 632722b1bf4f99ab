//! One value for one file of a group.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::sys::stat::{major, minor};

use crate::error::{Context, Error, Result};
use crate::spec::{Device, Limits};
use crate::trace::shell;

/// A value to be written before the group is used, or later when limits change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Setting {
    /// Whose file it is, by its name in version 1.
    pub(super) controller: String,
    file: String,
    /// The file's name where the first is not there.
    other: Option<&'static str>,
    value: String,
    /// An absent file is skipped.
    optional: bool,
}

impl Setting {
    pub(super) fn new(controller: &str, file: &str, value: impl ToString) -> Self {
        let (controller, file) = (controller.to_owned(), file.to_owned());
        Self { controller, file, other: None, value: value.to_string(), optional: false }
    }

    pub(super) fn optional(mut self) -> Self {
        self.optional = true;
        self
    }

    pub(super) fn or(mut self, file: &'static str) -> Self {
        self.other = Some(file);
        self
    }

    /// The values that were given by the names of their files.
    pub(super) fn raw(limits: &Limits) -> impl Iterator<Item = Self> {
        limits.raw.iter().map(|(file, value)| {
            let controller = match file.split('.').next().unwrap_or_default() {
                "io" => "blkio",
                name => name,
            };
            Self::new(controller, file, value)
        })
    }

    /// Writes it into the group `dir`.
    pub(super) fn write(&self, dir: &Path) -> Result<()> {
        let Some(path) = self.path(dir)? else { return Ok(()) };
        fs::write(&path, &self.value)
            .context(|| format!("set the {} limit: write {} to {}", self.controller, self.value, path.display()))
    }

    /// What a person would type to write it into the group `dir`.
    pub(super) fn typed(&self, dir: &Path) -> Option<String> {
        let path = self.path(dir).ok()??;
        Some(format!("echo {} > {}", shell::word(&self.value), path.display()))
    }

    /// The file, if there is one or has to be one.
    fn path(&self, dir: &Path) -> Result<Option<PathBuf>> {
        let path = dir.join(&self.file);
        match self.other.map(|other| dir.join(other)) {
            _ if path.exists() => Ok(Some(path)),
            Some(other) if other.exists() => Ok(Some(other)),
            Some(other) => Err(Error::new(format!(
                "the {} limit cannot be kept: there is neither {} nor {} (no I/O scheduler with weights is in use)",
                self.controller,
                path.display(),
                other.display()
            ))),
            None => Ok((!self.optional).then_some(path)),
        }
    }
}

/// The numbers of a block device.
pub(super) fn device_number(device: &Device) -> Result<(u64, u64)> {
    match device {
        Device::Number { major, minor } => Ok((*major, *minor)),
        Device::Path(path) => {
            let meta = fs::metadata(path).context(|| format!("the device {}", path.display()))?;
            if !meta.file_type().is_block_device() {
                return Err(Error::new(format!("{} is not a block device", path.display())));
            }
            Ok((major(meta.rdev()), minor(meta.rdev())))
        }
    }
}
