//! `xnet image` and the shorter names of its parts.

mod archive;
mod list;
mod manage;
mod pull;
mod push;

use clap::{Args, Subcommand};

use crate::error::Result;
use crate::image::registry::{Access, Credentials};
use crate::image::{Limits, Store};
use crate::spec::{Dirs, parse_bytes};

pub(super) use archive::{Import, Load, Save};
pub(super) use list::{History, List};
pub(super) use manage::{Remove, Tag};
pub(super) use pull::Pull;
pub(super) use push::Push;

/// What to do with images.
#[derive(Debug, Args)]
pub(super) struct Image {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make an image of a root file system: a directory, or a tar
    Import(Import),
    /// Bring in images from an archive or an OCI layout
    Load(Load),
    /// Bring in an image from a registry
    Pull(Pull),
    /// Send an image to a registry
    Push(Push),
    /// Write images into an archive
    Save(Save),
    /// Write an image's root file system into a tar
    Export(archive::Export),
    /// List images
    #[command(visible_alias = "list")]
    Ls(List),
    /// Tell all about images
    Inspect(manage::Inspect),
    /// Give an image another name
    Tag(Tag),
    /// Remove images
    #[command(visible_alias = "remove")]
    Rm(Remove),
    /// Remove images without a name, and what no image needs
    Prune(manage::Prune),
    /// Show how an image came about
    History(History),
}

impl Image {
    pub(super) fn run(&self, dirs: &Dirs) -> Result<u8> {
        match &self.command {
            Command::Import(import) => import.run(dirs),
            Command::Load(load) => load.run(dirs),
            Command::Pull(pull) => pull.run(dirs),
            Command::Push(push) => push.run(dirs),
            Command::Save(save) => save.run(dirs),
            Command::Export(export) => export.run(dirs),
            Command::Ls(list) => list.run(dirs),
            Command::Inspect(inspect) => inspect.run(dirs),
            Command::Tag(tag) => tag.run(dirs),
            Command::Rm(remove) => remove.run(dirs),
            Command::Prune(prune) => prune.run(dirs),
            Command::History(history) => history.run(dirs),
        }
    }
}

/// How to speak with a registry.
#[derive(Debug, Args)]
struct AccessFlags {
    /// Insist on a good certificate; false allows any, and plain HTTP. A registry on localhost may always do without
    #[arg(long, value_name = "BOOL", default_value_t = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    tls_verify: bool,
    /// Who to be to the registry, instead of whom ~/.docker/config.json names
    #[arg(long, value_name = "USER:PASSWORD")]
    creds: Option<Credentials>,
}

impl AccessFlags {
    fn access(&self) -> Access {
        Access { verify: self.tls_verify, credentials: self.creds.clone() }
    }
}

/// How much an image may ask of the machine; 0 lifts a limit.
#[derive(Debug, Args)]
struct LimitFlags {
    /// The most bytes that a layer may have, unpacked; with k, m, g; 0: any number
    #[arg(long, value_name = "SIZE", default_value = "64g", value_parser = parse_bytes)]
    max_size: u64,
    /// The most files that a layer may have
    #[arg(long, value_name = "NUMBER", default_value_t = Limits::default().entries)]
    max_entries: u64,
    /// The most components that a path may have
    #[arg(long, value_name = "NUMBER", default_value_t = Limits::default().depth)]
    max_depth: u64,
    /// The most bytes that a compressed byte may unfold into, where that makes much
    #[arg(long, value_name = "NUMBER", default_value_t = Limits::default().ratio)]
    max_ratio: u64,
}

impl LimitFlags {
    const fn limits(&self) -> Limits {
        Limits { size: self.max_size, entries: self.max_entries, depth: self.max_depth, ratio: self.max_ratio }
    }
}

fn store(dirs: &Dirs) -> Result<Store> {
    Store::open(&dirs.data)
}
