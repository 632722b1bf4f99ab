//! Options about the command and its rights.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::error::{Context, Error, Result};
use crate::image::config::Config;
use crate::spec::{Process, Rlimit, User, Who};

use super::{EnvFlags, SecurityFlags, text};

const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The command's surroundings and rights.
#[derive(Debug, Args)]
#[command(next_help_heading = "Process")]
pub(in crate::cli) struct ProcessFlags {
    #[command(flatten)]
    env: EnvFlags,
    /// The working directory inside; made if it is missing; by default the image's, or /
    #[arg(short, long, value_name = "DIR")]
    workdir: Option<PathBuf>,
    /// Put a small init in front of the command, which reaps orphans
    #[arg(long)]
    init: bool,
    /// Run as this user, with this group, by number or by name of the container's own files
    #[arg(short, long, value_name = "USER[:GROUP]")]
    user: Option<User>,
    /// Add a supplementary group
    #[arg(long, value_name = "GROUP")]
    group_add: Vec<Who>,
    /// The file mode creation mask, in octal
    #[arg(long, value_name = "MASK", value_parser = octal, default_value = "0022", hide_default_value = true)]
    umask: u32,
    /// Limit a resource of each process, as in nofile=1024:2048; -1 is no limit
    #[arg(long, value_name = "NAME=SOFT[:HARD]")]
    ulimit: Vec<Rlimit>,
    /// How willingly the kernel kills the container when memory is short, from -1000 to 1000
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true, value_parser = clap::value_parser!(i16).range(-1000..=1000))]
    oom_score_adj: Option<i16>,
}

impl ProcessFlags {
    /// The process that runs `command` in a container of this host name. `usual` is its user if none was asked for, before
    /// what the image says.
    pub(in crate::cli) fn process(
        &self,
        command: &[OsString],
        hostname: &str,
        security: &SecurityFlags,
        image: &Config,
        usual: Option<User>,
    ) -> Result<Process> {
        let workdir = self.workdir.clone().unwrap_or_else(|| Path::new("/").join(&image.working_dir));
        if !workdir.is_absolute() {
            return Err(Error::new(format!("the working directory {} is not absolute", workdir.display())));
        }
        let user = match (self.user.clone().or(usual), image.user.as_str()) {
            (Some(user), _) => user,
            (None, "") => "0".parse()?,
            (None, text) => text.parse().context(|| "the image's user")?,
        };
        Ok(Process {
            argv: command.iter().map(|arg| text(arg)).collect::<Result<_>>()?,
            env: self.environment(hostname, &image.env)?,
            workdir,
            user,
            groups: self.group_add.clone(),
            umask: self.umask,
            capabilities: security.capabilities()?,
            rlimits: self.ulimit.clone(),
            oom_score_adj: self.oom_score_adj,
            no_new_privileges: security.no_new_privileges(),
            privileged: security.privileged,
            init: self.init,
        })
    }

    /// Defaults first, then the image's, then what was asked for; a later value of the same variable replaces an earlier one.
    fn environment(&self, hostname: &str, image: &[String]) -> Result<Vec<String>> {
        let mut all = vec![PATH.to_owned(), format!("HOSTNAME={hostname}")];
        all.extend(env::var("TERM").ok().map(|term| format!("TERM={term}")));
        let key = |entry: &str| entry.split('=').next().unwrap_or_default().to_owned();
        for entry in image {
            all.retain(|old| key(old) != key(entry));
            all.push(entry.clone());
        }
        self.env.over(all)
    }
}

/// A mask for the nine permission bits.
fn octal(text: &str) -> Result<u32> {
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    let mask = digits.then(|| u32::from_str_radix(text, 8).ok()).flatten().filter(|mask| *mask <= 0o777);
    mask.ok_or_else(|| Error::new(format!("invalid mask {text:?}: expected an octal number up to 0777")))
}
