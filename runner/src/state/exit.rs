//! How the last run of a container has ended: `exit.json`, among its lasting things.
//!
//! It is written when a run begins, without an end, and again when the run has ended. So if the machine has lost its power
//! meanwhile, what is read afterwards is a run whose end nobody has seen, and not the end of an older one.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::{Context, Result};
use crate::moment::Moment;

use super::store::replace;

/// The last run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Exit {
    /// The exit status: the command's own, 128 + N if it died of signal N. None while it runs, and when nobody knows.
    pub(crate) exit_code: Option<u8>,
    /// When it began.
    pub(crate) started_at: Option<Moment>,
    /// When it ended; none if nobody has seen that.
    pub(crate) finished_at: Option<Moment>,
    /// Whether the kernel has killed something of the container's for want of memory.
    pub(crate) oom_killed: bool,
    /// Why the run could not begin, or why its status is unknown.
    pub(crate) error: String,
    /// Whether a person has ended it, so that no restart policy starts it again, but `always` after a reboot.
    pub(crate) stopped: bool,
    /// How often the restart policy has started it again.
    pub(crate) restarts: u32,
}

const FILE: &str = "exit.json";

impl Exit {
    /// The last run of the container whose lasting things are in `data`; none if there was none yet.
    pub(crate) fn read(data: &Path) -> Result<Option<Self>> {
        let path = data.join(FILE);
        match fs::read(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            text => {
                let text = text.context(|| format!("read {}", path.display()))?;
                serde_json::from_slice(&text).map(Some).context(|| format!("decode {}", path.display()))
            }
        }
    }

    /// How long the run was.
    pub(crate) fn lasted(&self) -> Duration {
        let (Some(begin), Some(end)) = (self.started_at, self.finished_at) else { return Duration::ZERO };
        let nanoseconds = end.nanoseconds().saturating_sub(begin.nanoseconds());
        Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or_default())
    }

    /// Writes it down, in one step.
    pub(crate) fn write(&self, data: &Path) -> Result<()> {
        replace(&data.join(FILE), self)
    }
}
