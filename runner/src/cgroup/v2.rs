//! Files of version 2.

use std::fs;
use std::path::Path;

use crate::error::{Context, Error, Result};
use crate::kernel_file;
use crate::spec::{Limits, ThrottleKind, Total};

use super::PERIOD_US;
use super::setting::{Setting, device_number};

/// Refuses what only version 1 can do, unless it may be left out.
pub(super) fn check(limits: &Limits) -> Result<()> {
    for (asked, what) in
        [(limits.memory_swappiness.is_some(), "--memory-swappiness"), (limits.oom_kill_disable, "--oom-kill-disable")]
    {
        if asked && !limits.ignore_missing {
            return Err(Error::new(format!("{what} cannot be kept: version 2 of cgroups has nothing like it")));
        }
    }
    Ok(())
}

/// What to write for `limits`, in order.
pub(super) fn settings(limits: &Limits) -> Result<Vec<Setting>> {
    let mut all = memory(limits);
    all.extend(cpu(limits));
    if let Some(pids) = limits.pids {
        all.push(Setting::new("pids", "pids.max", pids));
    }
    if let Some(weight) = limits.blkio_weight {
        all.push(Setting::new("blkio", "io.bfq.weight", weight).or("io.weight"));
    }
    for throttle in &limits.throttles {
        let key = match throttle.kind {
            ThrottleKind::ReadBps => "rbps",
            ThrottleKind::WriteBps => "wbps",
            ThrottleKind::ReadIops => "riops",
            ThrottleKind::WriteIops => "wiops",
        };
        let (major, minor) = device_number(&throttle.device)?;
        all.push(Setting::new("blkio", "io.max", format!("{major}:{minor} {key}={}", throttle.rate)));
    }
    Ok(all)
}

fn memory(limits: &Limits) -> Vec<Setting> {
    let mut all = Vec::new();
    if let Some(bytes) = limits.memory {
        // Swap is counted apart here; without a word about it, as much again, as on version 1.
        let swap = match limits.memory_swap {
            None => bytes.to_string(),
            Some(Total::Bytes(total)) => total.saturating_sub(bytes).to_string(),
            Some(Total::Unlimited) => "max".to_owned(),
        };
        let swap = Setting::new("memory", "memory.swap.max", swap);
        all.push(Setting::new("memory", "memory.max", bytes));
        all.push(if limits.memory_swap.is_some() { swap } else { swap.optional() });
    }
    if let Some(bytes) = limits.memory_reservation {
        all.push(Setting::new("memory", "memory.low", bytes));
    }
    all
}

fn cpu(limits: &Limits) -> Vec<Setting> {
    let mut all = Vec::new();
    let quota = limits.millicpus.map(|millis| millis * (PERIOD_US / 1000)).or(limits.cpu_quota);
    let period = limits.cpu_period.unwrap_or(PERIOD_US);
    match quota {
        Some(quota) => all.push(Setting::new("cpu", "cpu.max", format!("{quota} {period}"))),
        None if limits.cpu_period.is_some() => all.push(Setting::new("cpu", "cpu.max", format!("max {period}"))),
        None => {}
    }
    if let Some(shares) = limits.cpu_shares {
        all.push(Setting::new("cpu", "cpu.weight", weight(shares)));
    }
    if let Some(cpus) = &limits.cpuset_cpus {
        all.push(Setting::new("cpuset", "cpuset.cpus", cpus));
    }
    if let Some(nodes) = &limits.cpuset_mems {
        all.push(Setting::new("cpuset", "cpuset.mems", nodes));
    }
    all
}

/// The weight, 1 to 10000 with 100 as usual, for shares, 2 to 262144 with 1024 as usual.
///
/// A straight line between the ends would make 39 of the usual shares; other runtimes have settled on a curve through
/// all three points: log10(weight) = (log2(shares)² + 125·log2(shares)) / 612 - 7/34.
pub(super) fn weight(shares: u64) -> u64 {
    let shares = shares.clamp(2, 262_144);
    #[expect(clippy::cast_precision_loss, reason = "262144 at most")]
    let log = (shares as f64).log2();
    let weight = 10_f64.powf((log * log + 125.0 * log) / 612.0 - 7.0 / 34.0).ceil();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 1 and 10000")]
    let weight = weight as u64;
    weight.clamp(1, 10_000)
}

/// Lets the children of the group `dir` use `controllers`.
pub(super) fn enable(dir: &Path, controllers: &[&str]) -> Result<()> {
    let control = dir.join("cgroup.subtree_control");
    if controllers.is_empty() {
        return Ok(());
    }
    let enabled = kernel_file::value(&control).unwrap_or_default();
    for controller in controllers.iter().filter(|c| !enabled.split_whitespace().any(|e| e == **c)) {
        fs::write(&control, format!("+{controller}")).context(|| {
            format!("enable the cgroup controller {controller:?}: write +{controller} to {}", control.display())
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_become_weights_along_a_curve() {
        assert_eq!([2, 512, 1024, 2048, 262_144].map(weight), [1, 59, 100, 174, 10_000]);
    }
}
