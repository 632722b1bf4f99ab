//! `xnet stats`: what containers use, as a table that goes on, or once.

use std::collections::HashMap;
use std::fs;
use std::io::{IsTerminal, stdout};
use std::thread::sleep;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::{Value as Json, json};

use crate::cgroup::stats::Stats;
use crate::cgroup::{self, Group, Hierarchy};
use crate::container;
use crate::error::{Error, Result};
use crate::format::table::{Column, Format};
use crate::format::units::{bytes, decimal_bytes, percent};
use crate::id::Name;
use crate::spec::Dirs;
use crate::state::{Store, View};
use crate::sys::ns::in_initial_user;

use super::complain;

/// Which containers to look at, and how.
#[derive(Debug, Args)]
pub(super) struct StatsCommand {
    /// Also those that do not run
    #[arg(short, long)]
    all: bool,
    /// Once, instead of every second
    #[arg(long)]
    no_stream: bool,
    /// Whole ids
    #[arg(long)]
    no_trunc: bool,
    /// table, json, or a Go template
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Ids, names, or beginnings of ids; all that run without
    #[arg(value_name = "CONTAINER")]
    containers: Vec<String>,
}

const COLUMNS: [Column; 8] = [
    ("ID", "CONTAINER ID"),
    ("Name", "NAME"),
    ("CPUPerc", "CPU %"),
    ("MemUsage", "MEM USAGE / LIMIT"),
    ("MemPerc", "MEM %"),
    ("NetIO", "NET I/O"),
    ("BlockIO", "BLOCK I/O"),
    ("PIDs", "PIDS"),
];

/// Between two looks: what was used in it is the share of a CPU.
const INTERVAL: Duration = Duration::from_secs(1);
/// As short as it can be for a share that means something.
const GLANCE: Duration = Duration::from_millis(250);

impl StatsCommand {
    pub(super) fn run(&self, dirs: &Dirs) -> Result<u8> {
        let format =
            Format::new(self.format.as_deref(), &COLUMNS, &[&COLUMNS[..], &[("Container", "CONTAINER")]].concat())?;
        let store = container::open(dirs, &mut complain)?;
        let asked = self.containers.iter().map(|text| store.find(text)).collect::<Result<Vec<_>>>()?;
        let hierarchies = cgroup::of_host()?;
        if hierarchies.is_empty() && !in_initial_user() {
            let why = cgroup::undelegated("that counts");
            complain(&Error::new(format!("only what goes over networks is known: {}", why.message)));
        }
        let mut watch = Watch { hierarchies: &hierarchies, last: HashMap::new() };
        watch.look(&self.views(&store, &asked)?);
        loop {
            sleep(if self.no_stream { GLANCE } else { INTERVAL });
            let views = self.views(&store, &asked)?;
            let rows: Vec<_> = watch.look(&views).iter().map(|sample| self.row(sample)).collect();
            let text = format.render(&rows)?;
            if self.no_stream {
                print!("{text}");
                return Ok(0);
            }
            let clear = if stdout().is_terminal() { "\x1b[2J\x1b[H" } else { "" };
            print!("{clear}{text}");
        }
    }

    fn views(&self, store: &Store, asked: &[Name]) -> Result<Vec<View>> {
        let mut views = View::all(store)?;
        views.retain(
            |view| {
                if asked.is_empty() { self.all || view.status.is_alive() } else { asked.contains(view.id()) }
            },
        );
        Ok(views)
    }

    fn row(&self, sample: &Sample) -> Json {
        let Stats { memory, cpu, pids, io } = &sample.stats;
        let id = if self.no_trunc { sample.id.as_str() } else { sample.id.short() };
        let memory = memory.clone().unwrap_or_default();
        let limit = memory.limit.unwrap_or(sample.host_memory);
        let io = io.clone().unwrap_or_default();
        json!({
            "BlockIO": format!("{} / {}", decimal_bytes(io.read_bytes), decimal_bytes(io.write_bytes)),
            "CPUPerc": percent(sample.cpu_share),
            "Container": id,
            "ID": id,
            "MemPerc": percent(ratio(memory.usage, limit)),
            "MemUsage": format!("{} / {}", bytes(memory.usage), bytes(limit)),
            "Name": sample.name,
            "NetIO": format!("{} / {}", decimal_bytes(sample.received), decimal_bytes(sample.sent)),
            "PIDs": pids.as_ref().map_or(0, |pids| pids.current).to_string(),
            "Memory": memory,
            "Cpu": cpu,
            "Pids": pids,
            "Io": io,
            "Net": {"RxBytes": sample.received, "TxBytes": sample.sent},
        })
    }
}

/// One look at one container.
struct Sample {
    id: Name,
    name: String,
    stats: Stats,
    /// Of one CPU, since the look before.
    cpu_share: f64,
    received: u64,
    sent: u64,
    host_memory: u64,
}

struct Watch<'a> {
    hierarchies: &'a [Hierarchy],
    /// When each container was looked at, and the CPU time that it had used by then.
    last: HashMap<Name, (Instant, u64)>,
}

impl Watch<'_> {
    fn look(&mut self, views: &[View]) -> Vec<Sample> {
        views.iter().map(|view| self.sample(view)).collect()
    }

    fn sample(&mut self, view: &View) -> Sample {
        let stats = Group::of(self.hierarchies, &view.spec).stats();
        let (now, used) = (Instant::now(), stats.cpu.as_ref().map_or(0, |cpu| cpu.total));
        let last = self.last.insert(view.id().clone(), (now, used));
        let cpu_share = last.map_or(0.0, |(then, before)| {
            Duration::from_nanos(used.saturating_sub(before)).as_secs_f64() / now.duration_since(then).as_secs_f64()
        });
        let pid = view.run.as_ref().filter(|_| view.status.is_alive()).map(|run| run.pid);
        let (received, sent) = pid.map(traffic).unwrap_or_default();
        let host_memory = host_memory();
        let (id, name) = (view.id().clone(), view.called().to_owned());
        Sample { id, name, stats, cpu_share, received, sent, host_memory }
    }
}

/// Bytes that came in and went out by all interfaces but `lo`, from the process' own view of them.
fn traffic(pid: i32) -> (u64, u64) {
    let text = fs::read_to_string(format!("/proc/{pid}/net/dev")).unwrap_or_default();
    let counters = text.lines().skip(2).filter_map(|line| line.split_once(':')).filter(|(name, _)| name.trim() != "lo");
    counters.fold((0, 0), |(received, sent), (_, numbers)| {
        let mut numbers = numbers.split_whitespace().map(|n| n.parse::<u64>().unwrap_or_default());
        (received + numbers.next().unwrap_or_default(), sent + numbers.nth(7).unwrap_or_default())
    })
}

fn host_memory() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total =
        text.lines().find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    total.unwrap_or_default() * 1024
}

#[expect(clippy::cast_precision_loss, reason = "for people")]
fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}
