//! Options about the command and its rights.

use std::env;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use clap::Args;

use crate::error::{Error, Result};
use crate::spec::Process;

const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The command's surroundings and rights.
#[derive(Debug, Args)]
#[command(next_help_heading = "Process")]
pub(in crate::cli) struct ProcessFlags {
    /// Set an environment variable; without a value it is taken from the caller's environment
    #[arg(short, long, value_name = "KEY[=VALUE]")]
    env: Vec<OsString>,
    /// The working directory inside; made if it is missing
    #[arg(short, long, value_name = "DIR", default_value = "/")]
    workdir: PathBuf,
    /// Put a small init in front of the command, which reaps orphans
    #[arg(long)]
    init: bool,
    /// Keep all capabilities, and mask nothing
    #[arg(long)]
    privileged: bool,
}

impl ProcessFlags {
    /// The process that runs `command` in a container of this host name.
    pub(in crate::cli) fn process(&self, command: &[OsString], hostname: &str) -> Result<Process> {
        if !self.workdir.is_absolute() {
            return Err(Error::new(format!("the working directory {} is not absolute", self.workdir.display())));
        }
        Ok(Process {
            argv: command.iter().map(|arg| text(arg)).collect::<Result<_>>()?,
            env: self.environment(hostname)?,
            workdir: self.workdir.clone(),
            privileged: self.privileged,
            init: self.init,
        })
    }

    /// Defaults first, then `-e` in order; a later value of the same variable replaces an earlier one.
    fn environment(&self, hostname: &str) -> Result<Vec<String>> {
        let mut all = vec![PATH.to_owned(), format!("HOSTNAME={hostname}"), "HOME=/root".to_owned()];
        all.extend(env::var("TERM").ok().map(|term| format!("TERM={term}")));
        for entry in &self.env {
            let entry = text(entry)?;
            let key = key(&entry);
            if key.is_empty() {
                return Err(Error::new(format!("invalid environment entry {entry:?}: it has no name")));
            }
            all.retain(|old| self::key(old) != key);
            if key.len() < entry.len() {
                all.push(entry);
            } else if let Some(value) = env::var_os(&entry) {
                all.push(format!("{entry}={}", text(&value)?));
            }
        }
        Ok(all)
    }
}

/// Arguments and variables are written down as JSON, which holds text only.
fn text(word: &OsStr) -> Result<String> {
    let word = word.to_str().ok_or_else(|| Error::new(format!("{} is not UTF-8", word.display())))?;
    if word.contains('\0') {
        return Err(Error::new(format!("{word:?} holds a NUL byte")));
    }
    Ok(word.to_owned())
}

/// The part before the first `=`.
fn key(entry: &str) -> &str {
    entry.split('=').next().unwrap_or_default()
}
