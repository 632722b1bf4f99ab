//! What a container is made from: an image, a directory, or the host's own root.
//!
//! `IMAGE [CMD...]` is what people type. With `--rootfs` there is no image, and all words are the command. So it is with `--` right
//! before the first word: the root file system is then the host's.

use std::env;
use std::ffi::{OsStr, OsString};
use std::path::Path;

use crate::error::{Context, Error, Result};
use crate::image::{self, Image, config::Config};
use crate::spec::mount::flag::anonymous;
use crate::spec::{Dirs, Mount, Rootfs};

/// The base of a container, and what is executed in it.
#[derive(Debug)]
pub(super) struct Base {
    /// What is below the container's own changes.
    pub(super) rootfs: Rootfs,
    /// What the image says about its containers; nothing without one.
    pub(super) config: Config,
    /// The command and its arguments.
    pub(super) argv: Vec<OsString>,
}

impl Base {
    /// The base that `words` mean, given the directory of `--rootfs` and the `--entrypoint`. `host` says that they name no image.
    pub(super) fn new(
        words: &[OsString],
        rootfs: Option<Rootfs>,
        entrypoint: Option<&OsStr>,
        host: bool,
        dirs: &Dirs,
    ) -> Result<Self> {
        let (rootfs, config, args) = match (rootfs, words.split_first()) {
            (Some(rootfs), _) => (rootfs, Config::default(), words),
            (None, _) if host => (Rootfs::Host, Config::default(), words),
            (None, None) => return Err(Error::new("an image is missing, or a command behind `--`")),
            (None, Some((name, args))) => {
                let (rootfs, image) = image(name, dirs)?;
                (rootfs, image.config.config, args)
            }
        };
        let entrypoint: Option<Vec<OsString>> =
            entrypoint.map(|word| Some(word.to_owned()).filter(|word| !word.is_empty()).into_iter().collect());
        let argv = config.argv(entrypoint.as_deref(), args);
        if argv.is_empty() {
            return Err(Error::new("a command is missing: neither was one given, nor does the image have one"));
        }
        Ok(Self { rootfs, config, argv })
    }

    /// Volumes for the directories that the image keeps data in, unless something else is mounted there.
    pub(super) fn volumes(&self, mounts: &mut Vec<Mount>) -> Result<()> {
        for path in self.config.volumes.keys() {
            let mount = Mount::new(path, anonymous()?).context(|| "a volume of the image")?;
            if mounts.iter().all(|other| other.target != mount.target) {
                mounts.push(mount);
            }
        }
        Ok(())
    }
}

fn image(name: &OsStr, dirs: &Dirs) -> Result<(Rootfs, Image)> {
    let text = name.to_str().ok_or_else(|| Error::new(format!("{} is not UTF-8", name.display())))?;
    let found = image::Store::open(&dirs.data).and_then(|store| store.resolve(text));
    let image = found.map_err(|error| match Path::new(name).is_dir() {
        true => Error::new(format!("{error}; --rootfs {text} runs in a directory")),
        false => Error::new(format!("{error}; a command without an image needs `--` before it")),
    })?;
    let rootfs = Rootfs::Image { id: image.id.to_string(), name: text.to_owned(), layers: image.layers.clone() };
    Ok((rootfs, image))
}

/// Whether `--` stands right before the last `count` words of this program's command line.
pub(super) fn escaped(count: usize) -> bool {
    let line: Vec<OsString> = env::args_os().collect();
    line.len().checked_sub(count + 1).and_then(|at| line.get(at)).is_some_and(|word| word == "--")
}
