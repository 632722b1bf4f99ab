//! What systemd calls the things that are asked of a scope: org.freedesktop.systemd1(5), systemd.resource-control(5).

use std::fs;

use nix::unistd::Pid;
use plugins::bus::Variant;

use crate::cgroup::devices::{DeviceKind, Rule};
use crate::cgroup::{PERIOD_US, v2};
use crate::spec::{Limits, Total};

use super::value;

/// A name and a value.
pub(super) type Property = (&'static str, Variant<'static>);

/// Microseconds in a second.
const SECOND_US: u64 = 1_000_000;
/// systemd keeps a share of the CPU in hundredths of a CPU.
const SHARE_US: u64 = SECOND_US / 100;

/// What makes it a container's scope: its group is the container's, and it goes with its last process, however that ends.
pub(super) fn of_scope(slice: &str, member: Pid) -> Vec<Property> {
    vec![
        ("Description", value("container of xnet")),
        ("Slice", value(slice.to_owned())),
        ("PIDs", value(vec![member.as_raw().cast_unsigned()])),
        ("Delegate", value(true)),
        ("DefaultDependencies", value(false)),
        ("CollectMode", value("inactive-or-failed")),
        ("CPUAccounting", value(true)),
        ("MemoryAccounting", value(true)),
        ("IOAccounting", value(true)),
        ("TasksAccounting", value(true)),
    ]
}

/// Limits, but for that of tasks. What systemd has no name for is not here.
pub(super) fn of_limits(limits: &Limits) -> Vec<Property> {
    let mut all = Vec::new();
    if let Some(bytes) = limits.memory {
        all.push(("MemoryMax", value(bytes)));
        // Without a word about it as much swap as memory, as everywhere.
        let swap = match limits.memory_swap {
            None => bytes,
            Some(Total::Bytes(total)) => total.saturating_sub(bytes),
            Some(Total::Unlimited) => u64::MAX,
        };
        all.push(("MemorySwapMax", value(swap)));
    }
    all.extend(limits.memory_reservation.map(|bytes| ("MemoryLow", value(bytes))));
    let period = limits.cpu_period.unwrap_or(PERIOD_US);
    let quota = limits.millicpus.map(|millis| millis * (SECOND_US / 1000));
    let quota = quota.or(limits.cpu_quota.map(|quota| quota.saturating_mul(SECOND_US) / period));
    all.extend(quota.map(|share| ("CPUQuotaPerSecUSec", value(share.next_multiple_of(SHARE_US)))));
    all.extend(limits.cpu_period.map(|period| ("CPUQuotaPeriodUSec", value(period))));
    all.extend(limits.cpu_shares.map(|shares| ("CPUWeight", value(v2::weight(shares)))));
    all.extend(limits.cpuset_cpus.as_deref().map(|set| ("AllowedCPUs", value(bits(set)))));
    all.extend(limits.cpuset_mems.as_deref().map(|set| ("AllowedMemoryNodes", value(bits(set)))));
    all
}

/// The limit of tasks, if there is one.
pub(super) fn of_tasks(limits: &Limits) -> Option<Property> {
    limits.pids.map(|pids| ("TasksMax", value(pids)))
}

/// Which devices may be used; nothing where systemd's words do not reach, which then leaves all of that to us.
pub(super) fn of_devices(rules: &[Rule]) -> Vec<Property> {
    let drivers = fs::read_to_string("/proc/devices").unwrap_or_default();
    let Some(allowed) = allowed(rules, &drivers) else { return Vec::new() };
    vec![("DevicePolicy", value("strict")), ("DeviceAllow", value(allowed))]
}

/// The rules as pairs of what is allowed and how. None if a rule takes back a part of an earlier one, or allows
/// all. `drivers` is the text of /proc/devices.
fn allowed(rules: &[Rule], drivers: &str) -> Option<Vec<(String, String)>> {
    let mut pairs = Vec::new();
    for rule in rules {
        let kind = match rule.kind {
            // Nothing is allowed from the start, so to forbid everything first says nothing.
            DeviceKind::Any if !rule.allow && pairs.is_empty() && rule.major.is_none() => continue,
            DeviceKind::Any => return None,
            DeviceKind::Block => "block",
            DeviceKind::Char => "char",
        };
        if !rule.allow {
            return None;
        }
        let which = match (rule.major, rule.minor) {
            (Some(major), Some(minor)) => format!("/dev/{kind}/{major}:{minor}"),
            (Some(major), None) => match driver(drivers, kind, major) {
                Some(name) => format!("{kind}-{name}"),
                // A driver that is not there has no devices.
                None => continue,
            },
            (None, None) => format!("{kind}-*"),
            (None, Some(_)) => return None,
        };
        pairs.push((which, rule.access.to_string()));
    }
    Some(pairs)
}

/// The name of a driver.
fn driver<'a>(table: &'a str, kind: &str, major: u32) -> Option<&'a str> {
    let (chars, blocks) = table.split_once("Block devices:")?;
    let lines = if kind == "block" { blocks } else { chars }.lines();
    lines.filter_map(|line| line.trim().split_once(' ')).find(|(number, _)| number.parse() == Ok(major)).map(|(_, n)| n)
}

/// A list such as `0-2,4` as a set of bits, the lowest of the first byte for 0.
fn bits(list: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for part in list.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (Ok(first), Ok(last)) = (first.parse::<u16>(), last.parse::<u16>()) else { continue };
        for number in usize::from(first)..=usize::from(last) {
            if bytes.len() <= number / 8 {
                bytes.resize(number / 8 + 1, 0);
            }
            bytes[number / 8] |= 1 << (number % 8);
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(texts: &[&str]) -> Vec<Rule> {
        texts.iter().map(|text| Rule::try_from((*text).to_owned()).unwrap()).collect()
    }

    #[test]
    fn sets_are_bits() {
        assert_eq!(bits("0-2,4"), [0b1_0111]);
        assert_eq!(bits("8,1"), [0b10, 0b1]);
        assert_eq!(bits("15"), [0, 0x80]);
    }

    #[test]
    fn devices_in_systemds_words() {
        let table = "Character devices:\n  1 mem\n136 pts\n\nBlock devices:\n  8 sd\n";
        let pairs =
            allowed(&rules(&["deny a *:* rwm", "c 1:3 rwm", "c 136:* rw", "b *:* m", "c 99:* r"]), table).unwrap();
        let expected = [("/dev/char/1:3", "rwm"), ("char-pts", "rw"), ("block-*", "m")];
        assert_eq!(pairs, expected.map(|(what, how)| (what.to_owned(), how.to_owned())));
        for beyond in [["a *:* rwm"].as_slice(), &["c 1:3 rwm", "deny c 1:3 w"], &["c *:3 r"]] {
            assert_eq!(allowed(&rules(beyond), table), None, "{beyond:?}");
        }
    }

    #[test]
    fn limits_in_systemds_units() {
        let limits = Limits {
            memory: Some(64 << 20),
            millicpus: Some(505),
            cpu_shares: Some(1024),
            cpuset_cpus: Some("0-1".to_owned()),
            pids: Some(7),
            ..Limits::default()
        };
        let expected = vec![
            ("MemoryMax", value(64_u64 << 20)),
            ("MemorySwapMax", value(64_u64 << 20)),
            ("CPUQuotaPerSecUSec", value(510_000_u64)),
            ("CPUWeight", value(100_u64)),
            ("AllowedCPUs", value(vec![3_u8])),
        ];
        assert_eq!(of_limits(&limits), expected);
        assert_eq!(of_tasks(&limits), Some(("TasksMax", value(7_u64))));
        let quota = Limits { cpu_quota: Some(25_000), cpu_period: Some(50_000), ..Limits::default() };
        let expected = vec![("CPUQuotaPerSecUSec", value(500_000_u64)), ("CPUQuotaPeriodUSec", value(50_000_u64))];
        assert_eq!(of_limits(&quota), expected);
    }
}
