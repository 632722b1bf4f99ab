//! Entering namespaces that exist, and one that cannot be had at birth.

use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;

use nix::sched::{CloneFlags, setns, unshare};
use nix::unistd::getpid;

use crate::error::{Context, Error, Result};
use crate::spec::TimeOffsets;
use crate::sys;

use super::kernel;
use super::op::Joined;

/// Enters the namespace behind a file, after making sure that it is one of this kind.
pub(super) fn join(joined: &Joined) -> Result<()> {
    let kind = match joined.kind {
        "ipc" => CloneFlags::CLONE_NEWIPC,
        "uts" => CloneFlags::CLONE_NEWUTS,
        "cgroup" => CloneFlags::CLONE_NEWCGROUP,
        other => return Err(Error::new(format!("namespaces of kind {other:?} are not entered here"))),
    };
    let file = File::open(&joined.path).context(|| format!("open {}", joined.path.display()))?;
    if !sys::ns::is(file.as_fd(), kind.bits()).context(|| "look at it")? {
        return Err(Error::new(format!("{} is not a namespace of kind {}", joined.path.display(), joined.kind)));
    }
    setns(file, kind).context(|| "setns")
}

/// Makes a time namespace with shifted clocks and enters it. The offsets can be set only until somebody is inside, and
/// a process which makes such a namespace is not: its children would be. So it enters afterwards like a stranger.
pub(super) fn shift_clocks(offsets: &TimeOffsets) -> Result<()> {
    let time = CloneFlags::from_bits_retain(TIME);
    unshare(time).context(|| "unshare")?;
    let pid = getpid();
    let path = format!("{pid}/timens_offsets");
    kernel::open(&path)?
        .write_all(offsets.lines().as_bytes())
        .context(|| "set the clocks (no clock may show a time before boot)")?;
    let inside = "/proc/thread-self/ns/time_for_children";
    let file = File::open(inside).context(|| format!("open {inside}"))?;
    setns(file, time).context(|| "setns")
}

/// `CLONE_NEWTIME` of linux/sched.h, which the wrapper has no name for.
const TIME: i32 = 0x80;
