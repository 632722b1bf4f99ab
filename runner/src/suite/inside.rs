//! Plugins of this very program, called without executing it again.
//!
//! A plugin that is found in `CNI_PATH` and is this program's file does what this program's code does. Its call is served by
//! a process all the same, a copy of this one: whatever becomes of it, a crash, a wait without end, a namespace that it does not
//! come back from, is the copy's affair, and is told as with any plugin. What is saved is the start of a program, the
//! pipes, and for its delegate even the process: an address plugin is called by its function.
//!
//! The document needs no pipe, because the copy has it, and the answer goes to a file in memory, which nobody has to empty
//! meanwhile.

use std::fs::{self, File, Metadata};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::os::unix::process::ExitStatusExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;

use cni::exec::{self, Command, Error, Output, STDERR_MAX, STDOUT_MAX};
use cni::plugin::{Stderr, World};
use nix::libc;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};

use crate::state::info::has_ended_within;
use crate::sys;
use crate::sys::clone::{Cloned, fork};

use super::{SELF, names};

/// Starts a plugin: as a copy of this process if its file is this program, and by executing it if not.
pub(crate) fn start(command: &Command<'_>) -> Result<Output, Error> {
    let Some(name) = own(command.program) else { return exec::run(command) };
    let failed = |source: io::Error| Error::Pipe { program: command.program.to_owned(), source };
    let (stdout, stderr) = (memory().map_err(failed)?, memory().map_err(failed)?);
    match fork() {
        // A second thread, or no room for another process: the other way may find it, or says why not.
        Err(_) => exec::run(command),
        Ok(Cloned::Child) => serve(name, command, &stdout, &stderr),
        Ok(Cloned::Parent { pidfd, .. }) => {
            let status = attend(&pidfd, command.timeout).map_err(failed)?;
            let timed_out = || Error::TimedOut { program: command.program.to_owned(), timeout: command.timeout };
            let status = status.ok_or_else(timed_out)?;
            let (stdout, complete) = contents(&stdout, STDOUT_MAX).map_err(failed)?;
            if !complete {
                return Err(Error::TooMuchOutput { program: command.program.to_owned() });
            }
            let (stderr, _) = contents(&stderr, STDERR_MAX).map_err(failed)?;
            Ok(Output { status, stdout, stderr })
        }
    }
}

/// Starts the delegate of a plugin that is served by this process: by its function, if its file is this program.
fn delegate(command: &Command<'_>) -> Result<Output, Error> {
    let Some(name) = own(command.program) else { return exec::run(command) };
    let (stderr, said) = Stderr::buffered();
    let mut stdout = Vec::new();
    let world = World {
        env: command.env.to_vec(),
        stdin: Box::new(command.stdin),
        stdout: Some(Box::new(&mut stdout)),
        stderr,
    };
    let Some(code) = call(name, world) else { return exec::run(command) };
    let stderr = said.lock().map(|mut said| std::mem::take(&mut *said)).unwrap_or_default();
    Ok(Output { status: exited(code), stdout, stderr })
}

/// The name of the plugin that the file `program` is, if it is this program under that name: a link to it, or a copy.
fn own(program: &Path) -> Option<&'static str> {
    let asked = program.file_name()?;
    // That one may execute itself, by its name.
    let name = names().find(|name| asked == *name && *name != "tap")?;
    let (theirs, ours) = (fs::metadata(program).ok()?, fs::metadata(SELF).ok()?);
    (is_same(&theirs, &ours) || theirs.size() == ours.size() && is_same_build(program)).then_some(name)
}

/// Whether both are one file. The sealed program is seen through an overlay, which keeps number and times of the file and
/// shows another device.
fn is_same(one: &Metadata, other: &Metadata) -> bool {
    let what = |m: &Metadata| (m.ino(), m.size(), m.mtime(), m.mtime_nsec(), m.ctime(), m.ctime_nsec());
    what(one) == what(other)
}

/// Whether the files begin alike, with a digest of all of the program in it.
fn is_same_build(program: &Path) -> bool {
    // The header of a note of 20 bytes, a build id, whose owner is GNU; see elf(5).
    const NOTE: &[u8; 16] = b"\x04\0\0\0\x14\0\0\0\x03\0\0\0GNU\0";
    let beginning = |path: &Path| -> io::Result<[u8; 4096]> {
        let mut page = [0; 4096];
        File::open(path)?.read_exact_at(&mut page, 0)?;
        Ok(page)
    };
    let (Ok(theirs), Ok(ours)) = (beginning(program), beginning(Path::new(SELF))) else { return false };
    theirs == ours && ours.windows(NOTE.len()).any(|bytes| bytes == NOTE)
}

fn call(name: &str, world: World<'_>) -> Option<u8> {
    match ipam::NAMES.contains(&name) {
        true => ipam::serve(name, world),
        false => plugins::serve(name, world, Some(delegate)),
    }
}

/// The copy's life, in surroundings like those of a process that was executed for the call.
fn serve(name: &str, command: &Command<'_>, stdout: &OwnedFd, stderr: &OwnedFd) -> ! {
    /// As a program of Rust's that panics.
    const PANICKED: u8 = 101;
    let alone = isolate(stdout.as_fd(), stderr.as_fd()).map(|()| {
        sys::replace_environment(command.env);
        let world = World { stdin: Box::new(command.stdin), ..cni::plugin::process() };
        catch_unwind(AssertUnwindSafe(|| call(name, world))).ok().flatten()
    });
    sys::exit_now(alone.ok().flatten().unwrap_or(PANICKED))
}

/// Nothing of this process's is left open: not its locks, and not its caller's terminal.
fn isolate(stdout: BorrowedFd<'_>, stderr: BorrowedFd<'_>) -> io::Result<()> {
    let null = File::open("/dev/null")?;
    sys::put_fd(null.as_fd(), 0)?;
    sys::put_fd(stdout, 1)?;
    sys::put_fd(stderr, 2)?;
    sys::close_from(3)?;
    // It is closed already.
    std::mem::forget(null);
    Ok(())
}

/// Waits for the end, and brings it about when the time is over; then there is no status.
fn attend(pidfd: &OwnedFd, timeout: Duration) -> io::Result<Option<ExitStatus>> {
    let in_time = has_ended_within(pidfd, timeout);
    if !in_time {
        let _ = sys::signal::send(pidfd.as_fd(), libc::SIGKILL);
    }
    let status = match waitid(Id::PIDFd(pidfd.as_fd()), WaitPidFlag::WEXITED)? {
        WaitStatus::Exited(_, code) => ExitStatus::from_raw((code & 0xff) << 8),
        WaitStatus::Signaled(_, signal, dumped) => ExitStatus::from_raw(signal as i32 | i32::from(dumped) << 7),
        _ => return Err(io::ErrorKind::Other.into()),
    };
    Ok(in_time.then_some(status))
}

fn exited(code: u8) -> ExitStatus {
    ExitStatus::from_raw(i32::from(code) << 8)
}

fn memory() -> io::Result<OwnedFd> {
    Ok(memfd_create(c"plugin", MFdFlags::MFD_CLOEXEC)?)
}

/// What was written, up to `most` bytes, and whether that is all.
fn contents(file: &OwnedFd, most: usize) -> io::Result<(Vec<u8>, bool)> {
    let file = File::from(file.try_clone()?);
    let length = usize::try_from(file.metadata()?.size()).unwrap_or(usize::MAX);
    let mut bytes = vec![0; length.min(most)];
    file.read_exact_at(&mut bytes, 0)?;
    Ok((bytes, length <= most))
}
