//! Files of version 1.

use std::fs;
use std::path::Path;

use crate::error::{Context, Result};
use crate::kernel_file;
use crate::spec::{Limits, ThrottleKind, Total};

use super::setting::{Setting, device_number};
use super::{Hierarchy, PERIOD_US};

/// What to write for `limits`, in order.
pub(super) fn settings(limits: &Limits) -> Result<Vec<Setting>> {
    let mut all = memory(limits);
    all.extend(cpu(limits));
    if let Some(pids) = limits.pids {
        all.push(Setting::new("pids", "pids.max", pids));
    }
    if let Some(weight) = limits.blkio_weight {
        all.push(Setting::new("blkio", "blkio.bfq.weight", weight).or("blkio.weight"));
    }
    for throttle in &limits.throttles {
        let file = match throttle.kind {
            ThrottleKind::ReadBps => "blkio.throttle.read_bps_device",
            ThrottleKind::WriteBps => "blkio.throttle.write_bps_device",
            ThrottleKind::ReadIops => "blkio.throttle.read_iops_device",
            ThrottleKind::WriteIops => "blkio.throttle.write_iops_device",
        };
        let (major, minor) = device_number(&throttle.device)?;
        all.push(Setting::new("blkio", file, format!("{major}:{minor} {}", throttle.rate)));
    }
    Ok(all)
}

fn memory(limits: &Limits) -> Vec<Setting> {
    let mut all = Vec::new();
    if let Some(bytes) = limits.memory {
        // Memory and swap together; without swap accounting there is no such file.
        let total = match limits.memory_swap {
            None => bytes.saturating_mul(2).to_string(),
            Some(Total::Bytes(total)) => total.to_string(),
            Some(Total::Unlimited) => "-1".to_owned(),
        };
        let both = Setting::new("memory", "memory.memsw.limit_in_bytes", total);
        all.push(Setting::new("memory", "memory.limit_in_bytes", bytes));
        all.push(if limits.memory_swap.is_some() { both } else { both.optional() });
    }
    if let Some(bytes) = limits.memory_reservation {
        all.push(Setting::new("memory", "memory.soft_limit_in_bytes", bytes));
    }
    if let Some(swappiness) = limits.memory_swappiness {
        all.push(Setting::new("memory", "memory.swappiness", swappiness));
    }
    if limits.oom_kill_disable {
        all.push(Setting::new("memory", "memory.oom_control", 1));
    }
    all
}

fn cpu(limits: &Limits) -> Vec<Setting> {
    let mut all = Vec::new();
    if let Some(millis) = limits.millicpus {
        all.push(Setting::new("cpu", "cpu.cfs_period_us", PERIOD_US));
        all.push(Setting::new("cpu", "cpu.cfs_quota_us", millis * (PERIOD_US / 1000)));
    }
    if let Some(period) = limits.cpu_period {
        all.push(Setting::new("cpu", "cpu.cfs_period_us", period));
    }
    if let Some(quota) = limits.cpu_quota {
        all.push(Setting::new("cpu", "cpu.cfs_quota_us", quota));
    }
    if let Some(shares) = limits.cpu_shares {
        all.push(Setting::new("cpu", "cpu.shares", shares));
    }
    if let Some(cpus) = &limits.cpuset_cpus {
        all.push(Setting::new("cpuset", "cpuset.cpus", cpus));
    }
    if let Some(nodes) = &limits.cpuset_mems {
        all.push(Setting::new("cpuset", "cpuset.mems", nodes));
    }
    all
}

/// A new cpuset is empty, and nobody can join an empty one: it gets what the group above it has. One that is not `new` may
/// have something of its own.
pub(super) fn inherit_cpuset(hierarchy: &Hierarchy, dir: &Path, new: bool) -> Result<()> {
    if !hierarchy.has("cpuset") {
        return Ok(());
    }
    let Some(above) = dir.parent() else { return Ok(()) };
    for file in ["cpuset.cpus", "cpuset.mems"] {
        let (from, to) = (above.join(file), dir.join(file));
        if new || kernel_file::value(&to).is_ok_and(|text| text.trim().is_empty()) {
            let value = kernel_file::value(&from).context(|| format!("read {}", from.display()))?;
            fs::write(&to, value.trim()).context(|| format!("write {}", to.display()))?;
        }
    }
    Ok(())
}
