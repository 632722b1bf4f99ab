//! Commands about archives: import, load, save, export.

use std::fs::{self, File};
use std::io::{self, BufWriter, IsTerminal, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::error::{Context, Error, Result};
use crate::image::commit::{About, Content};
use crate::image::config::Config;
use crate::image::load::Input;
use crate::image::manifest::Platform;
use crate::image::save::Format;
use crate::image::{Reference, change};
use crate::spec::Dirs;

use super::{LimitFlags, store};

/// `xnet import SOURCE [NAME]`.
#[derive(Debug, Args)]
pub(in crate::cli) struct Import {
    /// A directory, a tar (plain, gzip or zstd), or - for standard input
    source: PathBuf,
    /// What the image is to be called
    name: Option<Reference>,
    /// A line as in a Dockerfile: CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, USER, VOLUME, WORKDIR, ...
    #[arg(short, long, value_name = "LINE")]
    change: Vec<String>,
    /// A note for the image's history
    #[arg(short, long, value_name = "TEXT", default_value = "")]
    message: String,
    /// The platform that the image is for, such as linux/arm64; by default this one
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<Platform>,
    #[command(flatten)]
    limits: LimitFlags,
}

impl Import {
    /// Prints the new image's id.
    pub(in crate::cli) fn run(&self, dirs: &Dirs) -> Result<u8> {
        let mut config = Config::default();
        change::apply(&mut config, &self.change)?;
        let about = About {
            config,
            comment: if self.message.is_empty() {
                format!("Imported from {}", self.source.display())
            } else {
                self.message.clone()
            },
            platform: self.platform.clone(),
            ..About::default()
        };
        let mut file = open(&self.source)?;
        let is_dir = file.metadata().is_ok_and(|meta| meta.is_dir());
        let limits = self.limits.limits();
        let store = store(dirs)?;
        let made = if is_dir {
            store.commit(None, Content::Tree(file.as_fd(), None), &about, self.name.as_ref(), limits)
        } else {
            store.commit(None, Content::Tar(&mut file), &about, self.name.as_ref(), limits)
        };
        println!("{}", made.context(|| format!("import {}", self.source.display()))?.id);
        Ok(0)
    }
}

/// `xnet load`.
#[derive(Debug, Args)]
pub(in crate::cli) struct Load {
    /// An archive of `docker save`, or an OCI layout, as tar or directory; by default standard input
    #[arg(short, long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// Print ids only
    #[arg(short, long)]
    quiet: bool,
    /// The platform of the images to be loaded, such as linux/arm64; by default this one
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<Platform>,
    /// What an image is to be called that has no name in the archive
    #[arg(long, value_name = "NAME")]
    name: Option<Reference>,
    #[command(flatten)]
    limits: LimitFlags,
}

impl Load {
    /// Prints a line for each name.
    pub(in crate::cli) fn run(&self, dirs: &Dirs) -> Result<u8> {
        let path = self.input.as_deref().unwrap_or(Path::new("-"));
        if self.input.is_none() && io::stdin().is_terminal() {
            return Err(Error::new("standard input is a terminal, not an archive; --input names a file"));
        }
        let file = open(path)?;
        let meta = file.metadata().context(|| format!("look at {}", path.display()))?;
        let input = if meta.is_dir() { Input::Directory(path.to_owned()) } else { Input::File(file) };
        let platform = self.platform.clone().unwrap_or_else(Platform::host);
        let images = store(dirs)?.load(input, &platform, self.name.as_ref(), self.limits.limits());
        for (image, names) in images.context(|| format!("load {}", path.display()))? {
            match names.as_slice() {
                _ if self.quiet => println!("{}", image.id),
                [] => println!("Loaded image ID: {}", image.id),
                names => names.iter().for_each(|name| println!("Loaded image: {}", name.familiar())),
            }
        }
        Ok(0)
    }
}

/// `xnet save NAME...`.
#[derive(Debug, Args)]
pub(in crate::cli) struct Save {
    /// Images by name or id
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<String>,
    /// The archive; by default standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// docker: for docker, podman and skopeo to load; oci: a layout with the blobs as they came
    #[arg(long, value_name = "FORMAT", default_value = "docker")]
    format: Format,
}

impl Save {
    pub(in crate::cli) fn run(&self, dirs: &Dirs) -> Result<u8> {
        let store = store(dirs)?;
        let images = self.images.iter().map(|text| store.to_be_saved(text)).collect::<Result<Vec<_>>>()?;
        write(self.output.as_deref(), |out| store.save(&images, self.format, out))
    }
}

/// `xnet image export NAME`.
#[derive(Debug, Args)]
pub(super) struct Export {
    /// An image by name or id
    image: String,
    /// The tar; by default standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

impl Export {
    pub(super) fn run(&self, dirs: &Dirs) -> Result<u8> {
        let store = store(dirs)?;
        let image = store.resolve(&self.image)?;
        write(self.output.as_deref(), |out| store.export(&image, out))
    }
}

fn open(path: &Path) -> Result<File> {
    if path == Path::new("-") {
        return io::stdin().as_fd().try_clone_to_owned().map(File::from).context(|| "standard input");
    }
    File::open(path).context(|| format!("open {}", path.display()))
}

/// Writes to a file, which appears when it is complete, or to standard output if that is no terminal.
fn write(path: Option<&Path>, produce: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<u8> {
    let Some(path) = path else {
        if io::stdout().is_terminal() {
            return Err(Error::new(
                "an archive is nothing for a terminal; --output names a file, or redirect the output",
            ));
        }
        let mut out = BufWriter::new(io::stdout().lock());
        produce(&mut out)?;
        return out.flush().context(|| "write to standard output").map(|()| 0);
    };
    let failed = || format!("write {}", path.display());
    // What is there may be a pipe or a device, and is written to as it is.
    if fs::metadata(path).is_ok_and(|meta| !meta.is_file()) {
        let mut out = BufWriter::new(File::options().write(true).open(path).context(failed)?);
        produce(&mut out)?;
        return out.flush().context(failed).map(|()| 0);
    }
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".part");
    let part = path.with_file_name(name);
    let mut out = BufWriter::new(File::create(&part).context(failed)?);
    let done = produce(&mut out).and_then(|()| out.flush().and_then(|()| fs::rename(&part, path)).context(failed));
    if done.is_err() {
        let _ = fs::remove_file(&part);
    }
    done.map(|()| 0)
}
