//! `xnet logs`.

use std::io::{self, Write, stderr, stdout};

use clap::Args;
use jiff::Timestamp;

use crate::cli::complain;
use crate::container;
use crate::error::{Error, Result};
use crate::io::log::{self, Entry, Stream};
use crate::io::logs::{Flow, Query, Reader, parse_time};
use crate::spec::{Dirs, Driver};
use crate::state::{Store, View};

/// What to show of which log.
#[derive(Debug, Args)]
pub(in crate::cli) struct Logs {
    /// Go on until the container ends
    #[arg(short, long)]
    follow: bool,
    /// Only the last so many lines, or all
    #[arg(short = 'n', long, value_name = "NUMBER", default_value = "all")]
    tail: String,
    /// Nothing before this time, or longer ago: 2026-11-22T10:00:00Z, 2026-11-22, 1795341600, 10m
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    since: Option<Timestamp>,
    /// Nothing after this time
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    until: Option<Timestamp>,
    /// Put the time before each line
    #[arg(short, long)]
    timestamps: bool,
    /// An id, a name, or the beginning of an id
    #[arg(value_name = "CONTAINER")]
    container: String,
}

impl Logs {
    pub(in crate::cli) fn run(&self, dirs: &Dirs) -> Result<u8> {
        let query = Query { since: self.since, until: self.until, tail: self.tail()? };
        let store = container::open(dirs, &mut complain)?;
        let view = View::of(&store, &store.find(&self.container)?)?;
        let log = &view.spec.io.log;
        if !log.has_file() {
            let driver = log.driver.as_str();
            let more = match log.driver {
                Driver::Journald => format!("; ask `journalctl CONTAINER_ID_FULL={}`", view.id()),
                _ => String::new(),
            };
            return Err(Error::new(format!(
                "container {} keeps no log: its log driver is {driver}{more}",
                view.called()
            )));
        }
        self.show(&store, &view, &query)?;
        Ok(0)
    }

    fn show(&self, store: &Store, view: &View, query: &Query) -> Result<()> {
        let path = log::path(&store.data(view.id()), view.id().as_str());
        let mut reader = Reader::new(&path, query);
        // Whoever reads may have had enough; that is no failure.
        let mut take = |entry: &Entry| if self.print(entry).is_ok() { Flow::On } else { Flow::Stop };
        if reader.read(&mut take)? == Flow::Stop || !self.follow {
            return Ok(());
        }
        reader.follow(&|| store.is_owned(view.id()), &mut take)
    }

    fn print(&self, entry: &Entry) -> io::Result<()> {
        let mut line = String::new();
        if self.timestamps {
            line = format!("{:.9} ", entry.time);
        }
        line.push_str(&entry.log);
        let write = |to: &mut dyn Write| to.write_all(line.as_bytes()).and_then(|()| to.flush());
        match entry.stream {
            Stream::Stdout => write(&mut stdout().lock()),
            Stream::Stderr => write(&mut stderr().lock()),
        }
    }

    fn tail(&self) -> Result<Option<usize>> {
        match self.tail.as_str() {
            "all" | "-1" => Ok(None),
            number => number
                .parse()
                .map(Some)
                .map_err(|_| Error::new(format!("invalid number of lines {number:?}: expected a number, or all"))),
        }
    }
}
