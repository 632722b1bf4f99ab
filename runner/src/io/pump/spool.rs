//! What the container has said, between its pipe and the log: in files, so that none of it is lost or told twice when the one
//! who attends the container is killed at any moment.
//!
//! Bytes go from the pipe to the end of a file by `splice`, which moves them whatever happens to this process: each is in the
//! pipe or in the file. Lines that are complete go from there into the log, and then one small write says how far the files and the
//! log have got. Whoever comes next finds that record, cuts off the log what came after it, and writes that again from the files.

use std::fs::{self, File, OpenOptions};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};
use nix::libc;

use crate::error::{Context, Result};
use crate::sys;

use super::super::log::{Log, Mark, Stream};

/// The files of the two outputs, and the record.
const NAMES: [&str; 3] = ["stdout.spool", "stderr.spool", "progress"];
/// From this size on, what is in the log is dropped from a file.
const ENOUGH: u64 = 64 * 1024;
/// Both positions, the mark of the log, and how many lines the journal is owed.
const RECORD: usize = 40;

/// The way of both outputs into the log.
#[derive(Debug)]
pub(super) struct Spools {
    progress: File,
    streams: [Spool; 2],
}

#[derive(Debug)]
struct Spool {
    file: File,
    end: u64,
    /// What is before this is in the log.
    logged: u64,
    /// What is before this is a hole.
    dropped: u64,
}

/// Removes what an earlier run has left in `dir`.
pub(in crate::io) fn forget(dir: &Path) {
    NAMES.iter().for_each(|name| drop(fs::remove_file(dir.join(name))));
}

impl Spools {
    /// The files in `dir`. What another process has left in them goes to `log`, which is as it was when it last said how far it
    /// had got.
    ///
    /// # Errors
    ///
    /// When the files cannot be opened.
    pub(super) fn open(dir: &Path, log: &mut Log) -> Result<Self> {
        let open = |name: &str| open(&dir.join(name)).context(|| format!("open {}", dir.join(name).display()));
        let progress = open(NAMES[2])?;
        let mut record = [0; RECORD];
        // All of it but the last number is there, if anything is.
        let known = progress.read_at(&mut record, 0).is_ok_and(|length| length >= RECORD - 8);
        let number =
            |at: usize| record.get(at * 8..at * 8 + 8).and_then(|b| b.try_into().ok()).map_or(0, u64::from_le_bytes);
        if known {
            log.rewind(Mark { inode: number(2), length: number(3) });
            log.lost(number(4));
        }
        let mut spools = Self {
            progress,
            streams: [Spool::new(open(NAMES[0])?, number(0))?, Spool::new(open(NAMES[1])?, number(1))?],
        };
        for stream in [Stream::Stdout, Stream::Stderr] {
            spools.go_on(stream, log);
        }
        Ok(spools)
    }

    /// Writes to the log what is in a stream's file and not in the log.
    fn go_on(&mut self, stream: Stream, log: &mut Log) {
        let spool = &self.streams[index(stream)];
        let mut bytes = vec![0; usize::try_from(spool.end - spool.logged).unwrap_or_default()];
        if spool.file.read_exact_at(&mut bytes, spool.logged).is_ok() {
            log.write(stream, &bytes);
        }
        self.settle(stream, log);
    }

    /// Moves at most `most` bytes from `pipe` into the stream's file, and answers them.
    pub(super) fn take(&mut self, stream: Stream, pipe: BorrowedFd<'_>, most: usize) -> nix::Result<Vec<u8>> {
        let spool = &mut self.streams[index(stream)];
        let length = sys::splice(pipe, spool.file.as_fd(), spool.end, most)?;
        let mut bytes = vec![0; length];
        let read = spool.file.read_exact_at(&mut bytes, spool.end);
        read.map_err(|error| error.raw_os_error().map_or(Errno::EIO, Errno::from_raw))?;
        spool.end += length as u64;
        Ok(bytes)
    }

    /// Says how far the log has got. What cannot be said is no reason to stop.
    pub(super) fn settle(&mut self, stream: Stream, log: &Log) {
        let spool = &mut self.streams[index(stream)];
        spool.logged = spool.end - log.unwritten(stream) as u64;
        self.say(log);
        let spool = &mut self.streams[index(stream)];
        if spool.logged == spool.end && spool.end >= ENOUGH && spool.file.set_len(0).is_ok() {
            // Whoever finds a position beyond the end of a file begins at its beginning.
            (spool.end, spool.logged, spool.dropped) = (0, 0, 0);
            self.say(log);
        } else {
            spool.drop_logged();
        }
    }

    /// Writes down how far everything has got.
    pub(super) fn say(&self, log: &Log) {
        let mark = log.mark();
        let numbers = [self.streams[0].logged, self.streams[1].logged, mark.inode, mark.length, log.owed()];
        let _ = self.progress.write_all_at(numbers.map(u64::to_le_bytes).as_flattened(), 0);
    }
}

impl Spool {
    fn new(file: File, logged: u64) -> Result<Self> {
        let end = file.metadata().context(|| "look at what the container has said")?.len();
        let logged = if logged > end { 0 } else { logged };
        Ok(Self { file, end, logged, dropped: 0 })
    }

    /// Gives the room back of what is in the log, if the end of a line never lets the file be emptied.
    fn drop_logged(&mut self) {
        if self.logged - self.dropped < 16 * ENOUGH {
            return;
        }
        let flags = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
        let _ = fallocate(&self.file, flags, 0, self.logged.cast_signed());
        self.dropped = self.logged;
    }
}

fn index(stream: Stream) -> usize {
    usize::from(stream == Stream::Stderr)
}

fn open(path: &Path) -> std::io::Result<File> {
    let flags = libc::O_NOFOLLOW | libc::O_CLOEXEC;
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).custom_flags(flags).open(path)
}
