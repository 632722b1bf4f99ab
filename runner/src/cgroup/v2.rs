//! Files of version 2.

use std::fs;
use std::path::Path;

use crate::error::{Context, Result};
use crate::spec::Limits;

use super::Setting;
use super::v1::PERIOD_US;

/// What to write for `limits`, in order.
pub(super) fn settings(limits: &Limits) -> Vec<Setting> {
    let setting = |controller, file, value, optional| Setting { controller, file, value, optional };
    let mut all = Vec::new();
    if let Some(bytes) = limits.memory {
        all.push(setting("memory", "memory.max", bytes.to_string(), false));
        // Swap is counted apart here: as much again, as on version 1.
        all.push(setting("memory", "memory.swap.max", bytes.to_string(), true));
    }
    if let Some(millis) = limits.millicpus {
        all.push(setting("cpu", "cpu.max", format!("{} {PERIOD_US}", millis * (PERIOD_US / 1000)), false));
    }
    if let Some(pids) = limits.pids {
        all.push(setting("pids", "pids.max", pids.to_string(), false));
    }
    all
}

/// Lets the children of the group `dir` use `controllers`.
pub(super) fn enable(dir: &Path, controllers: &[&str]) -> Result<()> {
    let control = dir.join("cgroup.subtree_control");
    let enabled = fs::read_to_string(&control).unwrap_or_default();
    for controller in controllers.iter().filter(|c| !enabled.split_whitespace().any(|e| e == **c)) {
        fs::write(&control, format!("+{controller}")).context(|| {
            format!("enable the cgroup controller {controller:?}: write +{controller} to {}", control.display())
        })?;
    }
    Ok(())
}
