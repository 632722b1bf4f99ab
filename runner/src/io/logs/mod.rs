//! Reading what was kept: `xnet logs`.
//!
//! A log is a file and those that were full before it. They are opened together, told apart by inode, and read from the oldest
//! to the newest; so a file that is renamed meanwhile is neither read twice nor left out. Whoever follows waits for the
//! directory to change, reads on, and when the name belongs to another file, goes on to the files that came after his.

mod files;
mod when;

use std::os::fd::AsFd;
use std::path::Path;

use jiff::Timestamp;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

use crate::error::{Context, Result};

use super::log::Entry;
use files::LogFile;

pub(crate) use when::parse as parse_time;

/// Which entries are wanted.
#[derive(Debug, Clone, Default)]
pub(crate) struct Query {
    /// None before this.
    pub(crate) since: Option<Timestamp>,
    /// None after this.
    pub(crate) until: Option<Timestamp>,
    /// The last so many lines; none: all.
    pub(crate) tail: Option<usize>,
}

/// Whether more is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flow {
    /// Yes.
    On,
    /// No: whoever reads has gone, or the rest is too late.
    Stop,
}

/// A reader of one container's log.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    path: &'a Path,
    query: &'a Query,
    /// The file that is read at present; the newest at last.
    current: Option<LogFile>,
}

impl<'a> Reader<'a> {
    /// Of the log at `path`.
    pub(crate) fn new(path: &'a Path, query: &'a Query) -> Self {
        Self { path, query, current: None }
    }

    /// Gives everything that is there to `take`.
    ///
    /// # Errors
    ///
    /// When a file cannot be read.
    pub(crate) fn read(&mut self, take: &mut dyn FnMut(&Entry) -> Flow) -> Result<Flow> {
        let mut files = files::all(self.path)?;
        if let Some(lines) = self.query.tail {
            files::skip_to_last(&mut files, lines)?;
        }
        self.read_files(files, take)
    }

    /// Gives what comes from now on to `take`, as long as `lives` says that more may come.
    ///
    /// # Errors
    ///
    /// When the directory cannot be watched, or a file cannot be read.
    pub(crate) fn follow(&mut self, lives: &dyn Fn() -> bool, take: &mut dyn FnMut(&Entry) -> Flow) -> Result<()> {
        let dir = self.path.parent().unwrap_or(self.path);
        let watch = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).context(|| "watch the log")?;
        let changes = AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO;
        watch.add_watch(dir, changes).context(|| format!("watch {}", dir.display()))?;
        loop {
            // Asked before the last look, so that what was written before the end is seen.
            let last = !lives();
            if self.go_on(take)? == Flow::Stop || last {
                return Ok(());
            }
            match poll(&mut [PollFd::new(watch.as_fd(), PollFlags::POLLIN)], PAUSE) {
                Ok(0) | Err(Errno::EINTR) => {}
                answer => {
                    answer.context(|| "watch the log")?;
                    let _ = watch.read_events();
                }
            }
        }
    }

    /// Reads on where the last reading has ended, in as many files as there are by now.
    fn go_on(&mut self, take: &mut dyn FnMut(&Entry) -> Flow) -> Result<Flow> {
        let mut files = files::all(self.path)?;
        let Some(mut current) = self.current.take() else { return self.read_files(files, take) };
        if self.read_file(&mut current, take)? == Flow::Stop {
            return Ok(Flow::Stop);
        }
        match files.iter().position(|file| file.is(&current)) {
            Some(at) if at + 1 == files.len() => {
                self.current = Some(current);
                return Ok(Flow::On);
            }
            // What is written between the last reading and the renaming is still in the old file.
            Some(at) => drop(files.drain(..=at)),
            None => {}
        }
        match self.read_file(&mut current, take)? {
            Flow::Stop => Ok(Flow::Stop),
            Flow::On => self.read_files(files, take),
        }
    }

    fn read_files(&mut self, files: Vec<LogFile>, take: &mut dyn FnMut(&Entry) -> Flow) -> Result<Flow> {
        for mut file in files {
            if self.read_file(&mut file, take)? == Flow::Stop {
                return Ok(Flow::Stop);
            }
            self.current = Some(file);
        }
        Ok(Flow::On)
    }

    fn read_file(&self, file: &mut LogFile, take: &mut dyn FnMut(&Entry) -> Flow) -> Result<Flow> {
        while let Some(entry) = file.next().context(|| format!("read {}", self.path.display()))? {
            if self.query.until.is_some_and(|until| entry.time > until) {
                return Ok(Flow::Stop);
            }
            if self.query.since.is_none_or(|since| entry.time >= since) && take(&entry) == Flow::Stop {
                return Ok(Flow::Stop);
            }
        }
        Ok(Flow::On)
    }
}

/// How long a look at whether the container still lives may be away, in milliseconds.
const PAUSE: u16 = 200;

#[cfg(test)]
mod tests;
