//! An image's root file system as one tar: its layers as a container sees them.

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use crate::error::{Context, Result};
use crate::sys;

use super::store::{Image, Store};
use super::tar::{Flavour, write_tree};

impl Store {
    /// Writes what a container of the image finds in `/` before it has changed anything.
    pub fn export(&self, image: &Image, out: impl Write) -> Result<()> {
        let open = |path: &std::path::PathBuf| File::open(path).context(|| format!("open {}", path.display()));
        let mut layers: Vec<File> = image.layers.iter().rev().map(open).collect::<Result<_>>()?;
        match layers.len() {
            0 => super::tar::empty(out),
            1 => write_tree(layers.remove(0).as_fd(), Flavour::Whole, None, out),
            _ => write_tree(merged(&layers)?.as_fd(), Flavour::Whole, None, out),
        }
    }
}

/// The layers, the topmost first, as one read-only tree that is attached nowhere.
fn merged(layers: &[File]) -> Result<OwnedFd> {
    // By their descriptors: names of directories may hold what separates options.
    let paths: Vec<String> = layers.iter().map(|layer| format!("/proc/self/fd/{}", layer.as_raw_fd())).collect();
    let each: Vec<(&str, Option<&str>)> = paths.iter().map(|path| ("lowerdir+", Some(path.as_str()))).collect();
    let joined = paths.join(":");
    let mount = |options: &[(&str, Option<&str>)]| sys::mount::new(c"overlay", options, sys::mount::attr::RDONLY);
    // Kernels before 6.8 take all layers in one option only.
    mount(&each).or_else(|_| mount(&[("lowerdir", Some(joined.as_str()))])).context(|| "put the layers together")
}
