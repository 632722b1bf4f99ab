//! The processes of a container: whether it runs, and whether its first process looks after orphans.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use crate::kernel_file;
use crate::state::{Info, Status, Task, View};

use super::Report;

/// The present run, if the container runs and is not frozen.
pub(super) fn running(report: &mut Report, view: &View) -> Option<Info> {
    let called = view.called();
    match (view.status, &view.run) {
        (Status::Running, Some(run)) => {
            report.ok("running", format!("process {}", run.pid));
            return Some(run.clone());
        }
        (Status::Paused, _) => report.bad("running", "paused: nothing answers", format!("xnet unpause {called}")),
        (Status::Restarting, _) => {
            let fix = format!("xnet logs --tail 20 {called}");
            report.bad("running", "it ends again and again, and its restart policy waits for the next time", fix);
        }
        (status, _) => {
            let code = view.exit.as_ref().and_then(|exit| exit.exit_code);
            let code = code.map(|code| format!(" with status {code}")).unwrap_or_default();
            report.bad("running", format!("{status}{code}"), format!("xnet start {called}"));
        }
    }
    None
}

/// A process that has just ended is a zombie for a moment, everywhere. One that still is after this is not looked after.
const PATIENCE: Duration = Duration::from_millis(300);

/// Ended processes that the container's first one does not ask about: they stay until it ends.
pub(super) fn zombies(report: &mut Report, view: &View, first: Task) {
    let then = children(first);
    let stay: BTreeSet<_> = if then.is_empty() {
        then
    } else {
        std::thread::sleep(PATIENCE);
        children(first).intersection(&then).copied().collect()
    };
    if stay.is_empty() {
        return report.ok("zombies", "none");
    }
    let hint = if view.spec.process.init { "" } else { ": --init puts one in front that does" };
    report.warn(
        "zombies",
        format!("{} ended processes that process 1 of the container does not reap{hint}", stay.len()),
        format!("xnet rm -f {} && xnet run --init ...", view.called()),
    );
}

/// The zombies among the children of `parent`: number and start time.
fn children(parent: Task) -> BTreeSet<(i32, u64)> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter_map(|pid| zombie(&kernel_file::value(format!("/proc/{pid}/stat")).ok()?, parent.pid).map(|t| (pid, t)))
        .collect()
}

/// The start time of a zombie child of `parent`, from its line of `stat`.
fn zombie(stat: &str, parent: i32) -> Option<u64> {
    // The name is in parentheses and may hold anything; the first field after it is number 3.
    let (_, rest) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let is_one = fields.first() == Some(&"Z") && fields.get(1)?.parse() == Ok(parent);
    fields.get(19).filter(|_| is_one)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ended_children_of_the_first_process_count() {
        let stat = |state: &str, parent: &str| {
            format!("42 (a) Z 7 (b) {state} {parent} 1 1 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 1 0 4711 8 9")
        };
        assert_eq!(zombie(&stat("Z", "7"), 7), Some(4711));
        assert_eq!(zombie(&stat("S", "7"), 7), None);
        assert_eq!(zombie(&stat("Z", "8"), 7), None);
    }
}
