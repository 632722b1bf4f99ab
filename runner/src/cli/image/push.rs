//! `xnet push`.

use clap::Args;

use crate::error::{Context, Result};
use crate::image::Reference;
use crate::spec::Dirs;

use super::{AccessFlags, store};

/// What to send where, and how to speak with the registry.
#[derive(Debug, Args)]
pub(in crate::cli) struct Push {
    /// The image: a name, or an id
    image: String,
    /// Its name in the registry, such as localhost:5000/x:1; by default the one above
    name: Option<Reference>,
    /// Print the digest only
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    access: AccessFlags,
}

impl Push {
    /// Prints the digest and the name.
    pub(in crate::cli) fn run(&self, dirs: &Dirs) -> Result<u8> {
        let mut progress = |line: &str| {
            if !self.quiet {
                eprintln!("{line}");
            }
        };
        let store = store(dirs)?;
        let (image, name) = store.to_be_pushed(&self.image, self.name.as_ref())?;
        let pushed = store.push(&image, &name, &self.access.access(), &mut progress);
        let digest = pushed.context(|| format!("push {name}"))?;
        match self.quiet {
            true => println!("{digest}"),
            false => println!("Digest: {digest}\n{name}"),
        }
        Ok(0)
    }
}
