//! Options about the beginning and the end of a container.

use std::path::PathBuf;

use clap::Args;

use crate::error::{Context, Error, Result};
use crate::id::Name;
use crate::moment::Moment;
use crate::spec::{Life, Restart, STOP_TIMEOUT, Signal};

/// Names and ends.
#[derive(Debug, Args)]
#[command(next_help_heading = "Life")]
pub(in crate::cli) struct LifeFlags {
    /// A name to refer to the container by
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) name: Option<Name>,
    /// Remove the container when it ends
    #[arg(long)]
    pub(in crate::cli) rm: bool,
    /// Start it again when it has ended: no, always, unless-stopped, on-failure[:NUMBER]
    #[arg(long, value_name = "POLICY", default_value = "no")]
    restart: Restart,
    /// The signal that `stop` sends
    #[arg(long, value_name = "SIGNAL", default_value = "SIGTERM")]
    stop_signal: Signal,
    /// How long `stop` waits before it kills, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = STOP_TIMEOUT)]
    stop_timeout: u32,
    /// Something to find the container by
    #[arg(short, long = "label", value_name = "KEY[=VALUE]")]
    labels: Vec<String>,
    /// Write the id to a new file
    #[arg(long, value_name = "FILE")]
    cidfile: Option<PathBuf>,
    /// Write the number of the first process to a file, at each start
    #[arg(long, value_name = "FILE")]
    pidfile: Option<PathBuf>,
}

impl LifeFlags {
    /// What was asked for.
    pub(in crate::cli) fn life(&self) -> Result<Life> {
        if self.rm && self.restart != Restart::No {
            return Err(Error::new("--rm and --restart contradict each other"));
        }
        let absolute = |path: &PathBuf| std::path::absolute(path).context(|| format!("the file {}", path.display()));
        Ok(Life {
            created: Moment::now(),
            auto_remove: self.rm,
            restart: self.restart,
            stop_signal: self.stop_signal,
            stop_timeout: self.stop_timeout,
            labels: self.labels.iter().map(|text| label(text)).collect::<Result<_>>()?,
            cidfile: self.cidfile.as_ref().map(absolute).transpose()?,
            pidfile: self.pidfile.as_ref().map(absolute).transpose()?,
        })
    }
}

fn label(text: &str) -> Result<(String, String)> {
    let (key, value) = text.split_once('=').unwrap_or((text, ""));
    if key.is_empty() {
        return Err(Error::new(format!("invalid label {text:?}: it has no key")));
    }
    Ok((key.to_owned(), value.to_owned()))
}
