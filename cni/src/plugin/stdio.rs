//! The real process.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::process::ExitCode;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::stat::{SFlag, fstat, major, minor};

use crate::error::reason;
use crate::plugin::{Plugin, Stderr, World, run};

/// Serves the call that this process was started for. This is all that a plugin's `main` does.
pub fn main<P: Plugin>(plugin: &P) -> ExitCode {
    ExitCode::from(run(plugin, process()))
}

/// This process, as a plugin sees it.
#[must_use]
pub fn process() -> World<'static> {
    World {
        env: std::env::vars_os().collect(),
        stdin: Box::new(Stdin { opened: false }),
        stdout: stdout().map(|file| Box::new(file) as Box<dyn Write>),
        stderr: Stderr::new(io::stderr()),
    }
}

/// The process's stdin without the standard library's buffer, and without its habit of taking an unreadable or closed
/// descriptor for an empty one. Nothing happens to it before it is read: VERSION leaves it alone.
struct Stdin {
    /// Known not to be a placeholder.
    opened: bool,
}

impl Read for Stdin {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let unreadable = |errno: Errno| io::Error::other(format!("read /dev/stdin: {}", reason(&errno.into())));
        if !self.opened && is_placeholder(io::stdin()).is_ok_and(|is| is) {
            return Err(unreadable(Errno::EBADF));
        }
        self.opened = true;
        loop {
            match nix::unistd::read(io::stdin().as_fd(), buffer) {
                Ok(count) => return Ok(count),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(unreadable(errno)),
            }
        }
    }
}

/// The process's stdout, unbuffered; none if the caller has closed it.
///
/// Rust's start-up code opens `/dev/null` for reading and writing in place of a closed descriptor 0, 1 or 2, so that no
/// other file gets its number. A result written there would be lost, and the ADD would look like a success to the kernel
/// and like a failure to the runtime. Shells, systemd and most runtimes open `/dev/null` for writing only, so the access
/// mode tells the two cases apart.
fn stdout() -> Option<File> {
    let file = File::from(io::stdout().as_fd().try_clone_to_owned().ok()?);
    (!is_placeholder(&file).ok()?).then_some(file)
}

fn is_placeholder(file: impl AsFd) -> nix::Result<bool> {
    let stat = fstat(&file)?;
    let is_null = SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT == SFlag::S_IFCHR
        && (major(stat.st_rdev), minor(stat.st_rdev)) == (1, 3);
    let access = OFlag::from_bits_retain(fcntl(file, FcntlArg::F_GETFL)?) & OFlag::O_ACCMODE;
    Ok(is_null && access == OFlag::O_RDWR)
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;

    use super::*;

    #[test]
    fn only_null_for_both_directions_is_a_placeholder() {
        let open = |path: &str, read: bool| OpenOptions::new().read(read).write(true).open(path).unwrap();
        assert!(is_placeholder(open("/dev/null", true)).unwrap());
        assert!(!is_placeholder(open("/dev/null", false)).unwrap());
        assert!(!is_placeholder(open("/dev/zero", true)).unwrap());
        assert!(!is_placeholder(tempfile::tempfile().unwrap()).unwrap());
    }
}
