//! `xnet pull`.

use clap::Args;

use crate::error::{Context, Result};
use crate::image::Reference;
use crate::image::manifest::Platform;
use crate::spec::Dirs;

use super::{AccessFlags, LimitFlags, store};

/// What to bring in, and how to speak with the registry.
#[derive(Debug, Args)]
pub(in crate::cli) struct Pull {
    /// The image, such as nginx, quay.io/a/b:1 or localhost:5000/x@sha256:...
    name: Reference,
    /// Print the name only
    #[arg(short, long)]
    quiet: bool,
    /// The platform, such as linux/arm64; by default this one
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<Platform>,
    #[command(flatten)]
    access: AccessFlags,
    #[command(flatten)]
    limits: LimitFlags,
}

impl Pull {
    /// Prints the digest and the name.
    pub(in crate::cli) fn run(&self, dirs: &Dirs) -> Result<u8> {
        let platform = self.platform.clone().unwrap_or_else(Platform::host);
        let access = self.access.access();
        let mut progress = |line: &str| {
            if !self.quiet {
                eprintln!("{line}");
            }
        };
        let pulled = store(dirs)?.pull(&self.name, &platform, &access, self.limits.limits(), &mut progress);
        let image = pulled.context(|| format!("pull {}", self.name))?;
        if !self.quiet {
            println!("Digest: {}", image.manifest);
        }
        println!("{}", self.name);
        Ok(0)
    }
}
