//! The container's terminal: made inside, its master handed to the engine.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use nix::unistd::{Gid, Uid, fchown};

use crate::error::{Context, Error, Result};
use crate::setup::path::Root;
use crate::sys;

use super::plan::Terminal;

/// A connection to the engine's socket, made before anything else is.
pub(super) fn connect(path: &Path) -> Result<OwnedFd> {
    let failed = || format!("the console socket {}", path.display());
    UnixStream::connect(path).map(OwnedFd::from).context(failed)
}

/// Makes a terminal in the devpts of the present root, sends its master over `socket`, and makes it this process' terminal and
/// its standard input, output and error. `owner` may then use it. The session must be this process' own.
pub(super) fn make(terminal: Terminal, socket: &OwnedFd, owner: u32, console: bool) -> Result<()> {
    let what = || "make a terminal";
    let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let master = open("/dev/pts/ptmx", flags, Mode::empty())
        .or_else(|_| open("/dev/ptmx", flags, Mode::empty()))
        .context(|| "open /dev/pts/ptmx in the container (its mounts must have a devpts there)")?;
    let slave = sys::tty::peer(master.as_fd()).context(what)?;
    if let Some(size) = terminal.size {
        sys::tty::resize(master.as_fd(), size).context(what)?;
    }
    fchown(&slave, Some(Uid::from_raw(owner)), None::<Gid>).context(|| "give the terminal to the user")?;
    if console {
        show(&slave)?;
    }
    sys::scm::send(socket.as_fd(), b"/dev/pts/ptmx", &[master.as_fd()])
        .context(|| "send the terminal over the console socket")?;
    sys::tty::control(slave.as_fd()).context(|| "take the terminal")?;
    sys::replace_stdio(slave.as_fd()).context(what)
}

/// `/dev/console` is the terminal.
fn show(slave: &OwnedFd) -> Result<()> {
    let root = Root::open(Path::new("/")).context(|| "open /")?;
    let tree = sys::mount::copy_one(slave.as_fd()).context(|| "copy the terminal's mount")?;
    let target = root.target(Path::new("/dev/console"), false)?;
    sys::mount::attach(tree.as_fd(), target.as_fd()).context(|| "mount /dev/console")
}

/// Whether the options fit: a terminal needs somebody who takes it.
pub(super) fn check(wanted: bool, socket: Option<&Path>) -> Result<()> {
    match (wanted, socket) {
        (true, None) => Err(Error::new("a terminal was asked for, so --console-socket must say who takes its master")),
        (false, Some(_)) => Err(Error::new("--console-socket is of no use without a terminal")),
        _ => Ok(()),
    }
}
