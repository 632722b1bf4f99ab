//! Options about what a container may use.

use clap::{Args, ValueEnum};

use crate::cgroup::devices::Rule;
use crate::cgroup::systemd::{USUAL_SLICE, Unit};
use crate::error::{Context, Error, Result};
use crate::id::Name;
use crate::spec::{Limits, ThrottleKind, Total, parse_bytes, parse_cpus, parse_memory, parse_set, parse_throttle};
use crate::{cgroup, rootless};

/// Limits, enforced by cgroups.
#[derive(Debug, Args)]
#[command(next_help_heading = "Limits")]
pub(in crate::cli) struct LimitFlags {
    #[command(flatten)]
    common: CommonLimitFlags,
    /// How readily memory is swapped out, 0 to 100; cgroup version 1 only
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u8).range(0..=100))]
    memory_swappiness: Option<u8>,
    /// Let processes wait when memory is used up, instead of killing one; cgroup version 1 only
    #[arg(long)]
    oom_kill_disable: bool,
    /// Bytes a second that may be read from a device
    #[arg(long, value_name = "DEVICE:RATE")]
    device_read_bps: Vec<String>,
    /// Bytes a second that may be written to a device
    #[arg(long, value_name = "DEVICE:RATE")]
    device_write_bps: Vec<String>,
    /// Reads a second from a device
    #[arg(long, value_name = "DEVICE:RATE")]
    device_read_iops: Vec<String>,
    /// Writes a second to a device
    #[arg(long, value_name = "DEVICE:RATE")]
    device_write_iops: Vec<String>,
    /// Allow the use of devices, such as "c 10:200 rwm"
    #[arg(long, value_name = "RULE")]
    device_cgroup_rule: Vec<Rule>,
    /// A value for a file of the container's group, as it is
    #[arg(long, value_name = "FILE=VALUE")]
    cgroup_conf: Vec<String>,
    /// Leave out limits that this host cannot keep, instead of refusing them
    #[arg(long)]
    ignore_missing_cgroup: bool,
    /// The cgroup in which the container's own is made, without at the top; for systemd a slice, system.slice without
    #[arg(long, value_name = "NAME")]
    cgroup_parent: Option<Name>,
    /// Who makes the container's cgroup: xnet itself, or systemd as a scope
    #[arg(long, env = "XNET_CGROUP_MANAGER", value_name = "MANAGER", default_value = "cgroupfs")]
    cgroup_manager: Manager,
}

/// Who makes groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Manager {
    Cgroupfs,
    Systemd,
}

/// The limits that can be changed later too.
#[derive(Debug, Args)]
pub(in crate::cli) struct CommonLimitFlags {
    /// A limit for memory: bytes, or with k, m, g
    #[arg(short, long, value_name = "SIZE", value_parser = parse_memory)]
    memory: Option<u64>,
    /// A limit for memory and swap together; -1 is as much swap as there is
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true)]
    memory_swap: Option<Total>,
    /// Memory to keep when the host runs short
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes)]
    memory_reservation: Option<u64>,
    /// A limit for CPU time, in CPUs
    #[arg(long, value_name = "NUMBER", value_parser = parse_cpus)]
    cpus: Option<u64>,
    /// The length of a CPU period, in microseconds
    #[arg(long, value_name = "US", value_parser = clap::value_parser!(u64).range(1_000..=1_000_000))]
    cpu_period: Option<u64>,
    /// CPU time in each period, in microseconds
    #[arg(long, value_name = "US", value_parser = clap::value_parser!(u64).range(1_000..))]
    cpu_quota: Option<u64>,
    /// Weight of the CPU time against others; 1024 is usual
    #[arg(short = 'c', long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(2..=262_144))]
    cpu_shares: Option<u64>,
    /// CPUs that may be used, such as 0-2,4
    #[arg(long, value_name = "LIST", value_parser = parse_set)]
    cpuset_cpus: Option<String>,
    /// Memory nodes that may be used
    #[arg(long, value_name = "LIST", value_parser = parse_set)]
    cpuset_mems: Option<String>,
    /// A limit for the number of processes and threads
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..))]
    pids_limit: Option<u64>,
    /// Weight of the I/O against others, 10 to 1000
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u16).range(10..=1000))]
    blkio_weight: Option<u16>,
}

impl LimitFlags {
    /// The parent of the container's group, and the scope that is its group if systemd makes it.
    pub(in crate::cli) fn group(&self, id: &Name) -> Result<(Option<Name>, Option<Unit>)> {
        if self.cgroup_manager != Manager::Systemd {
            return Ok((self.cgroup_parent.clone(), None));
        }
        let slice = self.cgroup_parent.clone().map_or_else(|| USUAL_SLICE.parse(), Ok)?;
        let unit = Unit::new(slice.as_str(), "xnet", id.as_str()).context(|| "--cgroup-parent")?;
        Ok((Some(slice), Some(unit)))
    }

    /// The limits that were asked for, and what is to be said of those that will not be kept: without root that is as it is, and no
    /// reason not to run.
    pub(in crate::cli) fn limits(&self) -> Result<(Limits, Option<Error>)> {
        let mut limits = self.asked()?;
        if rootless::caller().is_none() {
            return Ok((limits, None));
        }
        let unkept = cgroup::unkept(&limits)?;
        limits.ignore_missing = true;
        let warning = (!unkept.is_empty()).then(|| {
            let why = cgroup::undelegated(&format!("with {}", unkept.join(", ")));
            Error::new(format!("limits are not applied: {}", why.message))
        });
        Ok((limits, warning))
    }

    fn asked(&self) -> Result<Limits> {
        let mut limits = self.common.limits();
        limits.memory_swappiness = self.memory_swappiness;
        limits.oom_kill_disable = self.oom_kill_disable;
        limits.devices.clone_from(&self.device_cgroup_rule);
        limits.ignore_missing = self.ignore_missing_cgroup;
        for (kind, texts) in [
            (ThrottleKind::ReadBps, &self.device_read_bps),
            (ThrottleKind::WriteBps, &self.device_write_bps),
            (ThrottleKind::ReadIops, &self.device_read_iops),
            (ThrottleKind::WriteIops, &self.device_write_iops),
        ] {
            for text in texts {
                limits.throttles.push(parse_throttle(kind, text)?);
            }
        }
        for text in &self.cgroup_conf {
            let (file, value) = raw(text)?;
            limits.raw.insert(file.to_owned(), value.to_owned());
        }
        limits.check()?;
        Ok(limits)
    }
}

impl CommonLimitFlags {
    /// The limits that were asked for, of those that can be changed.
    pub(in crate::cli) fn limits(&self) -> Limits {
        Limits {
            memory: self.memory,
            memory_swap: self.memory_swap,
            memory_reservation: self.memory_reservation,
            millicpus: self.cpus,
            cpu_period: self.cpu_period,
            cpu_quota: self.cpu_quota,
            cpu_shares: self.cpu_shares,
            cpuset_cpus: self.cpuset_cpus.clone(),
            cpuset_mems: self.cpuset_mems.clone(),
            pids: self.pids_limit,
            blkio_weight: self.blkio_weight,
            ..Limits::default()
        }
    }
}

/// `FILE=VALUE`, where the file is one of a controller and stays in the group.
fn raw(text: &str) -> Result<(&str, &str)> {
    let pair = text.split_once('=');
    let is_plain = |name: &str| {
        name.contains('.')
            && !name.starts_with('.')
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
    };
    match pair {
        // The runtime's own files: who is in the group, and what is below it.
        Some((file, _)) if file.starts_with("cgroup.") => {
            Err(Error::new(format!("--cgroup-conf {text}: cgroup.* belongs to xnet")))
        }
        Some((file, value)) if is_plain(file) && !value.is_empty() => Ok((file, value)),
        _ => Err(Error::new(format!("invalid value for --cgroup-conf {text:?}: expected for example memory.high=64M"))),
    }
}
