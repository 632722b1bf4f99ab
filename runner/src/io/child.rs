//! A container's standard streams, from its first process' side.
//!
//! Nothing of the host's is handed in that is not meant: where the caller's stream is the host's `/dev/null`, the container
//! gets its own, because a file that it has open is a file that its root can change the owner and mode of.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::libc;
use nix::sys::stat::{SFlag, fstat, makedev};
use nix::sys::statfs::{FsType, fstatfs};
use nix::unistd::{Uid, fchown};

use crate::error::{Context, Result};
use crate::sys::{self, tty};

use super::streams::Stdio;

/// The three, by number.
const NUMBERS: [RawFd; 3] = [0, 1, 2];
/// `PIPEFS_MAGIC` of linux/magic.h.
const PIPEFS: FsType = FsType(0x5049_5045);

impl Stdio {
    /// Puts the pipes into their places. The first thing that a container's process does, before it lets go of all other
    /// descriptors.
    pub(crate) fn install(&self) -> Result<()> {
        let Self::Pipes { stdin, stdout, stderr } = self else { return Ok(()) };
        let place = |fd: BorrowedFd<'_>, number| sys::put_fd(fd, number).context(|| "connect the standard streams");
        if let Some(stdin) = stdin {
            place(stdin.as_fd(), 0)?;
        }
        place(stdout.as_fd(), 1)?;
        place(stderr.as_fd(), 2)
    }

    /// Whether standard input is connected to anything.
    fn has_input(&self) -> bool {
        match self {
            Self::Inherit { stdin } => *stdin,
            Self::Pipes { stdin, .. } => stdin.is_some(),
            Self::Terminal => true,
            Self::Empty => false,
        }
    }

    /// Puts what only exists inside into its place: the terminal, which becomes this session's, or `null`, the container's
    /// own, for an input that is empty and for every stream of the caller that is the host's.
    pub(crate) fn complete(&self, terminal: Option<&OwnedFd>, null: &dyn Fn() -> Result<OwnedFd>) -> Result<()> {
        if let Some(terminal) = terminal {
            return NUMBERS.iter().try_for_each(|number| {
                sys::put_fd(terminal.as_fd(), *number).context(|| "connect the standard streams")
            });
        }
        let empty =
            |number: &RawFd| *number == 0 && !self.has_input() || matches!(self, Self::Empty) || is_null(*number);
        for number in NUMBERS.into_iter().filter(empty) {
            sys::put_fd(null()?.as_fd(), number).context(|| "connect the standard streams")?;
        }
        Ok(())
    }

    /// Makes the terminal that is standard input now the one of this session, which this process leads.
    pub(crate) fn control(&self) -> Result<()> {
        match self {
            Self::Terminal => tty::control(sys::standard(0)).context(|| "make it the session's terminal"),
            _ => Ok(()),
        }
    }

    /// Lets user `uid` open its streams by name, as `/dev/stdout`. Only what was made for this container changes its owner:
    /// pipes and terminals of ours, and pipes of the caller, which are nowhere in a file system.
    pub(crate) fn give_to(&self, uid: Uid) -> Result<()> {
        for number in NUMBERS {
            if self.is_ours(number) {
                match fchown(sys::standard(number), Some(uid), None) {
                    // A user namespace that does not know the pipe's owner.
                    Ok(()) | Err(Errno::EPERM | Errno::EROFS | Errno::EINVAL) => {}
                    Err(errno) => return Err(errno).context(|| "give the standard streams to the user"),
                }
            }
        }
        Ok(())
    }

    fn is_ours(&self, number: RawFd) -> bool {
        let fd = sys::standard(number);
        let kind = fstat(fd).map(|stat| SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits()));
        match self {
            Self::Inherit { .. } => {
                kind == Ok(SFlag::S_IFIFO) && fstatfs(fd).is_ok_and(|fs| fs.filesystem_type() == PIPEFS)
            }
            Self::Pipes { .. } => kind == Ok(SFlag::S_IFIFO),
            Self::Terminal => true,
            Self::Empty => false,
        }
    }
}

/// Whether descriptor `number` is a null device, or is not open at all.
fn is_null(number: RawFd) -> bool {
    match fstat(sys::standard(number)) {
        Ok(stat) => stat.st_mode & libc::S_IFMT == libc::S_IFCHR && stat.st_rdev == makedev(1, 3),
        Err(errno) => errno == Errno::EBADF,
    }
}
