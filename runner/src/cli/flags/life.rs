//! Options about the beginning and the end of a container.

use std::path::PathBuf;

use clap::Args;

use crate::error::{Context, Error, Result};
use crate::id::Name;
use crate::image::config::Config;
use crate::moment::Moment;
use crate::spec::{Life, Restart, STOP_TIMEOUT, Signal};

use super::HealthFlags;

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
    /// The signal that `stop` sends; by default the image's, or SIGTERM
    #[arg(long, value_name = "SIGNAL")]
    stop_signal: Option<Signal>,
    /// How long `stop` waits before it kills, in seconds
    #[arg(long, value_name = "SECONDS")]
    stop_timeout: Option<u32>,
    /// Something to find the container by
    #[arg(short, long = "label", value_name = "KEY[=VALUE]")]
    labels: Vec<String>,
    /// Write the id to a new file
    #[arg(long, value_name = "FILE")]
    cidfile: Option<PathBuf>,
    /// Write the number of the first process to a file, at each start
    #[arg(long, value_name = "FILE")]
    pidfile: Option<PathBuf>,
    #[command(flatten)]
    health: HealthFlags,
}

impl LifeFlags {
    /// What was asked for, and what else the image says.
    pub(in crate::cli) fn life(&self, image: &Config) -> Result<Life> {
        if self.rm && self.restart != Restart::No {
            return Err(Error::new("--rm and --restart contradict each other"));
        }
        let mut labels = image.labels.clone();
        for text in &self.labels {
            labels.extend([label(text)?]);
        }
        let of_image = image.stop_timeout.and_then(|seconds| u32::try_from(seconds).ok());
        let absolute = |path: &PathBuf| std::path::absolute(path).context(|| format!("the file {}", path.display()));
        Ok(Life {
            created: Moment::now(),
            auto_remove: self.rm,
            restart: self.restart,
            stop_signal: self.stop_signal(image)?,
            stop_timeout: self.stop_timeout.or(of_image).unwrap_or(STOP_TIMEOUT),
            labels,
            cidfile: self.cidfile.as_ref().map(absolute).transpose()?,
            pidfile: self.pidfile.as_ref().map(absolute).transpose()?,
            health: self.health.health(image)?,
        })
    }
}

impl LifeFlags {
    fn stop_signal(&self, image: &Config) -> Result<Signal> {
        match (self.stop_signal, image.stop_signal.as_str()) {
            (Some(signal), _) => Ok(signal),
            (None, "") => Ok(Life::default().stop_signal),
            (None, text) => text.parse().context(|| "the image's stop signal"),
        }
    }
}

fn label(text: &str) -> Result<(String, String)> {
    let (key, value) = text.split_once('=').unwrap_or((text, ""));
    if key.is_empty() {
        return Err(Error::new(format!("invalid label {text:?}: it has no key")));
    }
    Ok((key.to_owned(), value.to_owned()))
}
