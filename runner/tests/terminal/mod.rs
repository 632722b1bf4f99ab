//! A person at a terminal.

#![allow(dead_code, unreachable_pub, reason = "every test file uses a part of it")]

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command, Stdio};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::pty::openpty;
use nix::sys::termios::{LocalFlags, tcgetattr};

use super::sandbox::Sandbox;

/// `xnet ARGS` at a terminal of its own.
pub struct Terminal {
    master: File,
    /// The side of `xnet`.
    pub slave: OwnedFd,
    pub child: Child,
    seen: String,
}

impl Terminal {
    /// `xnet ARGS`.
    pub fn new(sandbox: &Sandbox, args: &[&str]) -> Self {
        Self::with(sandbox.command(args))
    }

    /// `command`, on a terminal of 33 lines with 77 columns.
    pub fn with(mut command: Command) -> Self {
        let size = nix::pty::Winsize { ws_row: 33, ws_col: 77, ws_xpixel: 0, ws_ypixel: 0 };
        let pair = openpty(&size, None).unwrap();
        let end = || Stdio::from(pair.slave.try_clone().unwrap());
        let child = command.stdin(end()).stdout(end()).stderr(end()).spawn().unwrap();
        Self { master: pair.master.into(), slave: pair.slave, child, seen: String::new() }
    }

    /// Types, all at once.
    pub fn types(&mut self, keys: &str) {
        self.master.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits until `text` was shown, after all that was awaited before.
    pub fn awaits(&mut self, text: &str) {
        while !self.seen.contains(text) {
            let mut fds = [PollFd::new(self.master.as_fd(), PollFlags::POLLIN)];
            assert_eq!(poll(&mut fds, PollTimeout::from(20_000_u16)), Ok(1), "no {text:?} in {:?}", self.seen);
            let mut buffer = [0; 4096];
            let length = self.master.read(&mut buffer).unwrap();
            self.seen.push_str(&String::from_utf8_lossy(&buffer[..length]));
        }
        let end = self.seen.find(text).unwrap() + text.len();
        self.seen.drain(..end);
    }

    /// Waits for the end, and expects the terminal as it was.
    pub fn ends(mut self, code: i32) {
        assert_eq!(self.child.wait().unwrap().code(), Some(code), "{}", self.seen);
        let flags = tcgetattr(&self.slave).unwrap().local_flags;
        assert!(flags.contains(LocalFlags::ICANON | LocalFlags::ECHO), "the terminal is left in raw mode");
    }
}
