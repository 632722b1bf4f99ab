//! Options about what a container may use.

use clap::Args;

use crate::id::Name;
use crate::spec::{Limits, parse_bytes, parse_cpus};

/// Limits, enforced by cgroups.
#[derive(Debug, Args)]
#[command(next_help_heading = "Limits")]
pub(in crate::cli) struct LimitFlags {
    /// A limit for memory: bytes, or with k, m, g
    #[arg(short, long, value_name = "SIZE", value_parser = parse_bytes)]
    memory: Option<u64>,
    /// A limit for CPU time, in CPUs
    #[arg(long, value_name = "NUMBER", value_parser = parse_cpus)]
    cpus: Option<u64>,
    /// A limit for the number of processes and threads
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..))]
    pids_limit: Option<u64>,
    /// The cgroup in which the container's own is made
    #[arg(long, value_name = "NAME", default_value = "xnet")]
    pub(in crate::cli) cgroup_parent: Name,
}

impl LimitFlags {
    /// The limits that were asked for.
    pub(in crate::cli) fn limits(&self) -> Limits {
        Limits { memory: self.memory, millicpus: self.cpus, pids: self.pids_limit }
    }
}
