//! What the container may use.

use oci_spec::runtime as oci;

use crate::cgroup::devices::{DeviceKind, Rule};
use crate::cgroup::{Kind, of_host};
use crate::error::{Context, Error, Result};
use crate::spec::{Device, Limits, Throttle, ThrottleKind, Total, parse_set};

use super::refuse;

/// The limits that `asked` amounts to.
///
/// # Errors
///
/// A limit that xnet cannot keep.
pub(crate) fn limits(asked: &oci::LinuxResources) -> Result<Limits> {
    let mut limits = Limits::default();
    if let Some(memory) = asked.memory() {
        self::memory(memory, &mut limits)?;
    }
    if let Some(cpu) = asked.cpu() {
        self::cpu(cpu, &mut limits)?;
    }
    limits.pids = asked.pids().as_ref().and_then(|pids| above_zero(Some(pids.limit())));
    if let Some(io) = asked.block_io() {
        block_io(io, &mut limits)?;
    }
    hugepages(asked.hugepage_limits().as_deref().unwrap_or_default(), &mut limits)?;
    if let Some(network) = asked.network() {
        refuse("linux.resources.network.classID", network.class_id().is_some_and(|id| id > 0))?;
        let priorities = network.priorities().as_ref().is_some_and(|list| !list.is_empty());
        refuse("linux.resources.network.priorities", priorities)?;
    }
    refuse("linux.resources.rdma", asked.rdma().as_ref().is_some_and(|rdma| !rdma.is_empty()))?;
    for (file, value) in asked.unified().iter().flatten() {
        if file.contains('/') || !file.contains('.') {
            return Err(Error::new(format!("linux.resources.unified: {file:?} is not the name of a cgroup's file")));
        }
        limits.raw.insert(file.clone(), value.clone());
    }
    limits.check().context(|| "linux.resources")?;
    Ok(limits)
}

/// Numbers up to 0 mean that there is no limit.
fn above_zero(number: Option<i64>) -> Option<u64> {
    number.and_then(|number| u64::try_from(number).ok()).filter(|number| *number > 0)
}

/// Limits of the kernel's own memory are gone from the kernel, and every runtime ignores them.
fn memory(memory: &oci::LinuxMemory, limits: &mut Limits) -> Result<()> {
    limits.memory = above_zero(memory.limit());
    limits.memory_reservation = above_zero(memory.reservation());
    limits.memory_swap = match memory.swap() {
        Some(-1) => limits.memory.map(|_| Total::Unlimited),
        swap => above_zero(swap).map(Total::Bytes),
    };
    limits.memory_swappiness = match memory.swappiness() {
        Some(value) => Some(
            u8::try_from(value)
                .ok()
                .filter(|value| *value <= 100)
                .ok_or_else(|| Error::new(format!("linux.resources.memory.swappiness {value} is above 100")))?,
        ),
        None => None,
    };
    limits.oom_kill_disable = memory.disable_oom_killer().unwrap_or(false);
    Ok(())
}

fn cpu(cpu: &oci::LinuxCpu, limits: &mut Limits) -> Result<()> {
    limits.cpu_shares = cpu.shares().filter(|shares| *shares > 0);
    limits.cpu_quota = above_zero(cpu.quota());
    limits.cpu_period = cpu.period().filter(|period| *period > 0);
    let set = |list: &Option<String>| list.as_deref().filter(|text| !text.is_empty()).map(parse_set).transpose();
    limits.cpuset_cpus = set(cpu.cpus()).context(|| "linux.resources.cpu.cpus")?;
    limits.cpuset_mems = set(cpu.mems()).context(|| "linux.resources.cpu.mems")?;
    refuse("linux.resources.cpu.idle", cpu.idle().is_some_and(|idle| idle != 0))?;
    refuse("linux.resources.cpu.burst", cpu.burst().is_some_and(|burst| burst > 0))?;
    refuse("linux.resources.cpu.realtimeRuntime", cpu.realtime_runtime().is_some_and(|time| time != 0))?;
    refuse("linux.resources.cpu.realtimePeriod", cpu.realtime_period().is_some_and(|time| time > 0))
}

fn block_io(io: &oci::LinuxBlockIo, limits: &mut Limits) -> Result<()> {
    limits.blkio_weight = io.weight().filter(|weight| *weight > 0);
    refuse("linux.resources.blockIO.leafWeight", io.leaf_weight().is_some_and(|weight| weight > 0))?;
    let devices = io.weight_device().as_ref().is_some_and(|list| !list.is_empty());
    refuse("linux.resources.blockIO.weightDevice", devices)?;
    for (kind, list) in [
        (ThrottleKind::ReadBps, io.throttle_read_bps_device()),
        (ThrottleKind::WriteBps, io.throttle_write_bps_device()),
        (ThrottleKind::ReadIops, io.throttle_read_iops_device()),
        (ThrottleKind::WriteIops, io.throttle_write_iops_device()),
    ] {
        for throttle in list.iter().flatten() {
            let number = |number: i64| u64::try_from(number).map_err(|_| Error::new("a device number is below 0"));
            let (major, minor) = (number(throttle.major())?, number(throttle.minor())?);
            limits.throttles.push(Throttle { kind, device: Device::Number { major, minor }, rate: throttle.rate() });
        }
    }
    Ok(())
}

/// The file is called otherwise where the controller is in version 2.
fn hugepages(asked: &[oci::LinuxHugepageLimit], limits: &mut Limits) -> Result<()> {
    if asked.is_empty() {
        return Ok(());
    }
    let unified = of_host()?.iter().any(|h| h.kind == Kind::V2 && h.has("hugetlb"));
    for limit in asked {
        let size = limit.page_size();
        if size.is_empty() || !size.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return Err(Error::new(format!("linux.resources.hugepageLimits: invalid page size {size:?}")));
        }
        let file = if unified { "max" } else { "limit_in_bytes" };
        limits.raw.insert(format!("hugetlb.{size}.{file}"), limit.limit().to_string());
    }
    Ok(())
}

/// Which devices may be used, beside the usual ones.
pub(super) fn rules(asked: &oci::LinuxResources) -> Result<Vec<Rule>> {
    asked.devices().iter().flatten().map(rule).collect()
}

fn rule(rule: &oci::LinuxDeviceCgroup) -> Result<Rule> {
    let number = |number: Option<i64>| match number {
        None | Some(-1) => Ok(None),
        Some(number) => u32::try_from(number)
            .map(Some)
            .map_err(|_| Error::new(format!("linux.resources.devices: {number} is no device number"))),
    };
    let kind = match rule.typ() {
        None | Some(oci::LinuxDeviceType::A) => DeviceKind::Any,
        Some(oci::LinuxDeviceType::B) => DeviceKind::Block,
        Some(oci::LinuxDeviceType::C | oci::LinuxDeviceType::U) => DeviceKind::Char,
        Some(oci::LinuxDeviceType::P) => return Err(Error::new("linux.resources.devices: a pipe is no device")),
    };
    let access = rule.access().as_deref().filter(|text| !text.is_empty()).unwrap_or("rwm");
    Ok(Rule {
        allow: rule.allow(),
        kind,
        major: number(rule.major())?,
        minor: number(rule.minor())?,
        access: access.parse().context(|| "linux.resources.devices")?,
    })
}
