//! Options about the namespaces of a container.

use clap::{Args, ValueEnum};

use crate::error::{Error, Result};
use crate::spec::{NamespaceMode, Namespaces, TimeOffsets};

/// Which namespaces the container has to itself.
#[derive(Debug, Args)]
#[command(next_help_heading = "Namespaces")]
pub(in crate::cli) struct NamespaceFlags {
    /// Which processes it sees: private, host, or container:NAME
    #[arg(long, value_name = "MODE", default_value = "private", hide_default_value = true)]
    pid: NamespaceMode,
    /// Whose shared memory and message queues it uses: private, host, or container:NAME
    #[arg(long, value_name = "MODE", default_value = "private", hide_default_value = true)]
    ipc: NamespaceMode,
    /// Whose host name it has: private, host, or container:NAME
    #[arg(long, value_name = "MODE", default_value = "private", hide_default_value = true)]
    uts: NamespaceMode,
    /// Whether its own cgroup looks like the root: private or host
    #[arg(long, value_name = "MODE", default_value = "private", hide_default_value = true)]
    cgroupns: NamespaceMode,
    /// Shift a clock inside: boottime=SECONDS or monotonic=SECONDS
    #[arg(long, value_name = "CLOCK=SECONDS")]
    time_offset: Vec<String>,
    /// Use the host's namespaces of these kinds: pid, ipc, uts, cgroup
    #[arg(long, value_name = "KINDS", value_delimiter = ',')]
    no_ns: Vec<Shared>,
    /// none: the same for all of these kinds
    #[arg(long, value_name = "none", value_parser = ["none"])]
    ns: Option<String>,
}

/// A kind of namespace that can be shared with the host by one option.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Shared {
    Pid,
    Ipc,
    Uts,
    Cgroup,
}

impl NamespaceFlags {
    /// The namespaces that the flags mean.
    pub(in crate::cli) fn namespaces(&self) -> Result<Namespaces> {
        let mut time = None;
        for text in &self.time_offset {
            time.get_or_insert_with(TimeOffsets::default).set(text)?;
        }
        let mode = |given: &NamespaceMode, kind| match *given == NamespaceMode::Private && self.shares(kind) {
            true => NamespaceMode::Host,
            false => given.clone(),
        };
        if let NamespaceMode::Container(_) = self.cgroupns {
            return Err(Error::new("--cgroupns is private or host: a container cannot be in two groups"));
        }
        Ok(Namespaces {
            pid: mode(&self.pid, Shared::Pid),
            ipc: mode(&self.ipc, Shared::Ipc),
            uts: mode(&self.uts, Shared::Uts),
            cgroup: mode(&self.cgroupns, Shared::Cgroup),
            time,
        })
    }

    fn shares(&self, kind: Shared) -> bool {
        self.ns.is_some() || self.no_ns.contains(&kind)
    }
}
