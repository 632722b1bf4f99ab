//! What a container may use of the machine.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::cgroup::devices::Rule;
use crate::error::{Error, Result};

/// What the container's cgroups allow. Nothing is limited by default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// Bytes of memory.
    pub memory: Option<u64>,
    /// Bytes of memory and swap together; without it as much swap as memory.
    pub memory_swap: Option<Total>,
    /// Bytes of memory that the container keeps when the host runs short.
    pub memory_reservation: Option<u64>,
    /// How readily the container's memory is swapped out, 0 to 100. Version 1 only.
    pub memory_swappiness: Option<u8>,
    /// Processes wait when memory is used up, instead of being killed. Version 1 only.
    pub oom_kill_disable: bool,
    /// Thousandths of a CPU.
    pub millicpus: Option<u64>,
    /// The length of a period for [`Limits::cpu_quota`], in microseconds.
    pub cpu_period: Option<u64>,
    /// CPU time in each period, in microseconds.
    pub cpu_quota: Option<u64>,
    /// Weight against other groups, 2 to 262144; 1024 is usual.
    pub cpu_shares: Option<u64>,
    /// CPUs that may be used, such as `0-2,4`.
    pub cpuset_cpus: Option<String>,
    /// Memory nodes that may be used.
    pub cpuset_mems: Option<String>,
    /// Processes and threads.
    pub pids: Option<u64>,
    /// Weight of I/O against other groups, 10 to 1000.
    pub blkio_weight: Option<u16>,
    /// Rates of single devices.
    pub throttles: Vec<Throttle>,
    /// Devices that may be used besides the usual ones.
    pub devices: Vec<Rule>,
    /// Values for files of the groups, by name, written as they are.
    pub raw: BTreeMap<String, String>,
    /// A limit that this host cannot keep is left out, instead of being refused.
    pub ignore_missing: bool,
}

/// Memory and swap together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Total {
    /// As much swap as there is.
    Unlimited,
    /// Bytes.
    Bytes(u64),
}

/// A limit for the traffic with one block device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Throttle {
    /// What is limited.
    pub kind: ThrottleKind,
    /// The device.
    pub device: Device,
    /// Bytes or operations in a second.
    pub rate: u64,
}

/// A block device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Device {
    /// A device file of the host.
    Path(PathBuf),
    /// By its numbers.
    Number {
        /// The driver.
        major: u64,
        /// The device of that driver.
        minor: u64,
    },
}

/// The four things that can be limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ThrottleKind {
    /// Bytes read.
    ReadBps,
    /// Bytes written.
    WriteBps,
    /// Reads.
    ReadIops,
    /// Writes.
    WriteIops,
}

impl Limits {
    /// These limits with those of `newer` in their place.
    #[must_use]
    pub fn changed_by(mut self, newer: &Self) -> Self {
        fn take<T: Clone>(old: &mut Option<T>, new: Option<&T>) {
            *old = new.cloned().or_else(|| old.take());
        }
        take(&mut self.memory, newer.memory.as_ref());
        take(&mut self.memory_swap, newer.memory_swap.as_ref());
        take(&mut self.memory_reservation, newer.memory_reservation.as_ref());
        take(&mut self.memory_swappiness, newer.memory_swappiness.as_ref());
        take(&mut self.cpu_period, newer.cpu_period.as_ref());
        take(&mut self.cpu_quota, newer.cpu_quota.as_ref());
        take(&mut self.cpu_shares, newer.cpu_shares.as_ref());
        take(&mut self.cpuset_cpus, newer.cpuset_cpus.as_ref());
        take(&mut self.cpuset_mems, newer.cpuset_mems.as_ref());
        take(&mut self.pids, newer.pids.as_ref());
        take(&mut self.blkio_weight, newer.blkio_weight.as_ref());
        // Two words for the same thing: the later one counts.
        if newer.millicpus.is_some() {
            (self.cpu_period, self.cpu_quota) = (None, None);
        }
        if newer.cpu_quota.is_some() {
            self.millicpus = None;
        }
        take(&mut self.millicpus, newer.millicpus.as_ref());
        if !newer.throttles.is_empty() {
            self.throttles.clone_from(&newer.throttles);
        }
        self.raw.extend(newer.raw.clone());
        self
    }

    /// Those of these limits that `older` has not, or has otherwise.
    #[must_use]
    pub fn differing_from(&self, older: &Self) -> Self {
        fn new<T: Clone + PartialEq>(new: &Option<T>, old: &Option<T>) -> Option<T> {
            new.clone().filter(|_| new != old)
        }
        let memory = new(&self.memory, &older.memory);
        let swap = new(&self.memory_swap, &older.memory_swap);
        Self {
            // Swap is counted with memory, so both are said again.
            memory: if swap.is_some() { self.memory } else { memory },
            memory_swap: if memory.is_some() { self.memory_swap } else { swap },
            memory_reservation: new(&self.memory_reservation, &older.memory_reservation),
            memory_swappiness: new(&self.memory_swappiness, &older.memory_swappiness),
            oom_kill_disable: false,
            millicpus: new(&self.millicpus, &older.millicpus),
            cpu_period: new(&self.cpu_period, &older.cpu_period),
            cpu_quota: new(&self.cpu_quota, &older.cpu_quota),
            cpu_shares: new(&self.cpu_shares, &older.cpu_shares),
            cpuset_cpus: new(&self.cpuset_cpus, &older.cpuset_cpus),
            cpuset_mems: new(&self.cpuset_mems, &older.cpuset_mems),
            pids: new(&self.pids, &older.pids),
            blkio_weight: new(&self.blkio_weight, &older.blkio_weight),
            throttles: self.throttles.iter().filter(|t| !older.throttles.contains(t)).cloned().collect(),
            devices: Vec::new(),
            raw: self
                .raw
                .iter()
                .filter(|(k, v)| older.raw.get(*k) != Some(*v))
                .map(|(k, v)| (k.clone(), v.clone()))
                .collect(),
            ignore_missing: self.ignore_missing,
        }
    }

    /// Refuses what contradicts itself.
    pub fn check(&self) -> Result<()> {
        if let (Some(memory), Some(Total::Bytes(total))) = (self.memory, self.memory_swap)
            && total < memory
        {
            return Err(Error::new(format!(
                "the limit for memory and swap together ({total} bytes) is below that for memory alone ({memory})"
            )));
        }
        if self.memory_swap.is_some() && self.memory.is_none() {
            return Err(Error::new("--memory-swap counts memory too, so it needs --memory"));
        }
        if let (Some(memory), Some(reservation)) = (self.memory, self.memory_reservation)
            && reservation > memory
        {
            return Err(Error::new(format!(
                "the reservation of memory ({reservation} bytes) is above its limit ({memory})"
            )));
        }
        if self.millicpus.is_some() && (self.cpu_quota.is_some() || self.cpu_period.is_some()) {
            return Err(Error::new(
                "--cpus is a quota in a period: it cannot be used with --cpu-quota or --cpu-period",
            ));
        }
        if self.oom_kill_disable && self.memory.is_none() {
            return Err(Error::new("--oom-kill-disable without --memory would let the container stop the host"));
        }
        Ok(())
    }
}

/// A number of bytes with an optional suffix b, k, m, g or t (powers of 1024).
pub fn parse_bytes(text: &str) -> Result<u64> {
    let invalid = || Error::new(format!("invalid size {text:?}: expected a number with an optional b, k, m, g or t"));
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match text[digits.len()..].to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        _ => return Err(invalid()),
    };
    let number: u64 = digits.parse().map_err(|_| invalid())?;
    number.checked_mul(1 << shift).ok_or_else(invalid)
}

/// A limit for memory, which cannot be so small that the container's own set-up would be killed.
pub fn parse_memory(text: &str) -> Result<u64> {
    match parse_bytes(text)? {
        bytes if bytes < SMALLEST_MEMORY => {
            Err(Error::new(format!("memory limit {text:?} is too small: the least is 6m")))
        }
        bytes => Ok(bytes),
    }
}

const SMALLEST_MEMORY: u64 = 6 << 20;

/// A number of CPUs such as `0.5` or `2`, as thousandths.
pub fn parse_cpus(text: &str) -> Result<u64> {
    let invalid = || Error::new(format!("invalid number of CPUs {text:?}: expected for example 0.5 or 2"));
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    if part.len() > 3 || !part.bytes().all(|b| b.is_ascii_digit()) {
        return Err(invalid());
    }
    let whole: u64 = if whole.is_empty() && !part.is_empty() { 0 } else { whole.parse().map_err(|_| invalid())? };
    let part: u64 = format!("{part:0<3}").parse().map_err(|_| invalid())?;
    match whole.checked_mul(1000).and_then(|n| n.checked_add(part)) {
        // The kernel's least quota is 1 ms in a period of 100 ms.
        Some(millis) if (10..=1_000_000).contains(&millis) => Ok(millis),
        _ => Err(invalid()),
    }
}

/// `DEVICE:RATE`, where the rate of bytes may have a suffix.
pub fn parse_throttle(kind: ThrottleKind, text: &str) -> Result<Throttle> {
    let invalid =
        |why: &str| Error::new(format!("invalid device rate {text:?}: {why}; expected for example /dev/sda:1m"));
    let (device, rate) = text.rsplit_once(':').ok_or_else(|| invalid("it has no rate"))?;
    if !device.starts_with("/dev/") {
        return Err(invalid("it does not begin with a device file"));
    }
    let rate = match kind {
        ThrottleKind::ReadBps | ThrottleKind::WriteBps => parse_bytes(rate)?,
        ThrottleKind::ReadIops | ThrottleKind::WriteIops => {
            rate.parse().map_err(|_| invalid("the rate is no number"))?
        }
    };
    Ok(Throttle { kind, device: Device::Path(device.into()), rate })
}

/// A list of numbers and ranges such as `0-2,4`, as the kernel takes it.
pub fn parse_set(text: &str) -> Result<String> {
    let number = |text: &str| text.parse::<u16>().ok();
    let part = |part: &str| match part.split_once('-') {
        Some((first, last)) => matches!((number(first), number(last)), (Some(a), Some(b)) if a <= b),
        None => number(part).is_some(),
    };
    if text.split(',').all(part) {
        return Ok(text.to_owned());
    }
    Err(Error::new(format!("invalid list {text:?}: expected numbers and ranges, for example 0-2,4")))
}

impl FromStr for Total {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if text == "-1" { Ok(Self::Unlimited) } else { parse_bytes(text).map(Self::Bytes) }
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => write!(f, "{}", path.display()),
            Self::Number { major, minor } => write!(f, "{major}:{minor}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        assert_eq!(parse_bytes("32m"), Ok(32 << 20));
        assert_eq!(parse_bytes("1G"), Ok(1 << 30));
        assert_eq!(parse_bytes("8388608"), Ok(8 << 20));
        for bad in ["", "m", "-1", "1x", "1.5g", "99999999999t"] {
            assert!(parse_bytes(bad).is_err(), "{bad:?}");
        }
        assert!(parse_memory("1k").is_err());
        assert_eq!(parse_memory("6m"), Ok(6 << 20));
    }

    #[test]
    fn cpus() {
        assert_eq!(parse_cpus("0.5"), Ok(500));
        assert_eq!(parse_cpus(".5"), Ok(500));
        assert_eq!(parse_cpus("2"), Ok(2000));
        assert_eq!(parse_cpus("1.25"), Ok(1250));
        for bad in ["", ".", "0", "0.001", "-1", "1.2345", "x", "1.-5", "99999999999999999999"] {
            assert!(parse_cpus(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn sets_and_rates() {
        assert!(parse_set("0-2,4").is_ok() && parse_set("0").is_ok());
        for bad in ["", ",", "2-1", "a", "1,", "-1", "1 2", "1\n2"] {
            assert!(parse_set(bad).is_err(), "{bad:?}");
        }
        let rate = parse_throttle(ThrottleKind::WriteBps, "/dev/x:y:1m").unwrap();
        assert_eq!((rate.device.to_string().as_str(), rate.rate), ("/dev/x:y", 1 << 20));
        for bad in ["/dev/sda", "sda:1m", "/dev/sda:x", "/dev/sda:"] {
            assert!(parse_throttle(ThrottleKind::ReadBps, bad).is_err(), "{bad:?}");
        }
        assert!(parse_throttle(ThrottleKind::ReadIops, "/dev/sda:1m").is_err());
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        let limits = |change: fn(&mut Limits)| {
            let mut limits = Limits { memory: Some(64 << 20), ..Limits::default() };
            change(&mut limits);
            limits.check()
        };
        assert!(limits(|_| {}).is_ok());
        assert!(limits(|l| l.memory_swap = Some(Total::Bytes(1 << 20))).is_err());
        assert!(limits(|l| (l.memory, l.memory_swap) = (None, Some(Total::Unlimited))).is_err());
        assert!(limits(|l| l.memory_reservation = Some(65 << 20)).is_err());
        assert!(limits(|l| (l.millicpus, l.cpu_quota) = (Some(1), Some(1))).is_err());
        assert!(limits(|l| (l.memory, l.oom_kill_disable) = (None, true)).is_err());
    }

    #[test]
    fn the_later_word_counts() {
        let old = Limits { cpu_quota: Some(1000), cpu_period: Some(2000), pids: Some(5), ..Limits::default() };
        let new = old.changed_by(&Limits { millicpus: Some(500), memory: Some(1), ..Limits::default() });
        assert_eq!((new.millicpus, new.cpu_quota, new.cpu_period), (Some(500), None, None));
        assert_eq!((new.memory, new.pids), (Some(1), Some(5)));
    }
}
