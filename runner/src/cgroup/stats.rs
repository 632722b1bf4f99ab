//! What a container has used, read from its groups.
//!
//! The two versions count the same things in other files and other units. What a host does not count is absent, and not
//! zero.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::kernel_file;

use super::{Group, Kind};

/// What has been used so far, and what may be.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Stats {
    /// Of the `memory` controller.
    pub(crate) memory: Option<Memory>,
    /// Of `cpu` and `cpuacct`.
    pub(crate) cpu: Option<Cpu>,
    /// Of `pids`.
    pub(crate) pids: Option<Pids>,
    /// Of `blkio` or `io`.
    pub(crate) io: Option<Io>,
}

/// Bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Memory {
    /// Now, without the files that could be dropped at once.
    pub(crate) usage: u64,
    /// The most so far, where it is counted.
    pub(crate) peak: Option<u64>,
    /// Nothing when there is no limit.
    pub(crate) limit: Option<u64>,
    /// Processes that were killed because there was no more.
    pub(crate) oom_kills: u64,
}

/// Nanoseconds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Cpu {
    /// Of all CPUs together.
    pub(crate) total: u64,
    /// The part outside of the kernel.
    pub(crate) user: u64,
    /// The part inside of it.
    pub(crate) system: u64,
    /// Periods in which a quota was in force.
    pub(crate) periods: u64,
    /// Those in which it was used up.
    pub(crate) throttled_periods: u64,
    /// How long processes were held back.
    pub(crate) throttled: u64,
}

/// Processes and threads.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Pids {
    /// Now.
    pub(crate) current: u64,
    /// The most so far, where it is counted.
    pub(crate) peak: Option<u64>,
    /// Nothing when there is no limit.
    pub(crate) limit: Option<u64>,
    /// How often the limit kept one from being made.
    pub(crate) refused: u64,
}

/// Traffic with block devices.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Io {
    /// Bytes.
    pub(crate) read_bytes: u64,
    /// Bytes.
    pub(crate) write_bytes: u64,
    /// Operations.
    pub(crate) reads: u64,
    /// Operations.
    pub(crate) writes: u64,
}

impl Group<'_> {
    /// What the container has used.
    pub(crate) fn stats(&self) -> Stats {
        let find = |controller: &str| {
            let hierarchy = self.hierarchies.iter().find(|h| h.has(controller))?;
            Some((hierarchy.kind == Kind::V2, self.dir(hierarchy)))
        };
        let of = |controller: &str| find(controller).filter(|(_, dir)| dir.is_dir());
        Stats {
            memory: of("memory").map(|(two, dir)| if two { memory_v2(&dir) } else { memory_v1(&dir) }),
            cpu: of("cpu").map(|(two, dir)| if two { cpu_v2(&dir) } else { cpu_v1(&dir, of("cpuacct")) }),
            pids: of("pids").map(|(_, dir)| pids(&dir)),
            io: of("blkio").map(|(two, dir)| if two { io_v2(&dir) } else { io_v1(&dir) }),
        }
    }
}

impl Group<'_> {
    /// How many processes were killed because the memory was used up. Asked for before the groups go.
    pub(crate) fn oom_kills(&self) -> u64 {
        let counting = self.hierarchies.iter().find(|h| h.has("memory"));
        counting.map_or(0, |hierarchy| oom_kills(&[self.dir(hierarchy)]))
    }
}

/// The same of the groups `dirs`, of which it is not known who counts memory.
pub(crate) fn oom_kills(dirs: &[PathBuf]) -> u64 {
    let of = |dir: &PathBuf| {
        let one = keyed(dir, "memory.oom_control", "oom_kill");
        one.or_else(|| keyed(dir, "memory.events", "oom_kill")).unwrap_or_default()
    };
    dirs.iter().map(of).sum()
}

fn memory_v1(dir: &Path) -> Memory {
    let usage = number(dir, "memory.usage_in_bytes").unwrap_or_default();
    let droppable = keyed(dir, "memory.stat", "total_inactive_file").unwrap_or_default();
    Memory {
        usage: usage.saturating_sub(droppable),
        peak: number(dir, "memory.max_usage_in_bytes"),
        // Without a limit the kernel says the largest number of whole pages.
        limit: number(dir, "memory.limit_in_bytes").filter(|bytes| *bytes < UNLIMITED),
        oom_kills: keyed(dir, "memory.oom_control", "oom_kill").unwrap_or_default(),
    }
}

const UNLIMITED: u64 = 1 << 62;

fn memory_v2(dir: &Path) -> Memory {
    let usage = number(dir, "memory.current").unwrap_or_default();
    Memory {
        usage: usage.saturating_sub(keyed(dir, "memory.stat", "inactive_file").unwrap_or_default()),
        peak: number(dir, "memory.peak"),
        limit: number(dir, "memory.max"),
        oom_kills: keyed(dir, "memory.events", "oom_kill").unwrap_or_default(),
    }
}

fn cpu_v1(dir: &Path, accounting: Option<(bool, PathBuf)>) -> Cpu {
    let count = |key: &str| keyed(dir, "cpu.stat", key).unwrap_or_default();
    let account = |file: &str| accounting.as_ref().and_then(|(_, dir)| number(dir, file)).unwrap_or_default();
    Cpu {
        total: account("cpuacct.usage"),
        user: account("cpuacct.usage_user"),
        system: account("cpuacct.usage_sys"),
        periods: count("nr_periods"),
        throttled_periods: count("nr_throttled"),
        throttled: count("throttled_time"),
    }
}

fn cpu_v2(dir: &Path) -> Cpu {
    let count = |key: &str| keyed(dir, "cpu.stat", key).unwrap_or_default();
    Cpu {
        total: count("usage_usec") * 1000,
        user: count("user_usec") * 1000,
        system: count("system_usec") * 1000,
        periods: count("nr_periods"),
        throttled_periods: count("nr_throttled"),
        throttled: count("throttled_usec") * 1000,
    }
}

fn pids(dir: &Path) -> Pids {
    Pids {
        current: number(dir, "pids.current").unwrap_or_default(),
        peak: number(dir, "pids.peak"),
        limit: number(dir, "pids.max"),
        refused: keyed(dir, "pids.events", "max").unwrap_or_default(),
    }
}

/// Lines such as `8:0 Read 4096`; the throttling layer sees all traffic, whatever the scheduler.
fn io_v1(dir: &Path) -> Io {
    let sum = |file: &str, kind: &str| {
        let text = read(dir, file);
        let value = |line: &str| {
            let mut words = line.split_whitespace().skip(1);
            (words.next() == Some(kind)).then(|| words.next()?.parse::<u64>().ok()).flatten()
        };
        text.lines().filter_map(value).sum()
    };
    let (bytes, operations) = ("blkio.throttle.io_service_bytes", "blkio.throttle.io_serviced");
    Io {
        read_bytes: sum(bytes, "Read"),
        write_bytes: sum(bytes, "Write"),
        reads: sum(operations, "Read"),
        writes: sum(operations, "Write"),
    }
}

/// Lines such as `8:0 rbytes=4096 wbytes=0 rios=1 wios=0`.
fn io_v2(dir: &Path) -> Io {
    let text = read(dir, "io.stat");
    let sum = |key: &str| {
        let pairs = text.split_whitespace().filter_map(|word| word.split_once('='));
        pairs.filter(|(name, _)| *name == key).filter_map(|(_, value)| value.parse::<u64>().ok()).sum()
    };
    Io { read_bytes: sum("rbytes"), write_bytes: sum("wbytes"), reads: sum("rios"), writes: sum("wios") }
}

fn read(dir: &Path, file: &str) -> String {
    kernel_file::list(dir.join(file)).unwrap_or_default()
}

/// The file's one number; none for `max`.
fn number(dir: &Path, file: &str) -> Option<u64> {
    read(dir, file).trim().parse().ok()
}

/// The number behind `key` in a file of such lines.
fn keyed(dir: &Path, file: &str, key: &str) -> Option<u64> {
    let text = read(dir, file);
    let value = |line: &str| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok();
    text.lines().find_map(value)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::cgroup::Hierarchy;

    fn write(dir: &Path, files: &[(&str, &str)]) {
        fs::create_dir_all(dir).unwrap();
        for (name, text) in files {
            fs::write(dir.join(name), text).unwrap();
        }
    }

    fn stats(kind: Kind, root: &Path, files: &[(&str, &str)]) -> Stats {
        write(&root.join("xnet-one"), files);
        let hierarchies = [Hierarchy { kind, mount: root.to_owned(), below: PathBuf::new() }];
        Group::new(&hierarchies, None, &"one".parse().unwrap()).stats()
    }

    #[test]
    fn both_versions_count_the_same() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        write(two.path(), &[("cgroup.controllers", "cpu io memory pids\n")]);
        let controllers = ["cpu", "cpuacct", "memory", "pids", "blkio"].map(str::to_owned).to_vec();
        let bytes = "8:0 Read 4096\n8:0 Write 512\n8:16 Read 1\n8:16 Write 0\nTotal 4609\n";
        let old = stats(
            Kind::V1 { controllers },
            one.path(),
            &[
                ("memory.usage_in_bytes", "3000\n"),
                ("memory.stat", "cache 1\ntotal_inactive_file 1000\n"),
                ("memory.max_usage_in_bytes", "5000\n"),
                ("memory.limit_in_bytes", "9223372036854771712\n"),
                ("memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n"),
                ("cpu.stat", "nr_periods 4\nnr_throttled 2\nthrottled_time 7000\n"),
                ("cpuacct.usage", "9000\n"),
                ("cpuacct.usage_user", "5000\n"),
                ("cpuacct.usage_sys", "4000\n"),
                ("pids.current", "2\n"),
                ("pids.max", "max\n"),
                ("pids.events", "max 6\n"),
                ("blkio.throttle.io_service_bytes", bytes),
                ("blkio.throttle.io_serviced", "8:0 Read 2\n8:0 Write 1\n8:16 Read 1\nTotal 4\n"),
            ],
        );
        let new = stats(
            Kind::V2,
            two.path(),
            &[
                ("memory.current", "3000\n"),
                ("memory.stat", "anon 1\ninactive_file 1000\n"),
                ("memory.peak", "5000\n"),
                ("memory.max", "max\n"),
                ("memory.events", "low 0\noom 3\noom_kill 3\n"),
                (
                    "cpu.stat",
                    "usage_usec 9\nuser_usec 5\nsystem_usec 4\nnr_periods 4\nnr_throttled 2\nthrottled_usec 7\n",
                ),
                ("pids.current", "2\n"),
                ("pids.max", "max\n"),
                ("pids.events", "max 6\n"),
                ("io.stat", "8:0 rbytes=4096 wbytes=512 rios=2 wios=1\n8:16 rbytes=1 wbytes=0 rios=1 wios=0\n"),
            ],
        );
        assert_eq!(old, new);
        assert_eq!(old.memory, Some(Memory { usage: 2000, peak: Some(5000), limit: None, oom_kills: 3 }));
        assert_eq!(old.io, Some(Io { read_bytes: 4097, write_bytes: 512, reads: 3, writes: 1 }));
        assert_eq!(oom_kills(&[one.path().join("xnet-one"), two.path().join("xnet-one")]), 6);
    }

    #[test]
    fn what_is_not_counted_is_absent() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(stats(Kind::V1 { controllers: vec!["freezer".into()] }, dir.path(), &[]), Stats::default());
    }
}
