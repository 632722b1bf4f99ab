//! The lock of a network: one writer at a time, and nobody waits for ever.
//!
//! It is the Go suite's lock: `flock(LOCK_EX)` on a file opened for reading, freed by closing it, and so by the
//! end of the process, however that comes. The Go suite waits without a limit, and one stuck process then blocks
//! every other; here a wait ends after a while with the name of the one who holds the lock.
//!
//! A free lock is taken at once; for a held one the call asks again every millisecond, which is what the holder's whole
//! work takes. A `flock` that blocks has no limit of time by itself; the thread that could wait in it costs a static
//! binary 65 KB and every call its start.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::stat::{major, minor};
use thiserror::Error;

/// How long to leave a held lock alone before asking again.
const NAP: Duration = Duration::from_millis(1);

/// The locked file. Dropping it frees the lock.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

/// Why the lock was not taken.
#[derive(Debug, Error)]
pub(crate) enum LockError {
    #[error("cannot lock {path}", path = path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("{path} is still locked by {holders} after {} s", waited.as_secs_f32(), path = path.display(), holders = holders_text(holders))]
    Held { path: PathBuf, waited: Duration, holders: Vec<Holder> },
}

/// A process that holds a lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Holder {
    pub(crate) pid: u32,
    pub(crate) command: String,
}

impl Lock {
    /// Takes the lock, creating its file if need be; gives up after `wait`.
    pub(crate) fn acquire(path: &Path, wait: Duration) -> Result<Self, LockError> {
        let fail = |source| LockError::Io { path: path.to_owned(), source };
        let deadline = Instant::now() + wait;
        loop {
            let file = open(path).map_err(fail)?;
            let file = match file.try_lock() {
                Ok(()) => file,
                Err(TryLockError::WouldBlock) if wait_for(&file, deadline).map_err(fail)? => file,
                Err(TryLockError::WouldBlock) => {
                    return Err(LockError::Held { path: path.to_owned(), waited: wait, holders: holders(&file) });
                }
                Err(TryLockError::Error(source)) => return Err(fail(source)),
            };
            // Somebody may have removed the file while we waited; a lock on it then excludes nobody.
            if file.metadata().map_err(fail)?.nlink() > 0 {
                return Ok(Self { _file: file });
            }
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    let flags = nix::libc::O_CREAT | nix::libc::O_CLOEXEC;
    // Not `create(true)`: the standard library wants write access for that, and the Go suite opens for reading.
    OpenOptions::new().read(true).custom_flags(flags).mode(0o750).open(path)
}

/// Waits for the lock; false when the time is over.
fn wait_for(file: &File, deadline: Instant) -> io::Result<bool> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(false);
        }
        thread::sleep(NAP.min(left));
        match file.try_lock() {
            Ok(()) => return Ok(true),
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
}

/// The processes that hold a lock on this file, as far as `/proc/locks` shows them.
fn holders(file: &File) -> Vec<Holder> {
    let (Ok(meta), Ok(table)) = (file.metadata(), std::fs::read_to_string("/proc/locks")) else {
        return Vec::new();
    };
    let device = format!("{:02x}:{:02x}", major(meta.dev()), minor(meta.dev()));
    let pids = holding_pids(&table, &device, meta.ino());
    pids.into_iter().map(|pid| Holder { pid, command: command(pid) }).collect()
}

/// Reads `/proc/locks`, whose lines look like `1: FLOCK  ADVISORY  WRITE 4711 fd:01:1835 0 EOF`; the lines of
/// waiters have a `->` in second place. File systems with device numbers per subvolume show another one here
/// than `stat` does, and so the inode alone has to do where device and inode match nothing.
fn holding_pids(table: &str, device: &str, inode: u64) -> Vec<u32> {
    let exact = format!("{device}:{inode}");
    let suffix = format!(":{inode}");
    let pids = |matches: &dyn Fn(&str) -> bool| -> Vec<u32> {
        table
            .lines()
            .filter_map(|line| match line.split_whitespace().collect::<Vec<_>>()[..] {
                [_, "FLOCK", _, _, pid, file, ..] if matches(file) => pid.parse().ok(),
                _ => None,
            })
            .filter(|pid| *pid > 0)
            .collect()
    };
    let found = pids(&|file| file == exact);
    if found.is_empty() { pids(&|file| file.ends_with(&suffix)) } else { found }
}

fn command(pid: u32) -> String {
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    name.trim_end().to_owned()
}

fn holders_text(holders: &[Holder]) -> String {
    let one = |holder: &Holder| match holder.command.as_str() {
        "" => format!("process {}", holder.pid),
        command => format!("process {} ({command})", holder.pid),
    };
    match holders {
        [] => "a process that is not visible from here".to_owned(),
        some => some.iter().map(one).collect::<Vec<_>>().join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_lock_table() {
        let table = "1: FLOCK  ADVISORY  WRITE 4711 fd:01:1835 0 EOF\n\
                     1: -> FLOCK  ADVISORY  WRITE 4712 fd:01:1835 0 EOF\n\
                     2: POSIX  ADVISORY  WRITE 4713 fd:01:1835 0 EOF\n\
                     3: FLOCK  ADVISORY  WRITE 4714 fd:02:1835 0 EOF\n\
                     4: FLOCK  ADVISORY  WRITE 4715 fd:01:18350 0 EOF\n";
        assert_eq!(holding_pids(table, "fd:01", 1835), [4711]);
        assert_eq!(holding_pids(table, "00:2a", 18350), [4715]);
        assert_eq!(holding_pids(table, "fd:01", 7), [0u32; 0]);
    }

    #[test]
    fn gives_up_and_names_the_holder() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let held = Lock::acquire(&path, Duration::ZERO).unwrap();
        let error = Lock::acquire(&path, Duration::from_millis(20)).unwrap_err();
        let LockError::Held { holders, .. } = &error else { panic!("{error}") };
        assert_eq!(holders.iter().map(|h| h.pid).collect::<Vec<_>>(), [std::process::id()]);
        assert!(error.to_string().contains(&format!("process {}", std::process::id())), "{error}");
        drop(held);
        Lock::acquire(&path, Duration::from_secs(30)).unwrap();
    }

    #[test]
    fn gets_the_lock_when_it_is_freed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let held = Lock::acquire(&path, Duration::ZERO).unwrap();
        let waiter = thread::spawn({
            let path = path.clone();
            move || Lock::acquire(&path, Duration::from_secs(30)).map(drop)
        });
        drop(held);
        waiter.join().unwrap().unwrap();
    }

    #[test]
    fn a_lock_on_a_removed_file_does_not_count() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let held = Lock::acquire(&path, Duration::ZERO).unwrap();
        let waiter = thread::spawn({
            let path = path.clone();
            move || Lock::acquire(&path, Duration::from_secs(30))
        });
        // Whether the waiter opens the old file or the new one, it must end with the one that has the name.
        std::fs::remove_file(&path).unwrap();
        drop(held);
        let _second = waiter.join().unwrap().unwrap();
        assert!(matches!(Lock::acquire(&path, Duration::ZERO), Err(LockError::Held { .. })));
    }
}
