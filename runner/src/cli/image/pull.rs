//! `xnet pull`.

use clap::Args;

use crate::error::{Context, Result};
use crate::image::Reference;
use crate::image::manifest::Platform;
use crate::image::pull::{Access, Credentials};
use crate::spec::Dirs;

use super::{LimitFlags, store};

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
    /// Insist on a good certificate; false allows any, and plain HTTP. A registry on localhost may always do without
    #[arg(long, value_name = "BOOL", default_value_t = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    tls_verify: bool,
    /// Who to be to the registry, instead of whom ~/.docker/config.json names
    #[arg(long, value_name = "USER:PASSWORD")]
    creds: Option<Credentials>,
    #[command(flatten)]
    limits: LimitFlags,
}

impl Pull {
    /// Prints the digest and the name.
    pub(in crate::cli) fn run(&self, dirs: &Dirs) -> Result<u8> {
        let platform = self.platform.clone().unwrap_or_else(Platform::host);
        let access = Access { verify: self.tls_verify, credentials: self.creds.clone() };
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
