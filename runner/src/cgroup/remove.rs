//! Emptying and removing groups, one's own or those of a runner that has died.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc;
use nix::unistd::Pid;

use crate::error::{Context, Error, Result};
use crate::sys;

use super::PREFIX;

/// How long processes may take to leave a group: the kernel takes them out some time after they have ended.
const PATIENCE: Duration = Duration::from_secs(5);

/// Kills everything in the groups `dirs` of one container. Groups that are gone are empty.
///
/// A process is born into the version 2 group and joins the others from there, so where that group can be killed at once,
/// the others need not be looked at.
pub(crate) fn kill(dirs: &[PathBuf]) -> Result<()> {
    let at_once = |dir: &PathBuf| {
        OpenOptions::new().write(true).open(dir.join("cgroup.kill")).is_ok_and(|mut file| file.write_all(b"1").is_ok())
    };
    // The version 2 hierarchy is the last in the kernel's list.
    if dirs.iter().rev().any(at_once) {
        return Ok(());
    }
    dirs.iter().try_for_each(|dir| kill_one_by_one(dir))
}

/// Without `cgroup.kill`: until no process is listed any more, since one may fork while another is killed.
fn kill_one_by_one(dir: &Path) -> Result<()> {
    retry(|| {
        let pids = members(dir);
        for pid in &pids {
            let Ok(pidfd) = sys::signal::pidfd_open(*pid) else { continue };
            // The number may have gone to another process before the descriptor was opened.
            if members(dir).contains(pid) {
                let _ = sys::signal::send(pidfd.as_fd(), libc::SIGKILL);
            }
        }
        pids.is_empty()
    })
    .then_some(())
    .ok_or_else(|| Error::new(format!("processes in {} do not end", dir.display())))
}

fn members(dir: &Path) -> Vec<Pid> {
    let text = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
    text.lines().filter_map(|line| line.parse().ok()).map(Pid::from_raw).collect()
}

/// Ends everything in the groups `dirs` of one container, and removes them. A group that can be removed was empty, so who
/// is in it is asked only where that fails.
pub(crate) fn clear(dirs: &[PathBuf]) -> Result<()> {
    let used: Vec<_> = dirs.iter().filter(|dir| !remove_empty(dir)).cloned().collect();
    if used.is_empty() { Ok(()) } else { kill(&used).and_then(|()| remove(&used)) }
}

/// Removes the groups `dirs`, with those that a privileged container has made below, and the parent of each when that is
/// empty then.
fn remove(dirs: &[PathBuf]) -> Result<()> {
    for dir in dirs {
        remove_trees(std::slice::from_ref(dir))?;
        remove_parent(dir);
    }
    Ok(())
}

/// Answers whether the group is gone, and with it its parent, if that was its last.
fn remove_empty(dir: &Path) -> bool {
    let gone = matches!(removal(dir), None | Some(Errno::ENOENT));
    if gone {
        remove_parent(dir);
    }
    gone
}

/// Not empty: another container's. Not permitted, not there: nothing of ours. A slice: systemd's. And a group at the top has
/// none.
fn remove_parent(dir: &Path) {
    let is_nested = dir.file_name().is_some_and(|name| !name.as_encoded_bytes().starts_with(PREFIX.as_bytes()));
    let parent = dir.parent().filter(|parent| is_nested && parent.extension().is_none_or(|end| end != "slice"));
    let _ = parent.map(fs::remove_dir);
}

fn removal(dir: &Path) -> Option<Errno> {
    fs::remove_dir(dir).err().and_then(|error| error.raw_os_error()).map(Errno::from_raw)
}

fn remove_one(dir: &Path) -> Result<()> {
    let mut last = None;
    let gone = retry(|| {
        last = removal(dir);
        matches!(last, None | Some(Errno::ENOENT))
    });
    if gone {
        return Ok(());
    }
    Err(last.unwrap_or(Errno::EBUSY)).context(|| format!("remove the cgroup {}", dir.display()))
}

/// Removes the groups `dirs` with all groups below them, and nothing above: that is the engine's.
pub(crate) fn remove_trees(dirs: &[PathBuf]) -> Result<()> {
    dirs.iter().try_for_each(|dir| {
        let entries = fs::read_dir(dir).into_iter().flatten().flatten();
        let below = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        remove_trees(&below.map(|entry| entry.path()).collect::<Vec<_>>())?;
        remove_one(dir)
    })
}

/// Switches `controllers` off again in `control`, a `cgroup.subtree_control` file, unless somebody else's group is there
/// to need them.
pub(crate) fn restore_controllers(control: &Path, controllers: &[String]) -> Result<()> {
    let dir = control.parent().unwrap_or(control);
    let children = fs::read_dir(dir).context(|| format!("list {}", dir.display()))?;
    if children.flatten().any(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        return Ok(());
    }
    for controller in controllers {
        fs::write(control, format!("-{controller}"))
            .context(|| format!("write -{controller} to {}", control.display()))?;
    }
    Ok(())
}

/// Tries again, at growing intervals, until `done` or out of patience.
fn retry(mut done: impl FnMut() -> bool) -> bool {
    let (start, mut pause) = (Instant::now(), Duration::from_micros(200));
    while !done() {
        if start.elapsed() > PATIENCE {
            return false;
        }
        sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(50));
    }
    true
}
