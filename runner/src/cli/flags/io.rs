//! Options about standard streams, the terminal and the log.

use std::io::{stdin, stdout};
use std::os::fd::AsFd;

use clap::{Args, ValueEnum};

use crate::error::{Error, Result};
use crate::spec::{Attach, Driver, Io, Log, Size, Stdin};
use crate::sys::tty;

/// How the streams are connected.
#[derive(Debug, Args)]
#[command(next_help_heading = "Input and output")]
pub(in crate::cli) struct IoFlags {
    /// Connect standard input, and keep it open
    #[arg(short, long)]
    pub(in crate::cli) interactive: bool,
    /// Give the container a terminal of its own
    #[arg(short, long)]
    pub(in crate::cli) tty: bool,
    /// Connect only this stream: stdin, stdout or stderr; may be given several times
    #[arg(short, long, value_name = "STREAM", ignore_case = true)]
    attach: Vec<Stream>,
    /// Who keeps the output: json-file, journald or none; by default json-file, but for what is removed right after it was seen
    #[arg(long, value_name = "DRIVER")]
    log_driver: Option<Driver>,
    /// An option of the log driver: max-size=SIZE, max-file=NUMBER; of journald: tag=TEMPLATE, labels=A,B, env=A,B,
    /// cache-disabled=true, cache-max-size=SIZE, cache-max-file=NUMBER, max-buffer-size=SIZE
    #[arg(long, value_name = "KEY=VALUE")]
    log_opt: Vec<String>,
}

/// A standard stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Stream {
    /// Standard input.
    Stdin,
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl IoFlags {
    /// What was asked for, for a container that is started in the background (`detach`) or attended, and that is forgotten
    /// at its end (`remove`) or not.
    pub(in crate::cli) fn io(&self, detach: bool, remove: bool) -> Result<Io> {
        if detach && !self.attach.is_empty() {
            return Err(Error::new(
                "-a connects streams to the caller, and -d starts without one: they exclude each other",
            ));
        }
        let input = match (self.interactive || self.attach.contains(&Stream::Stdin), detach) {
            (false, _) => Stdin::Closed,
            (true, true) => Stdin::Open,
            (true, false) => Stdin::Once,
        };
        // Output that somebody has seen, of a container that is gone then, is not kept for nobody: that saves the copying.
        let unseen = detach || !remove || !self.log_opt.is_empty();
        let driver = self.log_driver.unwrap_or(if unseen { Driver::JsonFile } else { Driver::None });
        let log = Log::new(driver, &self.log_opt)?;
        let seen = |fd: nix::Result<Size>| fd.ok().filter(|_| self.tty && !detach);
        let size = seen(tty::size(stdin().as_fd())).or_else(|| seen(tty::size(stdout().as_fd())));
        Ok(Io { tty: self.tty, size, stdin: input, attach: self.attached(detach), log })
    }

    fn attached(&self, detach: bool) -> Attach {
        let asked = |stream| self.attach.contains(&stream);
        match (detach, self.attach.is_empty()) {
            (true, _) => Attach::default(),
            (false, true) => Attach { stdin: self.interactive, stdout: true, stderr: true },
            (false, false) => {
                Attach { stdin: asked(Stream::Stdin), stdout: asked(Stream::Stdout), stderr: asked(Stream::Stderr) }
            }
        }
    }
}
