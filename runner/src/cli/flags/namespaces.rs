//! Options about the namespaces of a container.

use clap::Args;

use crate::error::Result;
use crate::spec::{NamespaceMode, Namespaces, TimeOffsets};

/// Which namespaces the container has to itself.
#[derive(Debug, Args)]
#[command(next_help_heading = "Namespaces")]
pub(in crate::cli) struct NamespaceFlags {
    /// Which processes it sees: private, host, or container:NAME
    #[arg(long, value_name = "MODE", default_value = "private", hide_default_value = true)]
    pub(super) pid: NamespaceMode,
    /// Whose shared memory and message queues it uses: private, host, or container:NAME
    #[arg(long, value_name = "MODE", default_value = "private", hide_default_value = true)]
    pub(super) ipc: NamespaceMode,
    /// Whose host name it has: private, host, or container:NAME
    #[arg(long, value_name = "MODE", default_value = "private", hide_default_value = true)]
    pub(super) uts: NamespaceMode,
    /// Whether its own cgroup looks like the root: private or host
    #[arg(long, value_name = "MODE", default_value = "private", hide_default_value = true)]
    cgroupns: NamespaceMode,
    /// Shift a clock inside: boottime=SECONDS or monotonic=SECONDS
    #[arg(long, value_name = "CLOCK=SECONDS")]
    time_offset: Vec<String>,
}

impl NamespaceFlags {
    /// The namespaces that the flags mean.
    pub(in crate::cli) fn namespaces(&self) -> Result<Namespaces> {
        let mut time = None;
        for text in &self.time_offset {
            time.get_or_insert_with(TimeOffsets::default).set(text)?;
        }
        Ok(Namespaces {
            pid: self.pid.clone(),
            ipc: self.ipc.clone(),
            uts: self.uts.clone(),
            cgroup: self.cgroupns.clone(),
            time,
        })
    }
}
