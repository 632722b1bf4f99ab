//! Options about the command and its rights.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;

use crate::error::{Error, Result};
use crate::spec::{Process, Rlimit, User, Who};

use super::{EnvFlags, SecurityFlags, text};

const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The command's surroundings and rights.
#[derive(Debug, Args)]
#[command(next_help_heading = "Process")]
pub(in crate::cli) struct ProcessFlags {
    #[command(flatten)]
    env: EnvFlags,
    /// The working directory inside; made if it is missing
    #[arg(short, long, value_name = "DIR", default_value = "/")]
    workdir: PathBuf,
    /// Put a small init in front of the command, which reaps orphans
    #[arg(long)]
    init: bool,
    /// Run as this user, with this group, by number or by name of the container's own files
    #[arg(short, long, value_name = "USER[:GROUP]", default_value = "0", hide_default_value = true)]
    user: User,
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
    /// The process that runs `command` in a container of this host name.
    pub(in crate::cli) fn process(
        &self,
        command: &[OsString],
        hostname: &str,
        security: &SecurityFlags,
    ) -> Result<Process> {
        if !self.workdir.is_absolute() {
            return Err(Error::new(format!("the working directory {} is not absolute", self.workdir.display())));
        }
        Ok(Process {
            argv: command.iter().map(|arg| text(arg)).collect::<Result<_>>()?,
            env: self.environment(hostname)?,
            workdir: self.workdir.clone(),
            user: self.user.clone(),
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

    /// Defaults first, then what was asked for.
    fn environment(&self, hostname: &str) -> Result<Vec<String>> {
        let mut all = vec![PATH.to_owned(), format!("HOSTNAME={hostname}")];
        all.extend(env::var("TERM").ok().map(|term| format!("TERM={term}")));
        self.env.over(all)
    }
}

/// A mask for the nine permission bits.
fn octal(text: &str) -> Result<u32> {
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    let mask = digits.then(|| u32::from_str_radix(text, 8).ok()).flatten().filter(|mask| *mask <= 0o777);
    mask.ok_or_else(|| Error::new(format!("invalid mask {text:?}: expected an octal number up to 0777")))
}
