//! Files of version 1.

use std::fs;
use std::path::Path;

use crate::error::{Context, Result};
use crate::spec::Limits;

use super::{Hierarchy, Setting};

/// The length of a CPU period, which both versions have as their default.
pub(super) const PERIOD_US: u64 = 100_000;

/// What to write for `limits`, in order.
pub(super) fn settings(limits: &Limits) -> Vec<Setting> {
    let setting =
        |controller, file, value: u64, optional| Setting { controller, file, value: value.to_string(), optional };
    let mut all = Vec::new();
    if let Some(bytes) = limits.memory {
        all.push(setting("memory", "memory.limit_in_bytes", bytes, false));
        // Memory and swap together; without swap accounting there is no such file.
        all.push(setting("memory", "memory.memsw.limit_in_bytes", bytes.saturating_mul(2), true));
    }
    if let Some(millis) = limits.millicpus {
        all.push(setting("cpu", "cpu.cfs_period_us", PERIOD_US, false));
        all.push(setting("cpu", "cpu.cfs_quota_us", millis * (PERIOD_US / 1000), false));
    }
    if let Some(pids) = limits.pids {
        all.push(setting("pids", "pids.max", pids, false));
    }
    all
}

/// A new cpuset is empty, and nobody can join an empty one: it gets what the group above it has.
pub(super) fn inherit_cpuset(hierarchy: &Hierarchy, dir: &Path) -> Result<()> {
    if !hierarchy.has("cpuset") {
        return Ok(());
    }
    let Some(above) = dir.parent() else { return Ok(()) };
    for file in ["cpuset.cpus", "cpuset.mems"] {
        let (from, to) = (above.join(file), dir.join(file));
        if fs::read_to_string(&to).is_ok_and(|text| text.trim().is_empty()) {
            let value = fs::read_to_string(&from).context(|| format!("read {}", from.display()))?;
            fs::write(&to, value.trim()).context(|| format!("write {}", to.display()))?;
        }
    }
    Ok(())
}
