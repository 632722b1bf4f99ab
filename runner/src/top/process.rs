//! One process, from its files in /proc.

use std::collections::BTreeMap;
use std::fs;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use nix::unistd::{SysconfVar, sysconf};

/// The kinds of namespaces, as under /proc/PID/ns.
pub(crate) const NAMESPACES: [&str; 8] = ["mnt", "pid", "net", "ipc", "uts", "user", "cgroup", "time"];

/// What a line of the list says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    /// The effective user, by its name on the host if it has one there.
    pub(crate) user: String,
    /// The number on the host.
    pub(crate) pid: i32,
    /// That of its parent; 0 if that is outside of what we can see.
    pub(crate) ppid: i32,
    /// How much of one processor it has used since it was started, in percent.
    pub(crate) cpu: u64,
    /// When it was started: the time, or the day if that was another one.
    pub(crate) start: String,
    /// The controlling terminal, or `?`.
    pub(crate) tty: String,
    /// The processor time that it has used.
    pub(crate) time: String,
    /// The command with its arguments, or its name in brackets.
    pub(crate) command: String,
    /// The inodes of its namespaces, in the order of [`NAMESPACES`].
    pub(crate) namespaces: Vec<String>,
}

/// What clock ticks mean.
#[derive(Debug)]
pub(super) struct Clock {
    now: Timestamp,
    uptime: f64,
    per_second: u64,
}

impl Clock {
    /// As of now.
    pub(super) fn now() -> Self {
        let uptime = fs::read_to_string("/proc/uptime").unwrap_or_default();
        let uptime = uptime.split(' ').next().and_then(|text| text.parse().ok()).unwrap_or_default();
        let per_second = sysconf(SysconfVar::CLK_TCK).ok().flatten().and_then(|n| u64::try_from(n).ok());
        Self { now: Timestamp::now(), uptime, per_second: per_second.unwrap_or(100).max(1) }
    }

    /// How many seconds ago `ticks` after boot was.
    #[expect(clippy::cast_precision_loss, reason = "ticks since boot are far from the limit")]
    fn seconds_since(&self, ticks: u64) -> f64 {
        (self.uptime - ticks as f64 / self.per_second as f64).max(0.0)
    }
}

/// The host's users by number. It is the files alone that count: a static program has no other way to ask.
pub(super) fn users() -> BTreeMap<u32, String> {
    let text = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let user = |line: &str| {
        let mut fields = line.split(':');
        let name = fields.next()?.to_owned();
        Some((fields.nth(1)?.parse().ok()?, name))
    };
    text.lines().filter_map(user).collect()
}

/// The number of the process that process `pid` is a child of.
pub(super) fn parent(pid: i32) -> Option<i32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

impl Row {
    /// Process `pid`, unless it has ended.
    pub(super) fn read(pid: i32, users: &BTreeMap<u32, String>, clock: &Clock) -> Option<Self> {
        let file = |name: &str| fs::read_to_string(format!("/proc/{pid}/{name}")).ok();
        let (stat, status) = (file("stat")?, file("status")?);
        let arguments = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let inode = |kind: &&str| {
            let link = fs::read_link(format!("/proc/{pid}/ns/{kind}")).ok();
            let text = link.and_then(|link| link.to_str().map(str::to_owned)).unwrap_or_default();
            text.trim_matches(|c: char| !c.is_ascii_digit()).to_owned()
        };
        let uid = status.lines().find_map(|line| line.strip_prefix("Uid:"))?.split_whitespace().nth(1)?;
        let user = uid.parse().ok().and_then(|uid: u32| users.get(&uid)).map_or(uid, String::as_str).to_owned();
        let namespaces = NAMESPACES.iter().map(inode).collect();
        Self::parse(pid, &stat, &arguments, user, clock).map(|row| Self { namespaces, ..row })
    }

    fn parse(pid: i32, stat: &str, arguments: &[u8], user: String, clock: &Clock) -> Option<Self> {
        // The name is in parentheses and may hold anything; the first field after it is number 3.
        let (head, rest) = stat.rsplit_once(')')?;
        let (_, name) = head.split_once('(')?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let number = |n: usize| fields.get(n - 3)?.parse::<i64>().ok();
        let ticks = |n: usize| number(n).and_then(|value| u64::try_from(value).ok());
        let used = (ticks(14)? + ticks(15)?) / clock.per_second;
        let age = clock.seconds_since(ticks(22)?);
        Some(Self {
            user,
            pid,
            ppid: i32::try_from(number(4)?).ok()?,
            cpu: percent(used, age),
            start: start(clock.now, age),
            tty: tty(u32::try_from(number(7)?).unwrap_or_default()),
            time: format!("{:02}:{:02}:{:02}", used / 3600, used / 60 % 60, used % 60),
            command: command(name, arguments),
            namespaces: Vec::new(),
        })
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a whole number of percent is meant"
)]
fn percent(used: u64, age: f64) -> u64 {
    if age < 1.0 { 0 } else { (used as f64 * 100.0 / age) as u64 }
}

fn start(now: Timestamp, age: f64) -> String {
    let begun = jiff::SignedDuration::try_from_secs_f64(age).ok().and_then(|age| now.checked_sub(age).ok());
    let (begun, now) = (begun.unwrap_or(now).to_zoned(TimeZone::UTC), now.to_zoned(TimeZone::UTC));
    begun.strftime(if begun.date() == now.date() { "%H:%M" } else { "%b%d" }).to_string()
}

/// The name of a terminal by its device number.
fn tty(device: u32) -> String {
    // linux/kdev_t.h: the minor number is in two parts around the major one.
    let (major, minor) = ((device >> 8) & 0xfff, (device & 0xff) | ((device >> 12) & 0xf_ff00));
    match major {
        136..=143 => format!("pts/{}", (major - 136) * 256 + minor),
        4 if minor < 64 => format!("tty{minor}"),
        4 => format!("ttyS{}", minor - 64),
        _ => "?".to_owned(),
    }
}

fn command(name: &str, arguments: &[u8]) -> String {
    let words: Vec<_> = arguments.split(|byte| *byte == 0).map(String::from_utf8_lossy).collect();
    let line = words.join(" ").trim_end().to_owned();
    // A line of a list is one line, and does nothing to the terminal.
    let line: String = line.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
    if line.is_empty() { format!("[{name}]") } else { line }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clock() -> Clock {
        Clock { now: "2026-11-22T10:00:00Z".parse().unwrap(), uptime: 1000.0, per_second: 100 }
    }

    #[test]
    fn a_line_of_stat_is_read_whatever_the_name_holds() {
        let stat = "42 (a) b (c) S 1 42 42 34817 42 4194304 1 2 3 4 3000 20500 0 0 20 0 1 0 50000 8 9";
        let row = Row::parse(42, stat, b"", "root".into(), &clock()).unwrap();
        let (tty, time, start) = (row.tty.as_str(), row.time.as_str(), row.start.as_str());
        assert_eq!((row.ppid, row.cpu, tty, time, start), (1, 47, "pts/1", "00:03:55", "09:51"));
        assert_eq!(row.command, "[a) b (c]");
        assert!(Row::parse(42, "42 (x) S 1", b"", String::new(), &clock()).is_none());
    }

    #[test]
    fn commands_are_shown_on_one_line() {
        assert_eq!(command("sh", b"sh\0-c\0echo\n\x1b[2J\0"), "sh -c echo??[2J");
        assert_eq!(command("kworker", b""), "[kworker]");
    }

    #[test]
    fn this_process_can_be_read() {
        let row = Row::read(std::process::id().cast_signed(), &users(), &Clock::now()).unwrap();
        assert!(row.ppid > 0 && row.namespaces.iter().all(|inode| inode.starts_with('4')), "{row:?}");
    }
}
